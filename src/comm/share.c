#include "refract/comm/share.h"

#include <string.h>

#include "refract/base/status.h"

void rf_tree_fold_doubles(double *leaf, int64_t count, int64_t n)
{
    for (int64_t span = 1; span < count; span *= 2)
        for (int64_t i = 0; i + span < count; i += 2 * span) {
            double *restrict left = leaf + i * n;
            const double *restrict right = leaf + (i + span) * n;
            for (int64_t j = 0; j < n; j++) left[j] += right[j];
        }
}

/* A rank's own numbers from all ranks, one after another. */
static void exchange(MPI_Comm comm, int size, int own, double *parts, const double *node,
                     const int *counts, const int *at)
{
    enum { MAX_RANKS = 256 };
    int receive_counts[MAX_RANKS], receive_at[MAX_RANKS];
    RF_ASSERT(size <= MAX_RANKS, "%d ranks share work", size);
    for (int q = 0; q < size; q++) {
        receive_counts[q] = own;
        receive_at[q] = q * own;
    }
    MPI_Alltoallv(node, counts, at, MPI_DOUBLE, parts, receive_counts, receive_at, MPI_DOUBLE,
                  comm);
}

void rf_share_sum(MPI_Comm comm, double *sum, const double *node, const int *counts, const int *at,
                  double *scratch)
{
    int rank = 0, size = 1;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    exchange(comm, size, counts[rank], scratch, node, counts, at);
    rf_tree_fold_doubles(scratch, size, counts[rank]);
    if (counts[rank] > 0) memcpy(sum, scratch, (size_t)counts[rank] * sizeof *sum);
}

void rf_share_spread(MPI_Comm comm, double *all, const double *mine, const int *counts,
                     const int *at)
{
    int rank = 0;
    MPI_Comm_rank(comm, &rank);
    MPI_Allgatherv(mine, counts[rank], MPI_DOUBLE, all, counts, at, MPI_DOUBLE, comm);
}
