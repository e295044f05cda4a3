/* LAPACK is column-major: the row-major a [rows, cols] is its a^T = V diag(sigma) U^T. */
#include "refract/linalg/svd.h"

#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The whole thin factorisation: right [k, cols], left [rows, k], both row-major. */
typedef struct thin {
    int64_t rows, cols, k; /* k = min(rows, cols) */
    double *sigma, *right, *left;
    lapack_int *whole;
} thin;

static rf_status thin_make(thin *t, int64_t rows, int64_t cols)
{
    const int64_t k = rows < cols ? rows : cols;
    *t = (thin){.rows = rows, .cols = cols, .k = k};
    t->sigma = malloc((size_t)k * sizeof *t->sigma);
    t->right = malloc((size_t)(k * cols) * sizeof *t->right);
    t->left = malloc((size_t)(rows * k) * sizeof *t->left);
    t->whole = malloc((size_t)(8 * k) * sizeof *t->whole);
    if (t->sigma && t->right && t->left && t->whole) return RF_OK;
    return rf_fail(RF_RESOURCES, "no memory for the singular vectors of a %lld x %lld matrix",
                   (long long)rows, (long long)cols);
}

static void thin_free(thin *t)
{
    free(t->sigma);
    free(t->right);
    free(t->left);
    free(t->whole);
}

/* size = -1 asks for the best size of work, which comes back in work[0]. */
static int factorise(thin *t, double *a, double *work, int64_t size)
{
    const lapack_int m = (lapack_int)t->cols, n = (lapack_int)t->rows, k = (lapack_int)t->k;
    return (int)LAPACKE_dgesdd_work(LAPACK_COL_MAJOR, 'S', m, n, a, m, t->sigma, t->right, m,
                                    t->left, k, work, (lapack_int)size, t->whole);
}

static rf_status thin_compute(thin *t, double *a)
{
    double best = 0;
    factorise(t, a, &best, -1);
    double *work = malloc(((size_t)best + 1) * sizeof *work);
    if (!work) return rf_fail(RF_RESOURCES, "no memory to work on singular vectors");
    const int info = factorise(t, a, work, (int64_t)best);
    free(work);
    if (info == 0) return RF_OK;
    return rf_fail(RF_NONFINITE, "the singular values of a %lld x %lld matrix did not converge",
                   (long long)t->rows, (long long)t->cols);
}

/* 1 or -1: what makes the largest entry of column j positive. */
static double sign_of(const double *u, int64_t rows, int64_t r, int64_t j)
{
    double most = 0;
    for (int64_t i = 0; i < rows; i++) {
        const double x = u[i * r + j];
        if (fabs(x) > fabs(most)) most = x;
    }
    return most < 0 ? -1 : 1;
}

void rf_svd_settle_signs(double *u, double *vt, int64_t rows, int64_t cols, int64_t r)
{
    for (int64_t j = 0; j < r; j++) {
        if (sign_of(u, rows, r, j) > 0) continue;
        for (int64_t i = 0; i < rows; i++) u[i * r + j] *= -1;
        for (int64_t i = 0; vt && i < cols; i++) vt[j * cols + i] *= -1;
    }
}

rf_status rf_svd_leading(double *u, double *sigma, double *vt, double *a, int64_t rows,
                         int64_t cols, int64_t r)
{
    thin t;
    rf_status status = thin_make(&t, rows, cols);
    if (status == RF_OK) status = thin_compute(&t, a);
    for (int64_t j = 0; j < r && status == RF_OK; j++) {
        sigma[j] = t.sigma[j];
        for (int64_t i = 0; i < rows; i++) u[i * r + j] = t.left[i * t.k + j];
        memcpy(vt + j * cols, t.right + j * cols, (size_t)cols * sizeof *vt);
    }
    if (status == RF_OK) rf_svd_settle_signs(u, vt, rows, cols, r);
    thin_free(&t);
    return status;
}

rf_status rf_svd_values(double *sigma, double *a, int64_t rows, int64_t cols)
{
    const lapack_int m = (lapack_int)cols, n = (lapack_int)rows;
    const int64_t k = rows < cols ? rows : cols;
    double best = 0, none = 0;
    lapack_int *whole = malloc((size_t)(8 * k) * sizeof *whole);
    LAPACKE_dgesdd_work(LAPACK_COL_MAJOR, 'N', m, n, a, m, sigma, &none, 1, &none, 1, &best, -1,
                        whole);
    double *work = malloc(((size_t)best + 1) * sizeof *work);
    rf_status status = RF_OK;
    if (!whole || !work)
        status = rf_fail(RF_RESOURCES, "no memory for singular values");
    else if (LAPACKE_dgesdd_work(LAPACK_COL_MAJOR, 'N', m, n, a, m, sigma, &none, 1, &none, 1, work,
                                 (lapack_int)best, whole) != 0)
        status =
            rf_fail(RF_NONFINITE, "the singular values of a %lld x %lld matrix did not converge",
                    (long long)rows, (long long)cols);
    free(work);
    free(whole);
    return status;
}
