/** Work on many small things shared out over ranks: sums that land on one rank each. */
#ifndef RF_COMM_SHARE_H
#define RF_COMM_SHARE_H

#include <mpi.h>
#include <stdint.h>

/**
 * leaf [count, n]: pairs of neighbours are added in place until leaf[0] holds the sum of all, by
 * the balanced tree of collect.h. Local.
 */
void rf_tree_fold_doubles(double *leaf, int64_t count, int64_t n);

/**
 * Sums over ranks that land on one rank each: rank q gets in `sum` [counts[q]] the totals of
 * numbers [at[q], at[q] + counts[q]) of every rank's `node`, added by the tree over ranks (which
 * is the tree over slices where each rank holds the node of its slices; a leaf that does not exist
 * counts as +0, which changes no bit of sums that start from +0). scratch [size, counts[own]].
 * Collective over comm; counts and at equal on all ranks. Cannot fail.
 */
void rf_share_sum(MPI_Comm comm, double *sum, const double *node, const int *counts, const int *at,
                  double *scratch);

/**
 * Every rank gets all ranks' results: all [at[q] .. + counts[q]) <- mine [counts[q]] of rank q.
 * Collective over comm; counts and at equal on all ranks.
 */
void rf_share_spread(MPI_Comm comm, double *all, const double *mine, const int *counts,
                     const int *at);

#endif
