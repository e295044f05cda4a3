#include "refract/nn/bottleneck.h"

#include <math.h>
#include <string.h>

#include "refract/base/status.h"
#include "refract/linalg/gemm.h"
#include "refract/linalg/tiles.h"
#include "refract/linalg/tree.h"
#include "refract/linalg/vecmath.h"

rf_activation rf_activation_parse(const char *name)
{
    if (strcmp(name, "relu") == 0) return RF_RELU;
    if (strcmp(name, "gelu") == 0) return RF_GELU;
    RF_ASSERT(strcmp(name, "silu") == 0, "no activation '%s'", name);
    return RF_SILU;
}

/* Phi(x) of the normal distribution. */
static double normal(double x)
{
    return 0.5 * (1 + erf(x * M_SQRT1_2));
}

static rf_real activate(rf_activation kind, rf_real x)
{
    switch (kind) {
    case RF_RELU:
        return x > 0 ? x : 0;
    case RF_GELU:
        return (rf_real)((double)x * normal((double)x));
    case RF_SILU:
        return rf_silu(x);
    }
    return x;
}

static rf_real slope(rf_activation kind, rf_real x)
{
    const double wide = (double)x;
    const rf_real s = rf_sigmoid(x);
    switch (kind) {
    case RF_RELU:
        return x > 0;
    case RF_GELU: /* Phi + x phi */
        return (rf_real)(normal(wide) +
                         wide * exp(-wide * wide / 2) * 0.5 * M_SQRT1_2 * M_2_SQRTPI);
    case RF_SILU:
        return s * (1 + x * (1 - s));
    }
    return 1;
}

/* Gradients of one chunk side by side: D, b, U, c. */
static int64_t gradient_items(int64_t d, int64_t size)
{
    return 2 * d * size + size + d;
}

/* Of one chunk: its gradients, then act(u) and du. */
static int64_t chunk_items(int64_t d, int64_t size)
{
    return gradient_items(d, size) + 2 * RF_TOKEN_CHUNK * size;
}

int64_t rf_bottleneck_scratch(int64_t d, int64_t size, int64_t tokens)
{
    return rf_token_chunks(tokens) * chunk_items(d, size);
}

static void forward_chunk(const rf_bottleneck *b, rf_real *y, rf_real *kept, rf_real *u,
                          int64_t rows, rf_real *act)
{
    const int64_t d = b->d, size = b->size;
    memcpy(kept, y, (size_t)(rows * d) * sizeof *y);
    for (int64_t t = 0; t < rows; t++) memcpy(u + t * size, b->down_bias, (size_t)size * sizeof *u);
    rf_gemm(RF_N, RF_T, rows, size, d, 1, kept, d, b->down, d, 1, u, size);
    for (int64_t i = 0; i < rows * size; i++) act[i] = activate(b->activation, u[i]);
    rf_gemm(RF_N, RF_T, rows, d, size, 1, act, size, b->up, size, 1, y, d);
    for (int64_t t = 0; t < rows; t++) rf_add(y + t * d, b->up_bias, d);
}

void rf_bottleneck_forward(const rf_bottleneck *b, rf_real *y, rf_real *kept, rf_real *u,
                           int64_t tokens, rf_real *scratch)
{
    const int64_t chunks = rf_token_chunks(tokens);
#pragma omp parallel for schedule(static)
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const int64_t row = chunk * RF_TOKEN_CHUNK;
        forward_chunk(b, y + row * b->d, kept + row * b->d, u + row * b->size,
                      rf_token_chunk_rows(tokens, chunk),
                      scratch + chunk * RF_TOKEN_CHUNK * b->size);
    }
}

/* sum [n] = sum over rows of x [rows, n]. */
static void sum_rows(rf_real *sum, const rf_real *x, int64_t rows, int64_t n)
{
    memset(sum, 0, (size_t)n * sizeof *sum);
    for (int64_t t = 0; t < rows; t++) rf_add(sum, x + t * n, n);
}

static void backward_chunk(const rf_bottleneck *b, rf_real *dy, const rf_real *df,
                           const rf_real *kept, const rf_real *u, int64_t rows, rf_real *scratch)
{
    const int64_t d = b->d, size = b->size;
    rf_real *ddown = scratch, *ddown_bias = ddown + size * d, *dup = ddown_bias + size;
    rf_real *dup_bias = dup + d * size, *act = scratch + gradient_items(d, size);
    rf_real *du = act + RF_TOKEN_CHUNK * size;
    for (int64_t i = 0; i < rows * size; i++) act[i] = activate(b->activation, u[i]);
    rf_gemm(RF_T, RF_N, d, size, rows, 1, df, d, act, size, 0, dup, size);
    sum_rows(dup_bias, df, rows, d);
    rf_gemm(RF_N, RF_N, rows, size, d, 1, df, d, b->up, size, 0, du, size);
    for (int64_t i = 0; i < rows * size; i++) du[i] *= slope(b->activation, u[i]);
    rf_gemm(RF_T, RF_N, size, d, rows, 1, du, size, kept, d, 0, ddown, d);
    sum_rows(ddown_bias, du, rows, size);
    memcpy(dy, df, (size_t)(rows * d) * sizeof *dy);
    rf_gemm(RF_N, RF_N, rows, d, size, 1, du, size, b->down, d, 1, dy, d);
}

void rf_bottleneck_backward(const rf_bottleneck *b, rf_real *dy, const rf_real *df,
                            const rf_real *kept, const rf_real *u, int64_t tokens, rf_real *scratch)
{
    const int64_t chunks = rf_token_chunks(tokens), d = b->d, size = b->size;
    const int64_t stride = chunk_items(d, size);
#pragma omp parallel for schedule(static)
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const int64_t row = chunk * RF_TOKEN_CHUNK;
        backward_chunk(b, dy + row * d, df + row * d, kept + row * d, u + row * size,
                       rf_token_chunk_rows(tokens, chunk), scratch + chunk * stride);
    }
    rf_tree_fold(scratch, chunks, gradient_items(d, size), stride);
    memcpy(b->ddown, scratch, (size_t)(size * d) * sizeof *scratch);
    memcpy(b->ddown_bias, scratch + size * d, (size_t)size * sizeof *scratch);
    memcpy(b->dup, scratch + size * d + size, (size_t)(d * size) * sizeof *scratch);
    memcpy(b->dup_bias, scratch + 2 * size * d + size, (size_t)d * sizeof *scratch);
}
