/** One frozen base for many runs: loaded once, held once per node, read by all groups of ranks. */
#ifndef RF_TRAIN_RESIDENT_H
#define RF_TRAIN_RESIDENT_H

#include "refract/base/config.h"
#include "refract/base/log.h"
#include "refract/model/decoder.h"

typedef struct rf_resident rf_resident;

/**
 * Loads the base model of `config` (model.path, model.storage, parallel.slices) into shared memory
 * of every node. *resident is NULL where there is nothing to share (method full, random weights).
 * The caller owns *resident. Collective over world; RF_USAGE, RF_INPUT, RF_RESOURCES.
 */
rf_status rf_resident_create(rf_resident **resident, rf_config *config, MPI_Comm world,
                             rf_log *log);

/** Gives it back; safe on NULL. Collective over the world it was made with. */
void rf_resident_destroy(rf_resident **resident);

/**
 * Points the frozen rows of a planned decoder at the resident base and returns 1; 0, and nothing is
 * changed, where the run needs weights of its own: another model, type or number of slices, base
 * weights that are trained, moved (lora.init pissa, random) or pruned (light). Local, the same on
 * all ranks; safe on NULL.
 */
int rf_resident_lend(const rf_resident *resident, const rf_config *config, rf_decoder *decoder);

/** SHA-256 of the model (as rf_weights_digest), and bytes held on each node. Borrowed. Local. */
const char *rf_resident_digest(const rf_resident *resident);
size_t rf_resident_bytes(const rf_resident *resident);

#endif
