/**
 * Asking a run to stop: signals, a time limit, a STOP file.
 *
 * Handlers only set a flag; the run looks at it at step borders, so that a signal, or several in a
 * row, never interrupt a save.
 */
#ifndef RF_BASE_STOP_H
#define RF_BASE_STOP_H

/** Why a run should stop; the larger one is reported when ranks have different reasons. */
typedef enum rf_stop_reason {
    RF_STOP_NONE,
    RF_STOP_FILE,
    RF_STOP_TIME,
    RF_STOP_SIGNAL
} rf_stop_reason;

/** "a signal", "the time limit", "the STOP file" or "nothing". Local; never NULL. */
const char *rf_stop_reason_name(rf_stop_reason reason);

/** Catches SIGTERM, SIGINT, SIGUSR1 and SIGUSR2 from now on. Local. */
void rf_stop_install(void);

/** The last such signal caught by this process, 0 if none. Local. */
int rf_stop_requested(void);

/** Forgets caught signals, for tests. Local. */
void rf_stop_forget(void);

/** Seconds of a clock that only goes forward. Local. */
double rf_clock_seconds(void);

/** Reads HH:MM:SS (MM and SS below 60, more than 0 in all) into seconds; 0 when it is not that.
 * Local. */
int rf_duration_parse(const char *text, double *seconds);

/** What a run watches besides signals. */
typedef struct rf_stop_watch {
    double start;   /**< rf_clock_seconds() when the program began */
    double limit;   /**< seconds after start: train.max_time, or the batch job's end; 0 = none */
    double reserve; /**< seconds one more step and the last save need; kept up to date */
    const char
        *stop_file; /**< OUTPUT/STOP, looked for by the rank that has it; else NULL; borrowed */
    const char *const *stop_files; /**< more of them, up to a NULL; NULL = none; borrowed */
} rf_stop_watch;

/**
 * Lowers the limit to the end of the batch job where the environment tells it (SLURM_JOB_END_TIME,
 * in seconds of the epoch), less RF_JOB_MARGIN seconds in which the job's script can requeue it.
 * Returns the seconds left by now; 0 and no change where that is not told or has passed, as in a
 * shell that outlived its job. Local.
 */
double rf_stop_watch_job(rf_stop_watch *watch);

enum { RF_JOB_MARGIN = 15 };

/** This rank's own reason to stop, the largest that holds. Local. */
rf_stop_reason rf_stop_local(const rf_stop_watch *watch);

#endif
