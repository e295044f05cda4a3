/**
 * Small dense matrices in double precision, row-major, n x n, each call single-threaded LAPACK or
 * BLAS on memory the caller brings: same bits wherever it is made.
 */
#ifndef RF_LINALG_DENSE_H
#define RF_LINALG_DENSE_H

#include <stdint.h>

#include "refract/linalg/gemm.h"

/** Doubles of work that any of the factorisations below needs. Local. */
int64_t rf_dense_work(int64_t n);

/**
 * Eigenvalues (ascending) of the symmetric a, whose content is lost; with_vectors: row k of a
 * becomes the eigenvector of values[k]. Returns 0, or not 0 where it did not converge. Local.
 */
int rf_dense_eigen(double *values, double *a, int64_t n, int with_vectors, double *work);

/** a <- upper R with R^T R = a (below the diagonal: zeros). Returns 0, or not 0 where a is not
 * positive definite. Local. */
int rf_dense_cholesky(double *a, int64_t n);

/** a <- a^-1 of a symmetric positive definite a. Returns 0, or not 0 where it is not. Local. */
int rf_dense_inverse(double *a, int64_t n);

/** a = u diag(sigma) vt, sigma descending; a is lost. Returns 0, or not 0 where it did not
 * converge. Local. */
int rf_dense_svd(double *u, double *sigma, double *vt, double *a, int64_t n, double *work);

/** x [n, m] <- R^-1 x, R upper. Local. */
void rf_dense_solve_upper(double *x, const double *r, int64_t n, int64_t m);

/** c [m, n] = alpha op(a) op(b) + beta c, as rf_gemm. Local. */
void rf_dense_gemm(rf_trans ta, rf_trans tb, int64_t m, int64_t n, int64_t k, double alpha,
                   const double *a, int64_t lda, const double *b, int64_t ldb, double beta,
                   double *c, int64_t ldc);

/** The upper triangle, row by row: n (n + 1) / 2 numbers; and the symmetric matrix from it. Local.
 */
int64_t rf_triangle_items(int64_t n);
void rf_triangle_pack(double *triangle, const double *a, int64_t n);
void rf_triangle_unpack(double *a, const double *triangle, int64_t n);

#endif
