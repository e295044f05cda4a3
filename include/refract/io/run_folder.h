/**
 * The run folder OUTPUT: made if missing, held by one job at a time, files in it written whole.
 */
#ifndef RF_IO_RUN_FOLDER_H
#define RF_IO_RUN_FOLDER_H

#include <mpi.h>
#include <stddef.h>

#include "refract/base/log.h"
#include "refract/base/status.h"

typedef struct rf_run_folder rf_run_folder;

/**
 * Makes OUTPUT and OUTPUT/checkpoints and takes OUTPUT/.lock, which names host, process and batch
 * job of its holder. A lock whose holder is known to be gone (a dead process of this host, an
 * earlier start of this very batch job) is taken over with a warning. OUTPUT/STOP is removed,
 * unless the batch system itself has restarted the job. The caller owns *folder. Collective over
 * comm; arguments equal on all ranks. RF_CONFLICT names the holder; RF_WRITE; RF_RESOURCES where a
 * node does not see the folder.
 */
rf_status rf_run_folder_open(rf_run_folder **folder, MPI_Comm comm, rf_log *log,
                             const char *output);

/** Gives the lock back. Local; safe on NULL. */
void rf_run_folder_close(rf_run_folder **folder);

/** OUTPUT as it was given, and OUTPUT/checkpoints. Borrowed. Local. */
const char *rf_run_folder_path(const rf_run_folder *folder);
const char *rf_run_folder_checkpoints(const rf_run_folder *folder);

/** OUTPUT/STOP on root, NULL on the others: for rf_stop_watch.stop_file. Borrowed. Local. */
const char *rf_run_folder_stop_file(const rf_run_folder *folder);

/** Writes OUTPUT/name into path. RF_USAGE when it does not fit. Local. */
rf_status rf_run_folder_file(const rf_run_folder *folder, const char *name, char *path,
                             size_t bytes);

/** Root writes OUTPUT/name whole or not at all. Collective over the folder's comm; RF_WRITE. */
rf_status rf_run_folder_write(const rf_run_folder *folder, const char *name, const void *bytes,
                              size_t length);

#endif
