/** One run of a sweep in the hands of a group of ranks; private to layer sweep. */
#ifndef RF_SWEEP_TASK_H
#define RF_SWEEP_TASK_H

#include "refract/sweep/record.h"
#include "refract/train/train.h"

/** A group of ranks that works on runs, one after the other. */
typedef struct sweep_worker {
    const rf_sweep *sweep;       /* borrowed */
    const rf_environment *whole; /* of the program; borrowed */
    rf_environment env;          /* of the group */
    rf_log log;                  /* what its runs say */
    rf_log talk;                 /* what it says of its runs */
    rf_lock_holder self;
    char start[RF_SWEEP_START_BYTES]; /* of the program, the same on all ranks */
    int rank, number;                 /* in the group; of the group */
} sweep_worker;

/** Makes FOLDER/records and agrees on what names this start. Collective over the program's world.
 */
rf_status sweep_begin(const rf_sweep *sweep, const rf_environment *whole,
                      char start[RF_SWEEP_START_BYTES]);

/** Who a claim found. */
typedef enum sweep_claim { CLAIM_TAKEN, CLAIM_DONE, CLAIM_ELSEWHERE, CLAIM_PASSED } sweep_claim;

/**
 * Tries to take the lock of a run that is worth it (again = 0: not one that failed before a
 * requeue, nor one that this start has had). RF_WRITE. Local, on the group's root.
 */
rf_status sweep_take(sweep_worker *worker, int64_t index, int again, sweep_claim *claim);

/**
 * Trains the run, writes its record and gives the lock back. *outcome is the run's own status, with
 * its message in *record. Collective over the group; RF_WRITE where the record cannot be written.
 */
rf_status sweep_train(sweep_worker *worker, int64_t index, rf_status *outcome,
                      rf_sweep_record *record);

#endif
