/* oneDNN's kernels of one thread; private to linalg. */
#ifndef RF_BF16_KERNELS_H
#define RF_BF16_KERNELS_H

#include "refract/linalg/bf16.h"

typedef struct bf16_kernels bf16_kernels;

rf_status bf16_kernels_create(bf16_kernels **kernels);
void bf16_kernels_destroy(bf16_kernels **kernels);

/* c [m, n] = op(a) op(b), all dense; a [m, k] (RF_N) or [k, m] (RF_T), b [k, n] or [n, k]. */
void bf16_kernels_multiply(bf16_kernels *kernels, rf_trans ta, rf_trans tb, int64_t m, int64_t n,
                           int64_t k, const uint16_t *a, const uint16_t *b, float *c);

#endif
