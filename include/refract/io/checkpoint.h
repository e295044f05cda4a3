/**
 * Checkpoints: global arrays in one HDF5 file, each with the SHA-256 of its content in file order,
 * written to a temporary name, verified, renamed; readable on any number of ranks.
 */
#ifndef RF_IO_CHECKPOINT_H
#define RF_IO_CHECKPOINT_H

#include <stdint.h>

#include "refract/base/log.h"
#include "refract/base/status.h"
#include "refract/comm/grid.h"
#include "refract/linalg/tensor.h"

/** One array of the state: the field table is both what is saved and what is restored. */
typedef struct rf_field {
    char path[256]; /**< dataset, e.g. "/adapter/model.layers.0.self_attn.q_proj/A" */
    rf_shape shape; /**< global shape and how it is cut */
    rf_dtype dtype;
    void *data; /**< this rank's slices; borrowed */
} rf_field;

/** One attribute of the file's root. */
typedef struct rf_attribute {
    char name[64];
    const char *text; /**< a string, or NULL: then `number` */
    int64_t number;
} rf_attribute;

/**
 * Writes OUTPUT/checkpoints/step-%08d.h5 (folder: OUTPUT/checkpoints) and removes the earlier ones
 * but the newest keep - 1 (keep < 1: none is removed), only after the new one has been read back
 * and verified. Attributes `schema`, `schema_version`, `created_utc`, `step` and `content_sha256`
 * are added. What several ranks hold is compared by hash first. Collective over the grid's world;
 * arguments equal on all ranks but for `data`. RF_WRITE or RF_RESOURCES, and then the previous
 * checkpoint stays and nothing of the new one; RF_BUG names a field whose copies differ; an earlier
 * file that cannot be removed is a warning.
 */
rf_status rf_checkpoint_write(const rf_grid *grid, rf_log *log, const char *folder, int64_t step,
                              const rf_field *fields, int64_t field_count,
                              const rf_attribute *attributes, int64_t attribute_count, int keep);

/** A checkpoint opened for reading: found, not damaged. */
typedef struct rf_checkpoint rf_checkpoint;

/**
 * Opens the newest checkpoint of the folder whose every checksum holds; damaged or half-written
 * ones are named in a warning and passed over. *checkpoint is NULL when there is none. Collective
 * over world.
 */
rf_status rf_checkpoint_open_newest(rf_checkpoint **checkpoint, const rf_grid *grid, rf_log *log,
                                    const char *folder);
/** Opens one file, every checksum verified. Collective over world; RF_INPUT. */
rf_status rf_checkpoint_open(rf_checkpoint **checkpoint, const rf_grid *grid, const char *path);
void rf_checkpoint_close(rf_checkpoint **checkpoint);

int64_t rf_checkpoint_step(const rf_checkpoint *checkpoint);
const char *rf_checkpoint_path(const rf_checkpoint *checkpoint);
/** Text of a root attribute, NULL if absent. Borrowed. Local. */
const char *rf_checkpoint_attribute(const rf_checkpoint *checkpoint, const char *name);
/** Number of a root attribute, `otherwise` if absent. Local. */
int64_t rf_checkpoint_number(const rf_checkpoint *checkpoint, const char *name, int64_t otherwise);
/** 1 if the dataset is there, with its global rows and columns. Local. */
int rf_checkpoint_has(const rf_checkpoint *checkpoint, const char *path, int64_t *rows,
                      int64_t *cols);

/**
 * Fills every field's local slices, for any grid. Collective over world; RF_INPUT names a missing
 * field, another shape or type, or damage since the file was opened (the slices are undefined
 * then).
 */
rf_status rf_checkpoint_read(const rf_checkpoint *checkpoint, const rf_grid *grid,
                             const rf_field *fields, int64_t field_count);

#endif
