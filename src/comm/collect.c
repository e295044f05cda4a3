#include "refract/comm/collect.h"

#include <limits.h>
#include <string.h>

#include "refract/base/status.h"

#ifdef RF_DOUBLE
#define MPI_REAL_NUMBER MPI_DOUBLE
#define MPI_REAL_BITS   MPI_UINT64_T
#else
#define MPI_REAL_NUMBER MPI_FLOAT
#define MPI_REAL_BITS   MPI_UINT32_T
#endif

enum { MAX_LEVELS = 48 };

int rf_tree_nodes(int64_t begin, int64_t end, int64_t leaves, rf_node nodes[RF_MAX_NODES])
{
    int count = 0;
    while (begin < end) {
        int level = 0;
        while (level < MAX_LEVELS) { /* grow while the parent starts here and ends in the range */
            const int64_t span = (int64_t)2 << level;
            const int64_t last = begin + span < leaves ? begin + span : leaves;
            if (begin % span != 0 || last > end || ((int64_t)1 << level) >= leaves) break;
            level++;
        }
        RF_ASSERT(count < RF_MAX_NODES, "%d nodes", count);
        nodes[count++] = (rf_node){level, begin >> level};
        begin += (int64_t)1 << level;
    }
    return count;
}

int64_t rf_part_begin(int64_t leaves, int part, int parts)
{
    return leaves * part / parts;
}

static void add(rf_real *restrict a, const rf_real *restrict b, int64_t n)
{
    for (int64_t i = 0; i < n; i++) a[i] += b[i];
}

/* An exchange in progress: the nodes of every part in leaf order, with the received chunks. */
typedef struct exchange {
    int64_t leaves;
    const unsigned char *present;
    int64_t n; /* numbers in this rank's chunk */
    int count; /* nodes of all parts */
    const rf_node *nodes;
    rf_real *const *chunks;
} exchange;

static int any_present(const exchange *ex, int64_t begin, int64_t end)
{
    if (end > ex->leaves) end = ex->leaves;
    if (!ex->present) return begin < end;
    for (int64_t leaf = begin; leaf < end; leaf++)
        if (ex->present[leaf]) return 1;
    return 0;
}

/* Sums node (level, index) in place; returns its chunk or NULL when none of its leaves exists. */
static rf_real *sum_node(const exchange *ex, int level, int64_t index)
{
    if (!any_present(ex, index << level, (index + 1) << level)) return NULL;
    for (int k = 0; k < ex->count; k++)
        if (ex->nodes[k].level == level && ex->nodes[k].index == index) return ex->chunks[k];
    RF_ASSERT(level > 0, "leaf %lld of the reduction tree is held by no rank", (long long)index);
    rf_real *left = sum_node(ex, level - 1, 2 * index);
    rf_real *right = sum_node(ex, level - 1, 2 * index + 1);
    if (!left || !right) return left ? left : right;
    add(left, right, ex->n);
    return left;
}

static int root_level(int64_t leaves)
{
    int level = 0;
    while (((int64_t)1 << level) < leaves) level++;
    return level;
}

static int part_nodes(int64_t leaves, int part, int parts, rf_node nodes[RF_MAX_NODES])
{
    return rf_tree_nodes(rf_part_begin(leaves, part, parts), rf_part_begin(leaves, part + 1, parts),
                         leaves, nodes);
}

/* Nodes of all parts together; *most is the largest number of any part. */
static int all_nodes(int64_t leaves, int parts, int *most)
{
    int total = 0;
    *most = 0;
    for (int part = 0; part < parts; part++) {
        rf_node nodes[RF_MAX_NODES];
        const int count = part_nodes(leaves, part, parts, nodes);
        if (count > *most) *most = count;
        total += count;
    }
    return total;
}

