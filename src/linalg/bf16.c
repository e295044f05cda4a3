#include "refract/linalg/bf16.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "bf16_kernels.h"
#include "refract/linalg/convert.h"
#include "refract/linalg/vecmath.h"

struct rf_bf16 {
    int threads;
    bf16_kernels **kernels; /* [threads]; NULL: the CPU has no fast bf16 */
};

rf_status rf_bf16_create(rf_bf16 **bf16, int threads)
{
    rf_bf16 *b = calloc(1, sizeof *b);
    *bf16 = b;
    if (!b) return rf_fail(RF_RESOURCES, "no memory for bf16 products");
    b->threads = threads;
#ifndef RF_DOUBLE
    if (!rf_bf16_is_fast()) return RF_OK;
    b->kernels = calloc((size_t)threads, sizeof *b->kernels);
    rf_status status = b->kernels ? RF_OK : rf_fail(RF_RESOURCES, "no memory for bf16 products");
    for (int i = 0; i < threads && status == RF_OK; i++)
        status = bf16_kernels_create(&b->kernels[i]);
    if (status != RF_OK) rf_bf16_destroy(bf16);
    return status;
#else
    return RF_OK;
#endif
}

void rf_bf16_destroy(rf_bf16 **bf16)
{
    if (!*bf16) return;
    for (int i = 0; (*bf16)->kernels && i < (*bf16)->threads; i++)
        bf16_kernels_destroy(&(*bf16)->kernels[i]);
    free((*bf16)->kernels);
    free(*bf16);
    *bf16 = NULL;
}

void rf_bf16_take(uint16_t *out, const rf_real *in, int64_t n)
{
    rf_convert(out, RF_BF16, in, RF_DTYPE_REAL, n);
}

static int64_t whole_rows(int64_t m)
{
    return (m + RF_BF16_ROWS - 1) / RF_BF16_ROWS * RF_BF16_ROWS;
}

/* The parts of a product's scratch. */
typedef struct parts {
    rf_real *y;     /* [whole rows, n] */
    uint16_t *tile; /* [n, k] or [k, n], the weight's tile */
    uint16_t *row;  /* a row of blocks */
    rf_real *wide;  /* [m, k] and the tile again, without fast bf16 */
} parts;

static int64_t halved(int64_t items)
{
    return (items + 31) / 32 * 16; /* reals that hold as many bf16, in whole cache lines */
}

static int64_t cut(parts *p, rf_real *scratch, int64_t m, int64_t n, int64_t k, int64_t row)
{
    const int64_t y = whole_rows(m) * n, tile = halved(n * k), blocks = halved(row);
    if (p) {
        p->y = scratch;
        p->tile = (uint16_t *)(void *)(scratch + y);
        p->row = (uint16_t *)(void *)(scratch + y + tile);
        p->wide = scratch + y + tile + blocks;
    }
    return y + tile + blocks + (m + n) * k;
}

int64_t rf_bf16_scratch(const rf_weight *weight, int64_t rows, int64_t width)
{
    const int64_t most = weight->rows > weight->cols ? weight->rows : weight->cols;
    return cut(NULL, NULL, rows, width, most, most);
}

static void widen(rf_real *out, const uint16_t *in, int64_t n)
{
    rf_convert(out, RF_DTYPE_REAL, in, RF_BF16, n);
}

/* y [m, n] (+)= x [m, k] op(w), rows of w ldw apart; rows that are no whole number of RF_BF16_ROWS
 * go by way of p->y. */
static void multiply(const rf_bf16 *bf16, rf_real *y, int64_t ldy, const uint16_t *x, int64_t m,
                     int64_t n, int64_t k, rf_trans tw, const uint16_t *w, int64_t ldw, int adds,
                     const parts *p)
{
    if (m == 0 || n == 0) return;
#ifndef RF_DOUBLE
    const int thread = omp_get_thread_num(), direct = m == whole_rows(m);
    RF_ASSERT(thread < bf16->threads, "thread %d of %d", thread, bf16->threads);
    const bf16_product product = {.ta = RF_N,
                                  .tb = tw,
                                  .m = whole_rows(m),
                                  .n = n,
                                  .k = k,
                                  .ldb = ldw,
                                  .ldc = direct ? ldy : n,
                                  .adds = direct && adds};
    bf16_kernels_multiply(bf16->kernels[thread], &product, x, w, direct ? y : p->y);
    for (int64_t i = 0; i < m && !direct; i++) {
        if (adds)
            rf_add(y + i * ldy, p->y + i * n, n);
        else
            memcpy(y + i * ldy, p->y + i * n, (size_t)n * sizeof *y);
    }
#else
    (void)bf16, (void)y, (void)ldy, (void)x, (void)k, (void)tw, (void)w, (void)ldw, (void)adds;
    (void)p;
#endif
}

