#include "refract/linalg/tree.h"

#include "refract/base/status.h"
#include "refract/linalg/vecmath.h"

int64_t rf_token_chunks(int64_t tokens)
{
    return (tokens + RF_TOKEN_CHUNK - 1) / RF_TOKEN_CHUNK;
}

int rf_tree_levels(int64_t leaves)
{
    int levels = 0;
    while (((int64_t)1 << levels) < leaves) levels++;
    return levels;
}

void rf_tree_fold(rf_real *x, int64_t leaves, int64_t items, int64_t stride)
{
    for (int64_t step = 1; step < leaves; step *= 2)
        for (int64_t i = 0; i + step < leaves; i += 2 * step)
            rf_add(x + i * stride, x + (i + step) * stride, items);
}

double rf_tree_fold_wide(double *x, int64_t leaves)
{
    for (int64_t step = 1; step < leaves; step *= 2)
        for (int64_t i = 0; i + step < leaves; i += 2 * step) x[i] += x[i + step];
    return leaves > 0 ? x[0] : 0;
}

int rf_tree_slots(int64_t leaves, int gets_all)
{
    const int levels = rf_tree_levels(leaves);
    return gets_all ? levels + 1 : 2 * levels + 1;
}

void rf_tree_layout(rf_tree *tree, rf_arena *arena, int64_t items, int slots)
{
    RF_ASSERT(slots <= RF_TREE_MAX_SLOTS, "a tree with %d buffers", slots);
    *tree = (rf_tree){.items = items, .slots = slots};
    for (int i = 0; i < slots; i++) tree->data[i] = RF_TAKE(arena, rf_real, items);
}

void rf_tree_start(rf_tree *tree, int64_t leaves, int64_t first)
{
    tree->leaves = leaves;
    tree->next = first;
    tree->count = 0;
}

rf_real *rf_tree_leaf(rf_tree *tree)
{
    RF_ASSERT(tree->next < tree->leaves, "leaf %lld of %lld", (long long)tree->next,
              (long long)tree->leaves);
    RF_ASSERT(tree->count < tree->slots, "a tree of %lld leaves has only %d buffers",
              (long long)tree->leaves, tree->slots);
    return tree->data[tree->count];
}

/* A left child whose sibling would begin beyond the last leaf stands for its parent. */
static void promote(rf_tree_node *node, int64_t leaves)
{
    while (node->level < rf_tree_levels(leaves) && node->index % 2 == 0 &&
           (node->index + 1) << node->level >= leaves) {
        node->level++;
        node->index /= 2;
    }
}

/* The last two nodes become their parent. */
static void merge(rf_tree *tree)
{
    const int right = tree->count - 1, left = right - 1;
    rf_tree_node *node = &tree->node[left];
    if (!node->present) {
        rf_real *const empty = tree->data[left];
        tree->data[left] = tree->data[right];
        tree->data[right] = empty;
    } else if (tree->node[right].present) {
        rf_add(tree->data[left], tree->data[right], tree->items);
    }
    node->present |= tree->node[right].present;
    node->level++;
    node->index /= 2;
    tree->count--;
}

static int siblings(const rf_tree_node *left, const rf_tree_node *right)
{
    return left->level == right->level && right->index % 2 == 1 && left->index == right->index - 1;
}

static void take(rf_tree *tree, int present)
{
    tree->node[tree->count++] = (rf_tree_node){.index = tree->next++, .present = present};
    promote(&tree->node[tree->count - 1], tree->leaves);
    while (tree->count > 1 &&
           siblings(&tree->node[tree->count - 2], &tree->node[tree->count - 1])) {
        merge(tree);
        promote(&tree->node[tree->count - 1], tree->leaves);
    }
}

void rf_tree_push(rf_tree *tree)
{
    take(tree, 1);
}

void rf_tree_skip(rf_tree *tree)
{
    rf_tree_leaf(tree);
    take(tree, 0);
}

rf_real *rf_tree_root(rf_tree *tree)
{
    RF_ASSERT(tree->next == tree->leaves && tree->count <= 1, "%d nodes after leaf %lld of %lld",
              tree->count, (long long)tree->next, (long long)tree->leaves);
    return tree->count == 1 && tree->node[0].present ? tree->data[0] : NULL;
}
