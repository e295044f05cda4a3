/**
 * Bottleneck adapters behind a branch of a block, before the branch joins the residual stream.
 *
 *   f(y) = y + act(y D^T + b) U^T + c        D [size, d], b [size], U [d, size], c [d]
 *
 * Houlsby et al. 2019, arXiv:1902.00751 (behind attention and MLP); Pfeiffer et al. 2021,
 * arXiv:2005.00247 (behind the MLP). Everything is replicated over tensor-parallel ranks, which
 * compute it alike.
 */
#ifndef RF_NN_BOTTLENECK_H
#define RF_NN_BOTTLENECK_H

#include <stdint.h>

#include "refract/base/real.h"

typedef enum rf_activation { RF_RELU, RF_GELU, RF_SILU } rf_activation;

/** One of them; arrays are borrowed. */
typedef struct rf_bottleneck {
    int64_t d, size;
    rf_activation activation;
    const rf_real *down, *down_bias, *up, *up_bias; /**< D, b, U, c */
    rf_real *ddown, *ddown_bias, *dup, *dup_bias;   /**< backward: written, not added to */
} rf_bottleneck;

/** "relu", "gelu" (x Phi(x)), "silu"; another name is a bug. Local. */
rf_activation rf_activation_parse(const char *name);

/** Reals of scratch that either pass over so many tokens needs. Local. */
int64_t rf_bottleneck_scratch(int64_t d, int64_t size, int64_t tokens);

/**
 * y [tokens, d] <- f(y); kept [tokens, d] <- y as it came, u [tokens, size] <- y D^T + b. Local,
 * called outside of parallel regions; cannot fail.
 */
void rf_bottleneck_forward(const rf_bottleneck *bottleneck, rf_real *y, rf_real *kept, rf_real *u,
                           int64_t tokens, rf_real *scratch);

/**
 * dy [tokens, d] <- gradient of the input, given that of the output, df [tokens, d]; the gradients
 * of D, b, U, c are sums over tokens with token chunks as leaves. Local, called outside of parallel
 * regions.
 */
void rf_bottleneck_backward(const rf_bottleneck *bottleneck, rf_real *dy, const rf_real *df,
                            const rf_real *kept, const rf_real *u, int64_t tokens,
                            rf_real *scratch);

#endif
