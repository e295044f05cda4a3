/**
 * The one reduction tree: a balanced binary tree over the global index of slices, token chunks or
 * micro-batches.
 *
 * node(0, i) = leaf i; node(l, i) = node(l - 1, 2 i) + node(l - 1, 2 i + 1). A sibling that does
 * not exist, or whose leaves were all skipped, is missing: the other passes upward unchanged. So a
 * sum depends on the leaves alone, not on who adds them or when.
 */
#ifndef RF_LINALG_TREE_H
#define RF_LINALG_TREE_H

#include <stdint.h>

#include "refract/base/arena.h"
#include "refract/base/real.h"

/** Tokens of a micro-batch that make one leaf of a sum over tokens. */
enum { RF_TOKEN_CHUNK = 128 };

/** ceil(tokens / RF_TOKEN_CHUNK): the leaves of a sum over tokens. Local. */
int64_t rf_token_chunks(int64_t tokens);

/** Level of the root over `leaves` leaves: ceil(log2(leaves)), 0 for one leaf or none. Local. */
int rf_tree_levels(int64_t leaves);

/**
 * Sums leaves that lie side by side: leaf i = x[i * stride .. i * stride + items); the root ends in
 * leaf 0, the others are used up. Local.
 */
void rf_tree_fold(rf_real *x, int64_t leaves, int64_t items, int64_t stride);

/** Same for numbers kept in double, one per leaf. Local. */
double rf_tree_fold_wide(double *x, int64_t leaves);

/** One maximal complete node of the leaves pushed so far. */
typedef struct rf_tree_node {
    int level;
    int64_t index;
    int present; /**< 0: all its leaves were skipped */
} rf_tree_node;

enum { RF_TREE_MAX_SLOTS = 96 };

/**
 * A sum whose leaves come one after another, in index order, from a contiguous range of the tree's
 * leaves: holds the maximal complete nodes of what it was given.
 *
 *     rf_tree_start(&tree, leaves, 0);
 *     for (i...) { fill(rf_tree_leaf(&tree)); rf_tree_push(&tree); }
 *     sum = rf_tree_root(&tree);
 */
typedef struct rf_tree {
    int64_t items, leaves, next; /**< items of a leaf; leaves of the whole tree; index to come */
    int slots, count;            /**< buffers; nodes held */
    rf_tree_node node[RF_TREE_MAX_SLOTS];
    rf_real
        *data[RF_TREE_MAX_SLOTS]; /**< [items] each, borrowed from the arena; node k in data[k] */
} rf_tree;

/**
 * Buffers that a sum over `leaves` leaves needs at most: levels + 1 for one that gets all of them,
 * else 2 levels + 1. Never fewer for more leaves. Local.
 */
int rf_tree_slots(int64_t leaves, int gets_all);

/** Cuts `slots` buffers of `items` items from the arena. Local. */
void rf_tree_layout(rf_tree *tree, rf_arena *arena, int64_t items, int slots);

/** Begins a sum over a tree of `leaves` leaves; the first to come has index `first`. Local. */
void rf_tree_start(rf_tree *tree, int64_t leaves, int64_t first);

/** Where the next leaf is to be written: [items], contents undefined. Local. */
rf_real *rf_tree_leaf(rf_tree *tree);

/** Takes the leaf that was written, or counts it as missing. Local. */
void rf_tree_push(rf_tree *tree);
void rf_tree_skip(rf_tree *tree);

/** The sum once all leaves from 0 have come; NULL when all were skipped. Valid until start. Local.
 */
rf_real *rf_tree_root(rf_tree *tree);

#endif
