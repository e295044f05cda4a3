/**
 * Dropout on an adapter's input, as a function of (seed, step, sample ordinal, position, module,
 * global column): the same mask on every layout, made again wherever it is needed and stored
 * nowhere.
 */
#ifndef RF_NN_DROPOUT_H
#define RF_NN_DROPOUT_H

#include <stdint.h>

#include "refract/base/real.h"

/** What keys the masks of one micro-batch; borrowed arrays. */
typedef struct rf_dropout {
    uint64_t seed;
    const uint64_t *row_key; /**< [tokens] rf_dropout_row_key of each token */
} rf_dropout;

/**
 * Key of a token: its sample's place in the run (which the step is part of), and its position in
 * the sample. Local.
 */
uint64_t rf_dropout_row_key(int64_t ordinal, int64_t position);

/**
 * out [rows, cols] = x / (1 - p) where kept, 0 where dropped, for tokens [row, row + rows) and
 * global columns [col, col + cols). p is rounded to a multiple of 2^-16. x and out may be the same.
 * Local.
 */
void rf_dropout_apply(rf_real *out, int64_t ldo, const rf_real *x, int64_t ldx,
                      const rf_dropout *dropout, double p, uint64_t stream, int64_t row,
                      int64_t rows, int64_t col, int64_t cols);

#endif
