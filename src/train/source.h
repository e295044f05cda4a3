/* Where the weights beside the base come from; private to layer train. */
#ifndef RF_TRAIN_SOURCE_H
#define RF_TRAIN_SOURCE_H

#include "refract/io/checkpoint.h"
#include "refract/train/session.h"
#include "refract/train/train.h"

/** What eval.adapter names. Zero-initialise. */
typedef struct source {
    rf_checkpoint *checkpoint; /**< owned; NULL = none */
    rf_config *trained;        /**< owned: the checkpoint's configuration */
    const char *peft;          /**< a PEFT folder; borrowed from the configuration; NULL = none */
} source;

/**
 * Finds it: auto (the newest state of the run folder `output`, if there is one), none, a PEFT
 * folder, a run folder or a checkpoint. Collective over world; RF_INPUT, RF_RESOURCES.
 * source_close is due in any case.
 */
rf_status source_find(source *from, const rf_config *config, const rf_environment *environment);

/** Opens a session for it; borrows from `from`. Collective over world, as rf_session_open. */
rf_status source_open_session(const source *from, rf_session *session, rf_config *config,
                              const rf_environment *environment);

/** 1 when the plan of a session needs adapters, or tensors that are trained. Local. */
int source_has_weights(const source *from, const rf_session *session);

/** After rf_session_weights: the checkpoint's values of all trained tensors. Collective. */
rf_status source_read(const source *from, const rf_session *session);

void source_close(source *from);

#endif
