/** AdamW with decoupled weight decay, and the global gradient norm. */
#ifndef RF_OPTIM_ADAMW_H
#define RF_OPTIM_ADAMW_H

#include <stdint.h>

#include "refract/base/arena.h"
#include "refract/comm/grid.h"
#include "refract/model/params.h"

typedef struct rf_adamw {
    double beta1, beta2, epsilon, weight_decay;
} rf_adamw;

/**
 * One update of every trained tensor, in one pass, with lr = rate * lr_scale of the tensor:
 *
 *   g = scale * gradient;  p -= lr wd p;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
 *   p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
 *
 * t = step >= 1 is the update's number; gradient [trained_items]. Loshchilov and Hutter 2019,
 * arXiv:1711.05101, as torch.optim.AdamW computes it. Local; cannot fail.
 */
void rf_adamw_update(const rf_adamw *adamw, const rf_params *params, const rf_real *gradient,
                     double scale, double rate, int64_t step);

/** The same but for rows with done[row] != 0 of the table, which stay as they are. Local. */
void rf_adamw_update_others(const rf_adamw *adamw, const rf_params *params, const rf_real *gradient,
                            double scale, double rate, int64_t step, const unsigned char *done);

/** Working memory of the norm: one double per (trained tensor, slice). */
typedef struct rf_norm_parts {
    double *part; /**< [trained tensors, slices] squares; replicated tensors use slice 0 */
    int64_t tensors;
} rf_norm_parts;

/** Cuts it out of an arena. Local. */
void rf_norm_parts_layout(rf_norm_parts *parts, rf_arena *arena, const rf_params *params,
                          int slices);

/**
 * ||gradient|| over all trained tensors of the whole model: a double per (tensor, slice), gathered,
 * added in table order, replicated tensors once. Collective over tp.
 */
double rf_gradient_norm(const rf_grid *grid, const rf_params *params, const rf_real *gradient,
                        rf_norm_parts *parts);

/** After a norm that is not finite: the first tensor to blame, NULL if none. Local. */
const char *rf_gradient_blame(const rf_params *params, const rf_norm_parts *parts, int slices);

/** What gradients are multiplied by: min(1, limit / (norm + 1e-6)); 1 where limit <= 0. Local. */
double rf_clip_scale(double norm, double limit);

#endif
