/** One token out of its logits; private to layer train. */
#ifndef RF_TRAIN_SAMPLING_H
#define RF_TRAIN_SAMPLING_H

#include "refract/base/arena.h"
#include "refract/train/generate.h"

/** A token and its logit over the temperature, later its weight. */
typedef struct candidate {
    double weight;
    int32_t id;
} candidate;

/**
 * The token that `sampling` takes from logits [vocab] as number `token` of prompt `index`;
 * scratch [vocab]. RF_NONFINITE where no logit is finite, or one is NaN or infinite. Local.
 */
rf_status sampling_take(const rf_sampling *sampling, const rf_real *logits, int64_t vocab,
                        int64_t index, int64_t token, candidate *scratch, int32_t *taken);

#endif
