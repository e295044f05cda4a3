/** Checkpoint files of a folder: step-%08d.h5, and step-%08d.h5.tmp while one is being written. */
#ifndef RF_IO_CHECKPOINT_FOLDER_H
#define RF_IO_CHECKPOINT_FOLDER_H

#include <stdint.h>

#include "refract/base/log.h"
#include "refract/base/status.h"

enum { RF_PATH_BYTES = 4096 };

/** Path of the checkpoint of a step. RF_WRITE when it does not fit. Local. */
rf_status rf_checkpoint_name(char path[RF_PATH_BYTES], const char *folder, int64_t step);

/**
 * Steps that have a file, newest first; *steps is malloc'ed, owned by the caller. A missing folder
 * has none. RF_INPUT, RF_RESOURCES. Local.
 */
rf_status rf_checkpoint_steps(const char *folder, int64_t **steps, int64_t *count);

/** Removes the checkpoints before `step` except the newest keep - 1; warns of those that stay.
 * Local. */
void rf_checkpoint_prune(rf_log *log, const char *folder, int64_t step, int keep);

/** Removes half-written files that an earlier job left, and says so. Local. */
void rf_checkpoint_sweep(rf_log *log, const char *folder);

/** RF_WRITE unless `bytes` more bytes can be written to a new file `path`, tried and undone. Local.
 */
rf_status rf_checkpoint_space(const char *folder, const char *path, int64_t bytes);

/** Allocates the blocks of a file beforehand where the file system can. RF_WRITE when it is full.
 * Local. */
rf_status rf_checkpoint_reserve(const char *path, int64_t bytes);

#endif