void rf_collector_layout_as(rf_collector *collector, rf_arena *arena, MPI_Comm comm, int rank,
                            int size, int64_t max_leaves)
{
    *collector = (rf_collector){.comm = comm, .rank = rank, .size = size, .max_leaves = max_leaves};
    collector->send_counts = RF_TAKE(arena, int, collector->size);
    collector->send_at = RF_TAKE(arena, int, collector->size);
    collector->recv_counts = RF_TAKE(arena, int, collector->size);
    collector->recv_at = RF_TAKE(arena, int, collector->size);
    collector->nodes = RF_TAKE(arena, rf_node, max_leaves);
    collector->chunks = RF_TAKE(arena, rf_real *, max_leaves);
}

void rf_collector_layout(rf_collector *collector, rf_arena *arena, MPI_Comm comm,
                         int64_t max_leaves)
{
    int rank = 0, size = 1;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    rf_collector_layout_as(collector, arena, comm, rank, size, max_leaves);
}

int64_t rf_collect_scratch(const rf_collector *collector, int64_t n, int64_t leaves)
{
    int64_t total = 1;
    if (collector->size == 1) return 0;
    for (int64_t count = 1; count <= leaves; count++) {
        int most = 0;
        const int nodes = all_nodes(count, collector->size, &most);
        if (nodes > total) total = nodes;
    }
    return (n / collector->size + 1) * total;
}

/* The part of n numbers that `rank` adds up. */
static int64_t chunk_begin(const rf_collector *collector, int64_t n, int rank)
{
    return n * rank / collector->size;
}

/* Sends this rank's k-th node in chunks; receives the own chunk of every part's k-th node. */
static void exchange_nodes(rf_collector *c, int k, const rf_real *mine, int64_t n, int64_t leaves,
                           int64_t chunk, rf_real *scratch)
{
    int first = 0, has_mine = 0;
    for (int part = 0; part < c->size; part++) {
        rf_node nodes[RF_MAX_NODES];
        const int count = part_nodes(leaves, part, c->size, nodes);
        c->recv_counts[part] = k < count ? (int)chunk : 0;
        c->recv_at[part] = k < count ? (int)((first + k) * chunk) : 0;
        if (part == c->rank) has_mine = k < count;
        first += count;
    }
    for (int part = 0; part < c->size; part++) {
        c->send_at[part] = (int)chunk_begin(c, n, part);
        c->send_counts[part] = has_mine ? (int)chunk_begin(c, n, part + 1) - c->send_at[part] : 0;
    }
    MPI_Alltoallv(mine, c->send_counts, c->send_at, MPI_REAL_NUMBER, scratch, c->recv_counts,
                  c->recv_at, MPI_REAL_NUMBER, c->comm);
}

/* Lists the nodes of all parts with the places of their received chunks. */
static int list_nodes(rf_collector *c, int64_t leaves, int64_t chunk, rf_real *scratch)
{
    int count = 0;
    for (int part = 0; part < c->size; part++) {
        rf_node nodes[RF_MAX_NODES];
        const int here = part_nodes(leaves, part, c->size, nodes);
        for (int k = 0; k < here; k++, count++) {
            c->nodes[count] = nodes[k];
            c->chunks[count] = scratch + count * chunk;
        }
    }
    return count;
}

/* One piece of the numbers, small enough for MPI's counts. */
static void collect_piece(rf_collector *c, rf_real *sum, rf_real *const *mine, int64_t offset,
                          int64_t n, int64_t leaves, const unsigned char *present, rf_real *scratch)
{
    const int64_t chunk = chunk_begin(c, n, c->rank + 1) - chunk_begin(c, n, c->rank);
    rf_node own[RF_MAX_NODES];
    const int own_count = part_nodes(leaves, c->rank, c->size, own);
    int most = 0;
    all_nodes(leaves, c->size, &most);
    for (int k = 0; k < most; k++)
        exchange_nodes(c, k, k < own_count ? mine[k] + offset : NULL, n, leaves, chunk, scratch);

    const exchange ex = {.leaves = leaves,
                         .present = present,
                         .n = chunk,
                         .count = list_nodes(c, leaves, chunk, scratch),
                         .nodes = c->nodes,
                         .chunks = c->chunks};
    rf_real *root = sum_node(&ex, root_level(leaves), 0);
    if (!root) { /* no leaf exists: the sum is zero */
        root = scratch;
        memset(root, 0, (size_t)chunk * sizeof *root);
    }
    for (int part = 0; part < c->size; part++) {
        c->recv_at[part] = (int)chunk_begin(c, n, part);
        c->recv_counts[part] = (int)chunk_begin(c, n, part + 1) - c->recv_at[part];
    }
    MPI_Allgatherv(root, (int)chunk, MPI_REAL_NUMBER, sum + offset, c->recv_counts, c->recv_at,
                   MPI_REAL_NUMBER, c->comm);
}

