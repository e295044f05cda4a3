#include "refract/nn/norm.h"

#include <math.h>
#include <string.h>

#include "refract/linalg/tree.h"
#include "refract/linalg/vecmath.h"

static rf_real norm_row(rf_real *y, const rf_real *x, const rf_real *w, int64_t d, double eps)
{
    const double mean = (double)rf_sum_squares(x, d) / (double)d;
    const rf_real rstd = (rf_real)(1.0 / sqrt(mean + eps));
#pragma omp simd
    for (int64_t i = 0; i < d; i++) y[i] = x[i] * rstd * w[i];
    return rstd;
}

void rf_rmsnorm_forward(rf_real *y, rf_real *rstd, const rf_real *x, const rf_real *w,
                        int64_t tokens, int64_t d, double eps)
{
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tokens; t++) rstd[t] = norm_row(y + t * d, x + t * d, w, d, eps);
}

void rf_rmsnorm_add_forward(rf_real *y, rf_real *rstd, rf_real *sum, const rf_real *h,
                            const rf_real *branch, const rf_real *w, int64_t tokens, int64_t d,
                            double eps)
{
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tokens; t++) {
        rf_real *sum_t = sum + t * d;
        const rf_real *h_t = h + t * d, *branch_t = branch + t * d;
#pragma omp simd
        for (int64_t i = 0; i < d; i++) sum_t[i] = h_t[i] + branch_t[i];
        rstd[t] = norm_row(y + t * d, sum_t, w, d, eps);
    }
}

/* sum of dy w x in RF_SUM_LANES lanes. */
static rf_real dot3(const rf_real *dy, const rf_real *w, const rf_real *x, int64_t d)
{
    rf_real lane[RF_SUM_LANES] = {0};
    int64_t i = 0;
    for (; i + RF_SUM_LANES <= d; i += RF_SUM_LANES)
        for (int l = 0; l < RF_SUM_LANES; l++)
            lane[l] = rf_fma(dy[i + l] * w[i + l], x[i + l], lane[l]);
    for (int l = 0; i + l < d; l++) lane[l] = rf_fma(dy[i + l] * w[i + l], x[i + l], lane[l]);
    return rf_sum(lane, RF_SUM_LANES);
}

void rf_rmsnorm_backward(rf_real *dx, const rf_real *dres, const rf_real *dy, const rf_real *x,
                         const rf_real *rstd, const rf_real *w, int64_t tokens, int64_t d)
{
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tokens; t++) {
        const rf_real *dy_t = dy + t * d, *x_t = x + t * d, r = rstd[t];
        const rf_real pull = dot3(dy_t, w, x_t, d) * r * r / (rf_real)d;
        rf_real *dx_t = dx + t * d;
        if (dres) {
            const rf_real *dres_t = dres + t * d;
#pragma omp simd
            for (int64_t i = 0; i < d; i++)
                dx_t[i] = dres_t[i] + r * (dy_t[i] * w[i] - x_t[i] * pull);
        } else {
#pragma omp simd
            for (int64_t i = 0; i < d; i++) dx_t[i] = r * (dy_t[i] * w[i] - x_t[i] * pull);
        }
    }
}

enum { COLUMNS = 256 }; /* of dw summed at once: stays in L1 beside one row of dy and x */

static void chunk_weight(rf_real *dw, const rf_real *dy, const rf_real *x, const rf_real *rstd,
                         int64_t tokens, int64_t d, int64_t columns)
{
    memset(dw, 0, (size_t)columns * sizeof *dw);
    for (int64_t t = 0; t < tokens; t++)
        for (int64_t i = 0; i < columns; i++)
            dw[i] = rf_fma(dy[t * d + i], x[t * d + i] * rstd[t], dw[i]);
}

void rf_rmsnorm_backward_weight(rf_real *dw, const rf_real *dy, const rf_real *x,
                                const rf_real *rstd, int64_t tokens, int64_t d, rf_real *scratch)
{
    const int64_t chunks = rf_token_chunks(tokens);
#pragma omp parallel for collapse(2) schedule(static)
    for (int64_t chunk = 0; chunk < chunks; chunk++)
        for (int64_t column = 0; column < d; column += COLUMNS) {
            const int64_t first = chunk * RF_TOKEN_CHUNK, at = first * d + column;
            const int64_t rows = tokens - first < RF_TOKEN_CHUNK ? tokens - first : RF_TOKEN_CHUNK;
            chunk_weight(scratch + chunk * d + column, dy + at, x + at, rstd + first, rows, d,
                         d - column < COLUMNS ? d - column : COLUMNS);
        }
    rf_tree_fold(scratch, chunks, d, d);
    if (chunks > 0)
        memcpy(dw, scratch, (size_t)d * sizeof *dw);
    else
        memset(dw, 0, (size_t)d * sizeof *dw);
}
