/** The lock of a run folder: a file that names who holds it. Used by one process of a job. */
#ifndef RF_IO_RUN_LOCK_H
#define RF_IO_RUN_LOCK_H

#include "refract/base/log.h"
#include "refract/base/status.h"

/** Who holds a lock. */
typedef struct rf_lock_holder {
    char host[256];
    long pid;
    unsigned long long start; /**< of the process, in clock ticks after boot; 0 = unknown */
    char job[64];             /**< SLURM_JOB_ID, or "-" */
    long restart;             /**< SLURM_RESTART_COUNT, or 0 */
} rf_lock_holder;

/** This process. */
rf_lock_holder rf_lock_holder_self(void);

/**
 * Makes the file `path` or takes it over from a holder that is known to be gone. RF_CONFLICT names
 * the holder; RF_WRITE. Local.
 */
rf_status rf_run_lock_take(const char *path, const char *output, const rf_lock_holder *self,
                           rf_log *log);

/** What a look at a lock file finds. */
typedef enum rf_lock_state {
    RF_LOCK_FREE, /**< there is none */
    RF_LOCK_HELD, /**< by someone who may be alive */
    RF_LOCK_DEAD  /**< its holder is known to be gone: rf_run_lock_take would take it over */
} rf_lock_state;

/**
 * Who holds `path`, without touching it; *holder is zeroed where nothing tells. `self` is who asks.
 * Local.
 */
rf_lock_state rf_run_lock_look(const char *path, const rf_lock_holder *self,
                               rf_lock_holder *holder);

/** Removes the file if it still names `self`. Local. */
void rf_run_lock_release(const char *path, const rf_lock_holder *self);

#endif
