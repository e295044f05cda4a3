/**
 * What surrounds a run of `train`: its folder and log, what it is stopped by, and how it says so.
 */
#ifndef RF_TRAIN_RUN_H
#define RF_TRAIN_RUN_H

#include <mpi.h>
#include <stdint.h>

#include "refract/base/config.h"
#include "refract/base/log.h"
#include "refract/base/status.h"
#include "refract/comm/stop.h"
#include "refract/io/run_folder.h"

/** Between rf_run_open and rf_run_close. Zero-initialise. */
typedef struct rf_run {
    MPI_Comm comm;         /**< all ranks of the run; borrowed */
    rf_config *config;     /**< borrowed */
    rf_log *log;           /**< borrowed; attached to OUTPUT/run.log */
    rf_run_folder *folder; /**< owned */
    rf_stop_watch watch;   /**< the owner of the step loop keeps watch.reserve up to date */
} rf_run;

/**
 * Takes the folder `output`, lets the log write OUTPUT/run.log, catches signals from now on and
 * starts to watch train.max_time, counted from `start` (rf_clock_seconds() when the program began),
 * and the end of the SLURM job (rf_stop_watch_job), whichever comes first. The configuration has
 * been checked. Collective over comm; RF_USAGE without `output`, and as rf_run_folder_open.
 */
rf_status rf_run_open(rf_run *run, MPI_Comm comm, rf_config *config, rf_log *log, double start);

/** Ends the log and gives the folder back. Local; safe on a zeroed run and to repeat. */
void rf_run_close(rf_run *run);

/**
 * Says what became of every `auto` and writes OUTPUT/config.yaml: when all are resolved and before
 * the first step. Collective over the run's comm; RF_WRITE, RF_RESOURCES.
 */
rf_status rf_run_write_config(const rf_run *run);

/** Why the run should stop now, the same on all ranks. Collective over the run's comm. */
rf_stop_reason rf_run_should_stop(const rf_run *run);

/**
 * The failure of a run that was stopped after `steps` steps with all state saved: RF_STOPPED, with
 * what stopped it. Local.
 */
rf_status rf_run_stopped(rf_stop_reason reason, int64_t steps);

#endif
