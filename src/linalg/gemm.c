#include "refract/linalg/gemm.h"

#include <cblas.h>

#include "refract/linalg/convert.h"
#include "refract/linalg/quant.h"
#include "refract/linalg/vecmath.h"

void rf_gemm(rf_trans ta, rf_trans tb, int64_t m, int64_t n, int64_t k, rf_real alpha,
             const rf_real *a, int64_t lda, const rf_real *b, int64_t ldb, rf_real beta, rf_real *c,
             int64_t ldc)
{
    if (m == 0 || n == 0) return;
    const CBLAS_TRANSPOSE op_a = ta == RF_T ? CblasTrans : CblasNoTrans;
    const CBLAS_TRANSPOSE op_b = tb == RF_T ? CblasTrans : CblasNoTrans;
#ifdef RF_DOUBLE
    cblas_dgemm(CblasRowMajor, op_a, op_b, (int)m, (int)n, (int)k, alpha, a, (int)lda, b, (int)ldb,
                beta, c, (int)ldc);
#else
    cblas_sgemm(CblasRowMajor, op_a, op_b, (int)m, (int)n, (int)k, alpha, a, (int)lda, b, (int)ldb,
                beta, c, (int)ldc);
#endif
}

void rf_gemm_naive(rf_trans ta, rf_trans tb, int64_t m, int64_t n, int64_t k, rf_real alpha,
                   const rf_real *a, int64_t lda, const rf_real *b, int64_t ldb, rf_real beta,
                   rf_real *c, int64_t ldc)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t l = 0; l < k; l++)
                sum += (double)(ta == RF_T ? a[l * lda + i] : a[i * lda + l]) *
                       (double)(tb == RF_T ? b[j * ldb + l] : b[l * ldb + j]);
            const double kept = beta == 0 ? 0 : (double)beta * (double)c[i * ldc + j];
            c[i * ldc + j] = (rf_real)((double)alpha * sum + kept);
        }
}

int64_t rf_weight_scratch(const rf_weight *weight, int64_t width)
{
    if (weight->dtype == RF_DTYPE_REAL) return 0;
    const int64_t over =
        2 * (rf_dtype_block(weight->dtype) - 1); /* blocks that are cut by a tile */
    return (width + over) * (weight->rows > weight->cols ? weight->rows : weight->cols);
}

const void *rf_weight_at(const rf_weight *weight, int64_t row, int64_t col)
{
    return (const char *)weight->data + rf_dtype_bytes(weight->dtype, row * weight->cols + col);
}

static void put(rf_real *y, rf_real value, rf_real beta)
{
    *y = beta == 0 ? value : *y + value;
}

#ifndef RF_DOUBLE
enum { FEW_BLOCK_ROWS = 32 }; /* of a weight: they stay in the cache for all rows of x */

/* Blocks that are never widened; scratch [m, cols / 16]. */
static void multiply_blocks(rf_real *y, int64_t ldy, const rf_real *x, int64_t ldx, int64_t m,
                            const rf_weight *weight, int64_t row, int64_t n, rf_real beta,
                            rf_real *scratch)
{
    const int64_t k = weight->cols, items = k / 16;
    const int is_q4_1 = weight->dtype == RF_Q4_1;
    float part[FEW_BLOCK_ROWS];
    for (int64_t i = 0; i < m && is_q4_1; i++)
        for (int64_t b = 0; b < k / 32; b++) {
            scratch[i * items + 2 * b] = 0;
            scratch[i * items + 2 * b + 1] = rf_sum(x + i * ldx + 32 * b, 32);
        }
    for (int64_t j = 0; j < n; j += FEW_BLOCK_ROWS) {
        const int64_t count = n - j < FEW_BLOCK_ROWS ? n - j : FEW_BLOCK_ROWS;
        const void *w = rf_weight_at(weight, row + j, 0);
        for (int64_t i = 0; i < m; i++) {
            if (is_q4_1)
                rf_rows_q4_1(part, w, count, x + i * ldx, scratch + i * items, k);
            else
                rf_rows_q8_0(part, w, count, x + i * ldx, k);
            for (int64_t l = 0; l < count; l++) put(y + i * ldy + j + l, part[l], beta);
        }
    }
}
#endif

void rf_weight_by_row(rf_real *y, int64_t ldy, const rf_real *x, int64_t ldx, int64_t m,
                      const rf_weight *weight, int64_t row, int64_t n, rf_real beta,
                      rf_real *scratch)
{
    const int64_t k = weight->cols;
#ifndef RF_DOUBLE
    if (weight->dtype == RF_Q4_1 || weight->dtype == RF_Q8_0) {
        multiply_blocks(y, ldy, x, ldx, m, weight, row, n, beta, scratch);
        return;
    }
#endif
    for (int64_t j = 0; j < n; j++) {
        const void *w = rf_weight_at(weight, row + j, 0);
        if (weight->dtype != RF_DTYPE_REAL) {
            rf_convert(scratch, RF_DTYPE_REAL, w, weight->dtype, k);
            w = scratch;
        }
        for (int64_t i = 0; i < m; i++) put(y + i * ldy + j, rf_dot(x + i * ldx, w, k), beta);
    }
}

void rf_weight_nt(rf_real *y, int64_t ldy, const rf_real *x, int64_t ldx, int64_t m,
                  const rf_weight *weight, int64_t row, int64_t n, rf_real beta, rf_real *scratch)
{
    const int64_t k = weight->cols;
    const void *tile = rf_weight_at(weight, row, 0);
    if (m <= RF_FEW_ROWS) {
        rf_weight_by_row(y, ldy, x, ldx, m, weight, row, n, beta, scratch);
        return;
    }
    if (weight->dtype != RF_DTYPE_REAL) {
        rf_convert(scratch, RF_DTYPE_REAL, tile, weight->dtype, n * k);
        tile = scratch;
    }
    rf_gemm(RF_N, RF_T, m, n, k, 1, x, ldx, tile, k, beta, y, ldy);
}

void rf_weight_nn(rf_real *y, int64_t ldy, const rf_real *x, int64_t ldx, int64_t m,
                  const rf_weight *weight, int64_t col, int64_t n, rf_real beta, rf_real *scratch)
{
    const int64_t k = weight->rows;
    if (weight->dtype == RF_DTYPE_REAL) {
        rf_gemm(RF_N, RF_N, m, n, k, 1, x, ldx, (const rf_real *)weight->data + col, weight->cols,
                beta, y, ldy);
        return;
    }
    const int64_t block = rf_dtype_block(weight->dtype);
    const int64_t from = col / block * block, to = (col + n + block - 1) / block * block;
    const int64_t width = to - from;
    for (int64_t row = 0; row < k; row++)
        rf_convert(scratch + row * width, RF_DTYPE_REAL, rf_weight_at(weight, row, from),
                   weight->dtype, width);
    rf_gemm(RF_N, RF_N, m, n, k, 1, x, ldx, scratch + (col - from), width, beta, y, ldy);
}

void rf_blas_single_thread(void)
{
    openblas_set_num_threads(1);
}
