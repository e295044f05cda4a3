/** One optimizer step: micro-batches, reduction, clipping, update. */
#ifndef RF_TRAIN_TRAINER_H
#define RF_TRAIN_TRAINER_H

#include "refract/base/arena.h"
#include "refract/comm/collect.h"
#include "refract/data/batches.h"
#include "refract/linalg/tree.h"
#include "refract/method/method.h"
#include "refract/model/decoder.h"
#include "refract/optim/adamw.h"
#include "refract/optim/schedule.h"
#include "refract/train/micro.h"

/** Parts of a step's time besides the decoder's own (rf_phase). */
typedef enum rf_step_phase {
    RF_STEP_GRADIENTS, /**< forward and backward, reductions within the model included */
    RF_STEP_TENSOR,    /**< of it: reductions over tensor-parallel ranks */
    RF_STEP_REDUCE,    /**< sums over data-parallel ranks */
    RF_STEP_UPDATE,
    RF_STEP_PHASES
} rf_step_phase;

/** "gradients", "tensor", "reduce", "update". Local. */
const char *rf_step_phase_name(int phase);

typedef struct rf_trainer {
    rf_decoder *decoder; /**< borrowed, like grid and batches */
    const rf_grid *grid;
    rf_batches *batches;
    rf_adamw adamw;
    rf_methods methods; /**< owned */
    rf_schedule schedule;
    double max_grad_norm;
    uint64_t seed;
    int is_dropping;
    int64_t step;  /**< updates done */
    int64_t first; /**< of them before this stage: data, schedule and methods count from it */

    rf_collector collector; /**< over the grid's dp */
    rf_tree tree;           /**< gradients of this rank's micro-batches */
    rf_real *scratch;
    rf_norm_parts norm_parts;
    rf_micro_view view;
    double *local_loss, *all_loss;   /**< [micro-batches] */
    double *local_ratio, *all_ratio; /**< [micro-batches, adapters]; NULL unless measured */
} rf_trainer;

/** What one step did. */
typedef struct rf_step_report {
    int64_t step;     /**< number of the update, from 1 */
    double loss;      /**< nats per label token, before the update */
    double grad_norm; /**< before clipping */
    double learning_rate;
    int64_t tokens, label_tokens, samples;
    double seconds;
    double phase[RF_STEP_PHASES];
} rf_step_report;

/** Cuts gradients and working memory out of `run` and `scratch` arenas. Local. */
void rf_trainer_layout(rf_trainer *trainer, rf_arena *run, rf_arena *scratch);

/**
 * Computes the gradient of the next step's batch, summed over all micro-batches and ranks, and its
 * norm. The report is filled but for the update. A loss or gradient that is not finite is
 * RF_NONFINITE, naming step, samples or tensor, before any weight is touched. *gradient
 * [trained_items] is borrowed until the next call. Collective over world; the same status
 * everywhere.
 */
rf_status rf_trainer_gradient(rf_trainer *trainer, rf_step_report *report, rf_real **gradient);

/**
 * Clips, lets the methods act on the gradient (which is used up) and updates the weights; step
 * counts one more. Collective over world.
 */
void rf_trainer_update(rf_trainer *trainer, rf_step_report *report, rf_real *gradient);

/** The methods' events of the step just done. Collective over world. */
void rf_trainer_event(rf_trainer *trainer, rf_step_report *report);

/** What the methods are told of a step. Local. */
rf_method_step rf_trainer_method_step(const rf_trainer *trainer, const rf_step_report *report);

#endif
