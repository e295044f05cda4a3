/** The gated activation of LLaMA's feed-forward part, act = silu(gate) * up. */
#ifndef RF_NN_MLP_H
#define RF_NN_MLP_H

#include <stdint.h>

#include "refract/base/real.h"

/**
 * act = silu(gate) up, silu(g) = g / (1 + e^-g); arrays of n items, of any slice. act may be gate
 * or up.
 *
 * Shazeer 2020, arXiv:2002.05202 (SwiGLU). Local; threads share out items, and a call from inside a
 * parallel region runs on its caller; cannot fail.
 */
void rf_swiglu_forward(rf_real *act, const rf_real *gate, const rf_real *up, int64_t n);

/**
 * dup = dact silu(gate), dgate = dact up silu'(gate), silu'(g) = s (1 + g (1 - s)), s = 1 / (1 +
 * e^-g). dgate and dup may be any of gate, up and dact (but not each other). Local; cannot fail.
 */
void rf_swiglu_backward(rf_real *dgate, rf_real *dup, const rf_real *dact, const rf_real *gate,
                        const rf_real *up, int64_t n);

#endif