void rf_collect_sum(rf_collector *collector, rf_real *sum, rf_real *const *nodes, int64_t n,
                    int64_t leaves, const unsigned char *present, rf_real *scratch)
{
    RF_ASSERT(leaves >= 1 && leaves <= collector->max_leaves, "%lld leaves", (long long)leaves);
    if (collector->size == 1) { /* one rank holds the whole tree as one node */
        if (sum != nodes[0]) memcpy(sum, nodes[0], (size_t)n * sizeof *sum);
        return;
    }
    /* every count and displacement of a piece stays below INT_MAX */
    const int64_t piece = (int64_t)(INT_MAX / 2) / (leaves + 1) * collector->size;
    for (int64_t at = 0; at < n; at += piece)
        collect_piece(collector, sum, nodes, at, n - at < piece ? n - at : piece, leaves, present,
                      scratch);
}

/* all <- the leaves of all parts in order, each one item of `type`. */
static void gather_leaves(rf_collector *collector, double *all, const double *local, int64_t leaves,
                          MPI_Datatype type)
{
    for (int part = 0; part < collector->size; part++) {
        collector->recv_at[part] = (int)rf_part_begin(leaves, part, collector->size);
        collector->recv_counts[part] =
            (int)rf_part_begin(leaves, part + 1, collector->size) - collector->recv_at[part];
    }
    MPI_Allgatherv(local, collector->recv_counts[collector->rank], type, all,
                   collector->recv_counts, collector->recv_at, type, collector->comm);
}

void rf_collect_gather(rf_collector *collector, double *all, const double *local, int64_t leaves)
{
    gather_leaves(collector, all, local, leaves, MPI_DOUBLE);
}

void rf_collect_sum_wide(rf_collector *collector, double *all, const double *local, int64_t n,
                         int64_t leaves)
{
    RF_ASSERT(n >= 0 && n <= INT_MAX, "%lld doubles", (long long)n);
    MPI_Datatype row;
    MPI_Type_contiguous((int)n, MPI_DOUBLE, &row);
    MPI_Type_commit(&row);
    gather_leaves(collector, all, local, leaves, row);
    MPI_Type_free(&row);
    for (int64_t stride = 1; stride < leaves; stride *= 2)
        for (int64_t i = 0; i + stride < leaves; i += 2 * stride)
            for (int64_t k = 0; k < n; k++) all[i * n + k] += all[(i + stride) * n + k];
}

double rf_tree_sum_doubles(const double *leaf, int64_t n)
{
    if (n <= 0) return 0;
    if (n == 1) return leaf[0];
    int64_t half = 1;
    while (2 * half < n) half *= 2;
    return rf_tree_sum_doubles(leaf, half) + rf_tree_sum_doubles(leaf + half, n - half);
}

void rf_collect_assemble(MPI_Comm comm, rf_real *x, int64_t n)
{
    int size = 0;
    MPI_Comm_size(comm, &size);
    if (size == 1) return;
    for (int64_t at = 0; at < n; at += 1 << 28) {
        const int piece = (int)(n - at < (1 << 28) ? n - at : (1 << 28));
        MPI_Allreduce(MPI_IN_PLACE, x + at, piece, MPI_REAL_BITS, MPI_BOR, comm);
    }
}
