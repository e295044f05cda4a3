/** Loss and accuracy on held-out samples. */
#ifndef RF_TRAIN_EVALUATE_H
#define RF_TRAIN_EVALUATE_H

#include "refract/base/stop.h"
#include "refract/data/batches.h"
#include "refract/model/decoder.h"
#include "refract/train/micro.h"

typedef struct rf_evaluation {
    double loss; /**< nats per label token, over all of them */
    int64_t label_tokens, samples;
    int64_t correct; /**< samples all of whose label tokens are the most likely ones */
    double seconds;
} rf_evaluation;

/** Held-out samples laid out once, in order, without regard to the ranks; all owned. */
typedef struct rf_evaluator {
    rf_batches *batches;
    rf_collector collector; /**< over the grid's dp */
    rf_micro_view view;
    unsigned char *correct;             /**< [tokens of a micro-batch] */
    double *local_loss, *local_correct; /**< [this rank's micro-batches] */
    double *all;                        /**< [2, micro-batches] */
    int64_t micro_count, most_tokens, most_samples;
    rf_arena arena;
} rf_evaluator;

/** Lays the samples out; borrows them. Local; RF_RESOURCES, RF_USAGE (sample beyond micro_tokens).
 */
rf_status rf_evaluator_create(rf_evaluator *evaluator, const rf_samples *samples,
                              int64_t micro_tokens);
/** Bytes that it will take on this grid. Local. */
size_t rf_evaluator_bytes(rf_evaluator *evaluator, const rf_grid *grid);
/** Takes its memory on this grid. Local; RF_RESOURCES. */
rf_status rf_evaluator_allocate(rf_evaluator *evaluator, const rf_grid *grid);
void rf_evaluator_destroy(rf_evaluator *evaluator);

/**
 * The figures over all samples, the same bits on every layout. Between micro-batches ranks agree on
 * `watch` (NULL = never stop); when it says stop the status is RF_STOPPED and nothing is evaluated.
 * Collective over world.
 */
rf_status rf_evaluate(rf_evaluator *evaluator, rf_decoder *decoder, const rf_stop_watch *watch,
                      rf_evaluation *evaluation);

#endif
