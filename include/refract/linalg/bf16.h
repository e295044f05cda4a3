/**
 * Products of bf16 operands with f32 sums (`compute.precision: bf16`): oneDNN where the CPU
 * multiplies bf16 itself, else OpenBLAS on the operands widened again. Either way each product is
 * one call on one thread, of dense row-major operands: the same operands and shape give the same
 * bits wherever they are made.
 *
 * oneDNN compiles a kernel for each shape. Each thread makes its own, the first time it meets the
 * shape, and keeps it; since rows are counted in multiples of RF_BF16_ROWS, the shapes of ragged
 * micro-batches soon repeat.
 */
#ifndef RF_LINALG_BF16_H
#define RF_LINALG_BF16_H

#include <stdint.h>

#include "refract/base/status.h"
#include "refract/linalg/gemm.h"

enum { RF_BF16_ROWS = 16 };

/** The kernels of every thread. */
typedef struct rf_bf16 rf_bf16;

/** 1 when this CPU has fast bf16 products (avx512_bf16 or amx, as oneDNN sees it). Local. */
int rf_bf16_is_fast(void);
/** The instruction set whose bf16 kernels oneDNN takes, "none" where they are not fast. Local. */
const char *rf_bf16_kernels(void);

/** Kernels for up to `threads` OpenMP threads; the caller owns *bf16. Local; RF_RESOURCES. */
rf_status rf_bf16_create(rf_bf16 **bf16, int threads);
void rf_bf16_destroy(rf_bf16 **bf16);

/** n reals to bf16, to nearest even. Local. */
void rf_bf16_take(uint16_t *out, const rf_real *in, int64_t n);

/** Reals of scratch of a product with a tile of `width` rows (nt) or columns (nn) of a weight and
 * up to `rows` rows of x. Local. */
int64_t rf_bf16_scratch(const rf_weight *weight, int64_t rows, int64_t width);

/**
 * y [m, n] = x [m, cols] W[row .. row+n, :]^T + y if `adds`; x is dense, and RF_BF16_ROWS - 1 rows
 * behind its last one can be read (whatever they hold). A weight in another type than bf16 is
 * rounded tile by tile. Local; a kernel that cannot be made is a bug.
 */
void rf_bf16_nt(const rf_bf16 *bf16, rf_real *y, int64_t ldy, const uint16_t *x, int64_t m,
                const rf_weight *weight, int64_t row, int64_t n, int adds, rf_real *scratch);

/** y [m, n] = x [m, rows] W[:, col .. col+n] + y if `adds`; else the same. Local. */
void rf_bf16_nn(const rf_bf16 *bf16, rf_real *y, int64_t ldy, const uint16_t *x, int64_t m,
                const rf_weight *weight, int64_t col, int64_t n, int adds, rf_real *scratch);

/** Reals of scratch of a product of two activations. Local. */
int64_t rf_bf16_dense_scratch(int64_t m, int64_t n, int64_t k);

/**
 * y [m, n] = op(a) op(b) of dense matrices: a [m, k] (RF_N) or [k, m] (RF_T), b [k, n] (RF_N) or
 * [n, k] (RF_T). Each shape has its own kernel: callers keep to few of them. Local; as above.
 */
void rf_bf16_dense(const rf_bf16 *bf16, rf_real *y, rf_trans ta, rf_trans tb, int64_t m, int64_t n,
                   int64_t k, const uint16_t *a, const uint16_t *b, rf_real *scratch);

#endif
