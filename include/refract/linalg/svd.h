/** Singular values of whole matrices that fit one rank. */
#ifndef RF_LINALG_SVD_H
#define RF_LINALG_SVD_H

#include <stdint.h>

#include "refract/base/status.h"

/**
 * The r leading terms of a [rows, cols] = U diag(sigma) V^T, r <= min(rows, cols): u [rows, r],
 * sigma [r] descending, vt [r, cols]; a is lost. Signs are settled: the entry of largest magnitude
 * of each column of u is positive. One dgesdd; within a parallel region it is of one
 * thread, and then the same bits wherever it is made. Local; RF_RESOURCES, RF_NONFINITE where it
 * does not converge.
 */
rf_status rf_svd_leading(double *u, double *sigma, double *vt, double *a, int64_t rows,
                         int64_t cols, int64_t r);

/** All singular values [min(rows, cols)] of a [rows, cols], descending; a is lost. As above. */
rf_status rf_svd_values(double *sigma, double *a, int64_t rows, int64_t cols);

/** Makes the entry of largest magnitude of each column of u [rows, r] positive; vt [r, cols] (or
 * NULL) changes with it. Local. */
void rf_svd_settle_signs(double *u, double *vt, int64_t rows, int64_t cols, int64_t r);

#endif
