/** Learning rate over the steps of a run, as transformers schedules it. */
#ifndef RF_OPTIM_SCHEDULE_H
#define RF_OPTIM_SCHEDULE_H

#include <stdint.h>

typedef enum rf_schedule_kind { RF_LINEAR, RF_COSINE, RF_CONSTANT } rf_schedule_kind;

typedef struct rf_schedule {
    rf_schedule_kind kind;
    double learning_rate;
    int64_t warmup, steps; /**< w and N */
} rf_schedule;

/**
 * Rate of update t = 0 .. N-1: lr t/w for t < w, then lr, lr (N-t)/(N-w) or
 * lr (1 + cos(pi (t-w)/(N-w)))/2. Local.
 */
double rf_schedule_rate(const rf_schedule *schedule, int64_t t);

/** "linear", "cosine", "constant"; RF_LINEAR for anything else (the configuration has checked). */
rf_schedule_kind rf_schedule_parse(const char *name);

#endif
