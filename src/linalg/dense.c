/* LAPACK is column-major: a row-major matrix handed to it is its own transpose. */
#include "refract/linalg/dense.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>

static int64_t least_work(int64_t n)
{
    return 4 * n * n + 7 * n; /* dgesdd with both sets of vectors; the others need less */
}

int64_t rf_dense_work(int64_t n)
{
    return least_work(n) + 32 * n + 8 * n; /* room for blocks, and 8 n integers */
}

int rf_dense_eigen(double *values, double *a, int64_t n, int with_vectors, double *work)
{
    return (int)LAPACKE_dsyev_work(LAPACK_COL_MAJOR, with_vectors ? 'V' : 'N', 'L', (lapack_int)n,
                                   a, (lapack_int)n, values, work, (lapack_int)least_work(n));
}

int rf_dense_cholesky(double *a, int64_t n)
{
    const int info =
        (int)LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', (lapack_int)n, a, (lapack_int)n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++) a[i * n + j] = 0;
    return info;
}

int rf_dense_inverse(double *a, int64_t n)
{
    int info = (int)LAPACKE_dpotrf_work(LAPACK_COL_MAJOR, 'L', (lapack_int)n, a, (lapack_int)n);
    if (info == 0)
        info = (int)LAPACKE_dpotri_work(LAPACK_COL_MAJOR, 'L', (lapack_int)n, a, (lapack_int)n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++) a[i * n + j] = a[j * n + i];
    return info;
}

int rf_dense_svd(double *u, double *sigma, double *vt, double *a, int64_t n, double *work)
{
    const int64_t reals = least_work(n) + 32 * n;
    /* a^T = v diag(sigma) u^T: its left vectors, column-major, are the rows of vt */
    return (int)LAPACKE_dgesdd_work(LAPACK_COL_MAJOR, 'A', (lapack_int)n, (lapack_int)n, a,
                                    (lapack_int)n, sigma, vt, (lapack_int)n, u, (lapack_int)n, work,
                                    (lapack_int)reals, (lapack_int *)(void *)(work + reals));
}

void rf_dense_solve_upper(double *x, const double *r, int64_t n, int64_t m)
{
    cblas_dtrsm(CblasRowMajor, CblasLeft, CblasUpper, CblasNoTrans, CblasNonUnit, (blasint)n,
                (blasint)m, 1, r, (blasint)n, x, (blasint)m);
}

void rf_dense_gemm(rf_trans ta, rf_trans tb, int64_t m, int64_t n, int64_t k, double alpha,
                   const double *a, int64_t lda, const double *b, int64_t ldb, double beta,
                   double *c, int64_t ldc)
{
    cblas_dgemm(CblasRowMajor, ta == RF_T ? CblasTrans : CblasNoTrans,
                tb == RF_T ? CblasTrans : CblasNoTrans, (blasint)m, (blasint)n, (blasint)k, alpha,
                a, (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

int64_t rf_triangle_items(int64_t n)
{
    return n * (n + 1) / 2;
}

void rf_triangle_pack(double *triangle, const double *a, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i; j < n; j++) *triangle++ = a[i * n + j];
}

void rf_triangle_unpack(double *a, const double *triangle, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i; j < n; j++) a[i * n + j] = a[j * n + i] = *triangle++;
}
