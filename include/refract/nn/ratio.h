/**
 * How much an adapter says beside its layer, token by token: ||s B A x|| / ||W x + b||.
 *
 * Both are taken from a forward pass that is just done: s B A x = xs B^T from what it has kept, and
 * W x + b as the rest of its output.
 */
#ifndef RF_NN_RATIO_H
#define RF_NN_RATIO_H

#include "refract/nn/linear.h"

/**
 * squares [own slices, 2, tokens] <- squared norms of s B A x and of W x + b over the output
 * features of each slice of this rank (a row-parallel layer has all of them in slice 0, elsewhere
 * 0), which are to be summed over all slices; y: the layer's output, as rf_column_forward or
 * rf_row_forward give it; stride: doubles from slice to slice. For adapters without out_scale.
 * Local, called outside of parallel regions.
 */
void rf_ratio_squares(const rf_linear_context *context, const rf_linear_pass *pass,
                      const rf_real *y, int64_t tokens, double *squares, int64_t stride);

/** Reals of its workspace that each thread needs. Local. */
int64_t rf_ratio_items(const rf_linear *linear);

/** Sum over tokens of the ratios; 0 where a norm of the layer is 0. squares [2, tokens]. Local. */
double rf_ratio_sum(const double *squares, int64_t tokens);

#endif
