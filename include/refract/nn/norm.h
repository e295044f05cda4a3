/** RMSNorm, y = x / sqrt(mean(x^2) + eps) * w, forward and backward, with the residual sum fused
 * in. */
#ifndef RF_NN_NORM_H
#define RF_NN_NORM_H

#include <stdint.h>

#include "refract/base/real.h"

/**
 * y_t = x_t rstd_t w, rstd_t = 1 / sqrt(mean(x_t^2) + eps).
 *
 *   y     [tokens, d]  out  may be x
 *   rstd  [tokens]     out  kept for backward
 *   x     [tokens, d]  in
 *   w     [d]          in
 *
 * Zhang and Sennrich 2019, arXiv:1910.07467. Local; threads share out tokens; cannot fail.
 */
void rf_rmsnorm_forward(rf_real *y, rf_real *rstd, const rf_real *x, const rf_real *w,
                        int64_t tokens, int64_t d, double eps);

/**
 * sum = h + branch, then y = rmsnorm(sum): the end of one residual branch and the start of the
 * next. All [tokens, d]; sum may be h.
 */
void rf_rmsnorm_add_forward(rf_real *y, rf_real *rstd, rf_real *sum, const rf_real *h,
                            const rf_real *branch, const rf_real *w, int64_t tokens, int64_t d,
                            double eps);

/**
 * dx = dres + rstd (dy w - x^ mean(dy w x^)), x^ = x rstd.
 *
 *   dx    [tokens, d]  out  may be dres (adds in place) or dy
 *   dres  [tokens, d]  in   gradient that passes by the norm; NULL for none
 *   dy    [tokens, d]  in
 *   x, rstd, w         in   of the forward pass
 *
 * Local; threads share out tokens; cannot fail.
 */
void rf_rmsnorm_backward(rf_real *dx, const rf_real *dres, const rf_real *dy, const rf_real *x,
                         const rf_real *rstd, const rf_real *w, int64_t tokens, int64_t d);

/**
 * dw = sum over tokens of dy x rstd: in token order within a chunk, chunks by the reduction tree.
 *
 *   dw       [d]                            out  written, not added to
 *   scratch  [rf_token_chunks(tokens), d]   scratch
 *
 * Local; threads share out chunks and columns; cannot fail.
 */
void rf_rmsnorm_backward_weight(rf_real *dw, const rf_real *dy, const rf_real *x,
                                const rf_real *rstd, int64_t tokens, int64_t d, rf_real *scratch);

#endif
