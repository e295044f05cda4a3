/** Runs of a sweep: one by its number, or all that are left, by groups of ranks. */
#ifndef RF_SWEEP_RUN_H
#define RF_SWEEP_RUN_H

#include "refract/sweep/sweep.h"
#include "refract/train/train.h"

/**
 * Trains run number `index` with all ranks, unless it is done already, and writes its record.
 * Collective over world; every status of `train`, RF_USAGE (no such run), RF_CONFLICT (in other
 * hands).
 */
rf_status rf_sweep_run_one(const rf_sweep *sweep, const rf_environment *environment, int64_t index);

/**
 * Splits the ranks into `workers` groups of neighbours, each of which takes the next run that is
 * not done and in nobody's hands until there is none. Runs are claimed by lock files, so that
 * several jobs may work on one manifest. A run that fails, or is stopped by its own limit, is
 * recorded and the group goes on; failed runs are tried again by a start by hand, not when the
 * batch system requeues the job. A signal to any rank, the end of the batch job or FOLDER/STOP
 * stops all groups with their state saved. Collective over world; RF_STOPPED where the same command
 * would go on; else the code of the first failed run; RF_USAGE, RF_WRITE.
 */
rf_status rf_sweep_run_all(const rf_sweep *sweep, const rf_environment *environment, int workers);

#endif
