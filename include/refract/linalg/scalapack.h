/** Singular values of matrices too large for one rank, by ScaLAPACK. */
#ifndef RF_LINALG_SCALAPACK_H
#define RF_LINALG_SCALAPACK_H

#include <mpi.h>
#include <stdint.h>

#include "refract/base/status.h"

/** Which singular vectors are wanted. */
typedef enum rf_spread_vectors { RF_SPREAD_NONE, RF_SPREAD_LEFT, RF_SPREAD_BOTH } rf_spread_vectors;

/**
 * The r leading terms of a [rows, cols] = U diag(sigma) V^T, r <= min(rows, cols), by all ranks
 * together: the matrix is spread over a 2-D grid of them in square blocks. a (kept), u [rows, r]
 * and vt [r, cols] are on rank `root` only, NULL elsewhere and where not wanted; sigma [r],
 * descending, is filled on every rank. Signs as rf_svd_leading has them. The last bits depend on
 * the number of ranks. Collective over comm, arguments equal on all ranks but for a, u and vt;
 * RF_RESOURCES (memory, or a side beyond 2^31 - 1), RF_NONFINITE where a is not finite or the
 * values do not converge.
 */
rf_status rf_scalapack_svd(MPI_Comm comm, int root, rf_spread_vectors wanted, double *u,
                           double *sigma, double *vt, const double *a, int64_t rows, int64_t cols,
                           int64_t r);

#endif
