/**
 * What became of a sweep's runs: FOLDER/records/ID.json, written when a run ends, beside the lock
 * ID.lock of who works on it.
 */
#ifndef RF_SWEEP_RECORD_H
#define RF_SWEEP_RECORD_H

#include "refract/base/log.h"
#include "refract/io/run_lock.h"
#include "refract/sweep/sweep.h"

/** X(name, word): what a run is. */
#define RF_SWEEP_STATE_LIST(X)                                                                     \
    X(LEFT, "left")       /* nobody has begun it */                                                \
    X(RUNNING, "running") /* someone holds its lock */                                             \
    X(DONE, "done")                                                                                \
    X(FAILED, "failed")     /* ended with another code than 0 and 75 */                            \
    X(STOPPED, "stopped")   /* or killed: goes on from its newest checkpoint */                    \
    X(VANISHED, "vanished") /* was done, but its folder is not there any more */

typedef enum rf_sweep_state {
#define RF_SWEEP_STATE_ENUM(name, word) RF_SWEEP_##name,
    RF_SWEEP_STATE_LIST(RF_SWEEP_STATE_ENUM)
#undef RF_SWEEP_STATE_ENUM
        RF_SWEEP_STATES
} rf_sweep_state;

/** "left", "running", ... Local; never NULL. */
const char *rf_sweep_state_word(rf_sweep_state state);

enum { RF_SWEEP_START_BYTES = 320 };

typedef struct rf_sweep_record {
    rf_sweep_state state;
    int code;                       /**< exit code of the last try */
    char message[RF_MESSAGE_BYTES]; /**< why it failed or stopped */
    double seconds;                 /**< of all tries */
    int64_t tries;
    int ranks, threads;               /**< of the last try */
    char start[RF_SWEEP_START_BYTES]; /**< which start of the program the last try belongs to */
    char ended[32];                   /**< UTC, of the last try */
    rf_lock_holder holder;            /**< of a running one */
} rf_sweep_record;

/**
 * What the record of run number `index` says, whoever works on it now. One that cannot be read
 * counts as none, with a message. Local; RF_USAGE (path too long).
 */
rf_status rf_sweep_recorded(const rf_sweep *sweep, int64_t index, rf_sweep_record *record);

/** What the run is by now: record and lock together. Local; RF_USAGE (path too long). */
rf_status rf_sweep_look(const rf_sweep *sweep, int64_t index, const rf_lock_holder *self,
                        rf_sweep_record *record);

/** Writes the record of a run that has ended. Local; RF_WRITE. */
rf_status rf_sweep_note(const rf_sweep *sweep, int64_t index, const rf_sweep_record *record);

#endif
