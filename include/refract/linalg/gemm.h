/**
 * Dense products of rf_real matrices, row-major, each one single-threaded BLAS call: the same
 * operands and shape give the same bits wherever and in whichever thread they are made.
 */
#ifndef RF_LINALG_GEMM_H
#define RF_LINALG_GEMM_H

#include <stdint.h>

#include "refract/base/real.h"
#include "refract/linalg/tensor.h"

typedef enum rf_trans { RF_N, RF_T } rf_trans;

/**
 * C [m, n] = alpha op(A) op(B) + beta C, op(A) [m, k], op(B) [k, n]; lda, ldb, ldc are the row
 * strides of the arrays as they lie in memory. Empty products set C to beta C. Local; cannot fail.
 */
void rf_gemm(rf_trans ta, rf_trans tb, int64_t m, int64_t n, int64_t k, rf_real alpha,
             const rf_real *a, int64_t lda, const rf_real *b, int64_t ldb, rf_real beta, rf_real *c,
             int64_t ldc);

/** The same by three loops in double: the oracle of the tests. */
void rf_gemm_naive(rf_trans ta, rf_trans tb, int64_t m, int64_t n, int64_t k, rf_real alpha,
                   const rf_real *a, int64_t lda, const rf_real *b, int64_t ldb, rf_real beta,
                   rf_real *c, int64_t ldc);

/**
 * A dense weight slice [rows, cols] as it is held: rf_real or a narrower type, widened tile by
 * tile; cols is a multiple of the type's block.
 */
typedef struct rf_weight {
    rf_dtype dtype;
    const void *data; /**< borrowed */
    int64_t rows, cols;
} rf_weight;

/** Where item (row, col) of it lies; col is a multiple of the type's block. Local. */
const void *rf_weight_at(const rf_weight *weight, int64_t row, int64_t col);

/** Reals of scratch that a tile of up to `width` rows (nt) or columns (nn) needs; 0 for rf_real. */
int64_t rf_weight_scratch(const rf_weight *weight, int64_t width);

/** Up to so many rows of x, products with rows of a weight are made row by row: reading the weight
 * is what takes the time then, so it is read once, as it lies. */
enum { RF_FEW_ROWS = 4 };

/**
 * y [m, n] = x [m, cols] W[row .. row+n, :]^T + beta y, beta 0 or 1, for any m up to 256: a row's
 * bits are the same whatever other rows there are. Each row of the weight is read once, and widened
 * at most into the cache. Local.
 */
void rf_weight_by_row(rf_real *y, int64_t ldy, const rf_real *x, int64_t ldx, int64_t m,
                      const rf_weight *weight, int64_t row, int64_t n, rf_real beta,
                      rf_real *scratch);

/** y [m, n] = x [m, cols] W[row .. row+n, :]^T + beta y, beta 0 or 1 for few rows. Local. */
void rf_weight_nt(rf_real *y, int64_t ldy, const rf_real *x, int64_t ldx, int64_t m,
                  const rf_weight *weight, int64_t row, int64_t n, rf_real beta, rf_real *scratch);

/** y [m, n] = x [m, rows] W[:, col .. col+n] + beta y. Local. */
void rf_weight_nn(rf_real *y, int64_t ldy, const rf_real *x, int64_t ldx, int64_t m,
                  const rf_weight *weight, int64_t col, int64_t n, rf_real beta, rf_real *scratch);

/** Settles the BLAS on one thread; called once at start, before the OpenMP threads are set. Local.
 */
void rf_blas_single_thread(void);

#endif
