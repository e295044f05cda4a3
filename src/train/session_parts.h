/** Inside of a session, shared by the files session*.c. */
#ifndef RF_TRAIN_SESSION_PARTS_H
#define RF_TRAIN_SESSION_PARTS_H

#include "refract/io/model_files.h"
#include "refract/train/session.h"

enum { SESSION_HELD_BYTES = 128 };

/** How frozen weights will be held: all in one type, or each as its files have it. */
typedef struct session_storage {
    rf_dtype dtype;
    rf_safetensors *tensors; /**< owned; NULL: `dtype` for all */
} session_storage;

/** Settles model.storage where one type does for all. Collective over world; RF_INPUT. */
rf_status session_choose_storage(rf_session *session, session_storage *storage);

/**
 * Frozen base weights that other ranks of the node would hold too (data parallelism) are held once:
 * their rows are lent from `shared`, each to be filled by one of these ranks. Nothing is shared
 * where a rank is alone with its slices, nor weights that are drawn, moved or pruned; without
 * shared memory a warning is given, and every rank holds its own. Imagined ranks all share. Before
 * the layout. Collective over world.
 */
rf_status session_share_base(rf_session *session);
/** After the weights were read. Collective over the node. */
void session_publish_base(const rf_session *session);

/**
 * The rules of session->start on the planned decoder: one that matches nothing is warned of by
 * root. Local; RF_INPUT when no module is targeted, RF_RESOURCES.
 */
rf_status session_match_start(const rf_session *session);

/** "q4_1 (210 matrices), q8_0 (1)": the types of the frozen matrices; "nothing" if none is. Local.
 */
void session_held_types(const rf_session *session, char held[SESSION_HELD_BYTES]);

#endif
