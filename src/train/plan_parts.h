/* What the sources of `plan` share; private to layer train. */
#ifndef RF_TRAIN_PLAN_PARTS_H
#define RF_TRAIN_PLAN_PARTS_H

#include "plan_probe.h"
#include "refract/train/plan.h"

/* Ranks and what each of them takes, in bytes: of the rank that takes most. */
typedef struct plan_layout {
    int ranks, tensor;
    size_t run, step, scratch, evaluation, base; /* base: program, libraries and data */
    size_t shared; /* frozen weights that the replicas on a node hold once, counted for each */
    double total;
} plan_layout;

/* Seconds. */
typedef struct plan_time {
    double compute, tensor, reduce, update, step; /* of one step */
    double evaluation, save;                      /* of one */
    int64_t evaluations, saves;
    double whole;
    int knows_reductions;
} plan_time;

/* Memory of `ranks` ranks; tensor 0 = as the configuration says or, under auto, the run would
 * choose. t has been read; its plan is replaced. Collective over world. */
rf_status plan_memory(training *t, int ranks, int tensor, plan_layout *layout);

/* The layout that the options ask for, or RF_RESOURCES. Collective over world. */
rf_status plan_choose(training *t, const rf_plan_options *options, plan_layout *layout);

/* Time of a step and of the run on a layout. Local. */
void plan_times(const training *t, const rf_probe *probe, const plan_layout *layout,
                plan_time *time);

/* Writes or prints the batch script; `ask`: the job's time in seconds. On root. */
rf_status plan_script(const training *t, const rf_plan_options *options, const plan_layout *layout,
                      double ask);

/* H:MM:SS. Returns text. */
const char *plan_clock(char text[32], double seconds);

#endif
