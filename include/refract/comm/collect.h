/**
 * Sums over ranks in the order of the one reduction tree. The only place that adds numbers from
 * different ranks.
 *
 * The tree over leaves 0..n-1 is the balanced binary tree over their global index: node (level, i)
 * = node (level-1, 2i) + node (level-1, 2i+1), a missing sibling passing upward unchanged. Ranks
 * send the maximal complete nodes of what they hold (MPI_Alltoallv of chunks), each adds its chunk
 * in tree order, MPI_Allgatherv spreads the sums: the bits do not depend on the number of ranks.
 */
#ifndef RF_COMM_COLLECT_H
#define RF_COMM_COLLECT_H

#include <mpi.h>
#include <stdint.h>

#include "refract/base/arena.h"
#include "refract/base/real.h"

/** Most nodes that a contiguous range of leaves decomposes into. */
enum { RF_MAX_NODES = 128 };

/** A complete node of the tree: leaves [index << level, (index + 1) << level) that exist. */
typedef struct rf_node {
    int level;
    int64_t index;
} rf_node;

/**
 * The maximal complete nodes of leaves [begin, end) in a tree over `leaves` leaves, in leaf order.
 * A node is complete when the range holds all of its leaves that exist. Returns their number.
 * Local.
 */
int rf_tree_nodes(int64_t begin, int64_t end, int64_t leaves, rf_node nodes[RF_MAX_NODES]);

/** Leaves [begin, end) that part `part` of `parts` holds, the same rule everywhere. Local. */
int64_t rf_part_begin(int64_t leaves, int part, int parts);

/** The tables of an exchange over one communicator; made once, used every step. */
typedef struct rf_collector {
    MPI_Comm comm; /**< borrowed */
    int rank, size;
    int64_t max_leaves;
    int *send_counts, *send_at, *recv_counts, *recv_at; /**< [size] */
    rf_node *nodes;                                     /**< [max_leaves] */
    rf_real **chunks;                                   /**< [max_leaves] */
} rf_collector;

/** Cuts the tables for up to max_leaves leaves out of an arena (see base/arena.h). Local. */
void rf_collector_layout(rf_collector *collector, rf_arena *arena, MPI_Comm comm,
                         int64_t max_leaves);

/** The same for rank `rank` of `size` that are not there (comm MPI_COMM_NULL): to plan. Local. */
void rf_collector_layout_as(rf_collector *collector, rf_arena *arena, MPI_Comm comm, int rank,
                            int size, int64_t max_leaves);

/** Reals of scratch that a sum of up to n numbers over up to `leaves` leaves needs. Local. */
int64_t rf_collect_scratch(const rf_collector *collector, int64_t n, int64_t leaves);

/**
 * Sums over all leaves: nodes[k] -> n numbers of this rank's k-th node (of rf_tree_nodes over its
 * part of the leaves); `present` [leaves] says which leaves exist at all (NULL = all; an absent one
 * is skipped). The total goes to `sum` [n] on every rank; it may be nodes[0]. Collective over the
 * collector's communicator; n, leaves and present equal on all ranks. Cannot fail.
 */
void rf_collect_sum(rf_collector *collector, rf_real *sum, rf_real *const *nodes, int64_t n,
                    int64_t leaves, const unsigned char *present, rf_real *scratch);

/**
 * Sum of doubles held by parts of the leaves: local [own leaves] -> every rank gets all values in
 * leaf order in all [leaves]. Collective over the collector's communicator.
 */
void rf_collect_gather(rf_collector *collector, double *all, const double *local, int64_t leaves);

/**
 * Sums of n doubles over all leaves: local [own leaves, n]; the totals end in all [n], the rest of
 * all [leaves, n] is used up. Collective over the collector's communicator; n and leaves equal on
 * all ranks.
 */
void rf_collect_sum_wide(rf_collector *collector, double *all, const double *local, int64_t n,
                         int64_t leaves);

/** Sum of n doubles by the tree. Local. */
double rf_tree_sum_doubles(const double *leaf, int64_t n);

/**
 * Bitwise or over ranks of numbers of which at most one rank holds non-zero bits: assembles rows
 * that live on one rank each, exactly. In place. Collective over comm.
 */
void rf_collect_assemble(MPI_Comm comm, rf_real *x, int64_t n);

#endif
