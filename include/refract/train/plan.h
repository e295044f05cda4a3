/** The command `plan`: what a run would take on ranks that are not there yet. */
#ifndef RF_TRAIN_PLAN_H
#define RF_TRAIN_PLAN_H

#include "refract/base/config.h"
#include "refract/train/train.h"

/** What `plan` is asked; zero-initialise. */
typedef struct rf_plan_options {
    int ranks;          /**< 0: the fewest that fit `memory` */
    double memory;      /**< bytes that a rank may take; 0 = any */
    double time;        /**< seconds that a job may take; 0 = as long as the run takes */
    const char *probe;  /**< file of measurements: read if it is there, else measured and written;
                           NULL = measured and forgotten. Borrowed, like the next */
    const char *script; /**< where the batch script goes; NULL = printed */
    int words;          /**< of `argument` */
    char *const *argument; /**< [words] what follows `refract train`; borrowed */
} rf_plan_options;

/**
 * Plans the run of `config` and prints memory per rank by arena, bytes per checkpoint and of the
 * whole run, time of a step, walltime, and a batch script. Time comes from a probe: a few
 * micro-batches of the run itself on the ranks at hand, of which two or more also measure the
 * reductions. `measured`: the same configuration once more, for the probe, whose layout is another.
 * Leaves no trace but the files asked for. Collective over world; RF_RESOURCES where no layout
 * fits, saying which would; RF_USAGE, RF_INPUT, RF_WRITE.
 */
rf_status rf_plan(rf_config *config, rf_config *measured, const rf_environment *environment,
                  const rf_plan_options *options);

#endif
