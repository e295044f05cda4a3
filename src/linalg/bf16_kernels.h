/* oneDNN's kernels of one thread; private to linalg. */
#ifndef RF_BF16_KERNELS_H
#define RF_BF16_KERNELS_H

#include "refract/linalg/bf16.h"

typedef struct bf16_kernels bf16_kernels;

rf_status bf16_kernels_create(bf16_kernels **kernels);
void bf16_kernels_destroy(bf16_kernels **kernels);

/* What a kernel is made for: c [m, n] = op(a) op(b), or added to c where `adds`; a [m, k] (RF_N) or
 * [k, m] (RF_T) dense, b [k, n] or [n, k] with rows ldb apart, rows of c ldc apart. */
typedef struct bf16_product {
    rf_trans ta, tb;
    int64_t m, n, k, ldb, ldc;
    int64_t adds;
} bf16_product;

void bf16_kernels_multiply(bf16_kernels *kernels, const bf16_product *product, const uint16_t *a,
                           const uint16_t *b, float *c);

#endif
