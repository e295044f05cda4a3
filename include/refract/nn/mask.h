/** Trained masks on features of an activation: one factor for every `unit` neighbouring features.
 */
#ifndef RF_NN_MASK_H
#define RF_NN_MASK_H

#include <stdint.h>

#include "refract/base/real.h"

/** One slice: x [tokens, count * unit], mask [count]. */
typedef struct rf_mask_pass {
    const rf_real *mask;
    rf_real *dmask; /**< backward: [count], written */
    int64_t count, unit, tokens;
} rf_mask_pass;

/** y = mask x; y may be x. Local, called outside of parallel regions; cannot fail. */
void rf_mask_forward(const rf_mask_pass *pass, rf_real *y, const rf_real *x);

/** Reals of scratch that the backward pass of a slice needs. Local. */
int64_t rf_mask_scratch(int64_t tokens, int64_t count);

/**
 * dmask = sum over tokens and features of dy x, with token chunks as leaves; dy <- mask dy, the
 * gradient of x. scratch [rf_mask_scratch]. Local, called outside of parallel regions.
 */
void rf_mask_backward(const rf_mask_pass *pass, rf_real *dy, const rf_real *x, rf_real *scratch);

#endif
