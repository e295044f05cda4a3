/** Models as folders that others read. */
#ifndef RF_TRAIN_EXPORT_H
#define RF_TRAIN_EXPORT_H

#include "refract/train/session.h"

/** 1 when rf_export_pruned can write the session's model: a prune left every layer as large. Local.
 */
int rf_export_fits_pruned(const rf_session *session);

/**
 * What a prune has left, adapters merged into it, as an HF folder in f32: config.json with the
 * heads, key/value heads and intermediate size left, model.safetensors, tokeniser files. A session
 * with weights in place. Collective over world; RF_USAGE where layers differ in size or nothing was
 * pruned, RF_WRITE, RF_RESOURCES.
 */
rf_status rf_export_pruned(const rf_session *session, const char *folder);

/**
 * Files beside the weights: config.json of `model`, and the tokeniser's as they are. Local;
 * RF_WRITE.
 */
rf_status rf_export_side_files(const rf_session *session, const rf_model_config *model,
                               const char *folder);

#endif