/* The same without fast bf16, by OpenBLAS on the operands widened again; w is dense. */
static void multiply_wide(rf_real *y, int64_t ldy, const uint16_t *x, int64_t m, int64_t n,
                          int64_t k, rf_trans tw, const uint16_t *w, int adds, const parts *p)
{
    rf_real *wide_w = p->wide + m * k;
    widen(p->wide, x, m * k);
    widen(wide_w, w, n * k);
    rf_gemm(RF_N, tw, m, n, k, 1, p->wide, k, wide_w, tw == RF_T ? k : n, adds ? 1 : 0, y, ldy);
}

void rf_bf16_nt(const rf_bf16 *bf16, rf_real *y, int64_t ldy, const uint16_t *x, int64_t m,
                const rf_weight *weight, int64_t row, int64_t n, int adds, rf_real *scratch)
{
    const int64_t k = weight->cols;
    const void *tile = rf_weight_at(weight, row, 0);
    parts p;
    cut(&p, scratch, m, n, k, 0);
    if (weight->dtype != RF_BF16) {
        rf_convert(p.tile, RF_BF16, tile, weight->dtype, n * k);
        tile = p.tile;
    }
    if (bf16->kernels)
        multiply(bf16, y, ldy, x, m, n, k, RF_T, tile, k, adds, &p);
    else
        multiply_wide(y, ldy, x, m, n, k, RF_T, tile, adds, &p);
}

/* tile [rows, n] = columns [col, col + n) of the weight, dense. */
static void take_columns(const parts *p, const rf_weight *weight, int64_t col, int64_t n)
{
    const int64_t block = rf_dtype_block(weight->dtype);
    const int64_t from = col / block * block, to = (col + n + block - 1) / block * block;
    for (int64_t row = 0; row < weight->rows; row++) {
        const void *at = rf_weight_at(weight, row, from);
        if (to - from == n) {
            rf_convert(p->tile + row * n, RF_BF16, at, weight->dtype, n);
            continue;
        }
        rf_convert(p->row, RF_BF16, at, weight->dtype, to - from);
        memcpy(p->tile + row * n, p->row + (col - from), (size_t)n * sizeof *p->tile);
    }
}

void rf_bf16_nn(const rf_bf16 *bf16, rf_real *y, int64_t ldy, const uint16_t *x, int64_t m,
                const rf_weight *weight, int64_t col, int64_t n, int adds, rf_real *scratch)
{
    const int64_t k = weight->rows;
    parts p;
    cut(&p, scratch, m, n, k, weight->cols);
    if (bf16->kernels && weight->dtype == RF_BF16) {
        const uint16_t *columns = (const uint16_t *)weight->data + col;
        multiply(bf16, y, ldy, x, m, n, k, RF_N, columns, weight->cols, adds, &p);
        return;
    }
    take_columns(&p, weight, col, n);
    if (bf16->kernels)
        multiply(bf16, y, ldy, x, m, n, k, RF_N, p.tile, n, adds, &p);
    else
        multiply_wide(y, ldy, x, m, n, k, RF_N, p.tile, adds, &p);
}

int64_t rf_bf16_dense_scratch(int64_t m, int64_t n, int64_t k)
{
    return (m + n) * k;
}

void rf_bf16_dense(const rf_bf16 *bf16, rf_real *y, rf_trans ta, rf_trans tb, int64_t m, int64_t n,
                   int64_t k, const uint16_t *a, const uint16_t *b, rf_real *scratch)
{
    if (m == 0 || n == 0) return;
#ifndef RF_DOUBLE
    if (bf16->kernels) {
        const int thread = omp_get_thread_num();
        RF_ASSERT(thread < bf16->threads, "thread %d of %d", thread, bf16->threads);
        const bf16_product product = {
            .ta = ta, .tb = tb, .m = m, .n = n, .k = k, .ldb = tb == RF_T ? k : n, .ldc = n};
        bf16_kernels_multiply(bf16->kernels[thread], &product, a, b, y);
        return;
    }
#else
    (void)bf16;
#endif
    rf_real *wide_b = scratch + m * k;
    widen(scratch, a, m * k);
    widen(wide_b, b, n * k);
    rf_gemm(ta, tb, m, n, k, 1, scratch, ta == RF_T ? m : k, wide_b, tb == RF_T ? k : n, 0, y, n);
}
