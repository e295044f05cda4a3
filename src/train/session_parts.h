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

/** "q4_1 (210 matrices), q8_0 (1)": the types of the frozen matrices; "nothing" if none is. Local.
 */
void session_held_types(const rf_session *session, char held[SESSION_HELD_BYTES]);

#endif
