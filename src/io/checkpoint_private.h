/** Steps of writing a checkpoint that stand in files of their own. */
#ifndef RF_IO_CHECKPOINT_PRIVATE_H
#define RF_IO_CHECKPOINT_PRIVATE_H

#include "manifest.h"
#include "refract/io/checkpoint.h"

/**
 * What several ranks hold must be the same bits: replicated fields everywhere, shards over dp.
 * Collective over world; RF_BUG names the first field that differs.
 */
rf_status rf_checkpoint_compare(const rf_grid *grid, const rf_field *fields, int64_t count);

/**
 * Gathers every field on one rank, which writes it into the existing dataset of `file` (parallel)
 * and digests it: digests [count], equal on all ranks afterwards. Collective over world; RF_WRITE,
 * RF_RESOURCES.
 */
rf_status rf_checkpoint_fill(const rf_grid *grid, rf_h5 *file, const rf_field *fields,
                             int64_t count, char (*digests)[RF_DIGEST_BYTES]);

/** Bytes of the global array. Local. */
int64_t rf_field_bytes(const rf_field *field);

#endif
