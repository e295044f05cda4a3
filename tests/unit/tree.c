#include "rf_test.h"

#include <string.h>

#include "refract/linalg/tree.h"
#include "refract/linalg/vecmath.h"

enum { ITEMS = 5, MOST = 40 };

/* The definition: node(level, index) over the leaves that are present; 0 = missing. */
static int node(rf_real *sum, const rf_real *leaf, const int *present, int64_t leaves, int level,
                int64_t index)
{
    if (index << level >= leaves) return 0;
    if (level == 0) {
        memcpy(sum, leaf + index * ITEMS, ITEMS * sizeof(rf_real));
        return present[index];
    }
    rf_real left[ITEMS] = {0}, right[ITEMS] = {0};
    const int has_left = node(left, leaf, present, leaves, level - 1, 2 * index);
    const int has_right = node(right, leaf, present, leaves, level - 1, 2 * index + 1);
    for (int i = 0; i < ITEMS; i++)
        sum[i] = has_left && has_right ? left[i] + right[i] : has_left ? left[i] : right[i];
    return has_left || has_right;
}

typedef struct fixture {
    rf_arena arena;
    rf_tree tree;
    rf_real leaf[MOST * ITEMS];
    int present[MOST];
} fixture;

static void set_up(fixture *f, int gets_all)
{
    rf_arena plan = rf_arena_counting("tree");
    rf_tree_layout(&f->tree, &plan, ITEMS, rf_tree_slots(MOST, gets_all));
    assert_ok(rf_arena_create(&f->arena, "tree", plan.peak));
    rf_tree_layout(&f->tree, &f->arena, ITEMS, rf_tree_slots(MOST, gets_all));
    rf_test_fill(f->leaf, MOST * ITEMS, 1);
    for (int i = 0; i < MOST; i++) f->present[i] = 1;
}

static void push_range(fixture *f, int64_t leaves, int64_t begin, int64_t end)
{
    rf_tree_start(&f->tree, leaves, begin);
    for (int64_t i = begin; i < end; i++) {
        if (!f->present[i]) {
            rf_tree_skip(&f->tree);
            continue;
        }
        memcpy(rf_tree_leaf(&f->tree), f->leaf + i * ITEMS, ITEMS * sizeof(rf_real));
        rf_tree_push(&f->tree);
    }
}

static void levels__of_some_trees__are_known(void **state)
{
    (void)state;
    assert_int_equal(rf_tree_levels(0), 0);
    assert_int_equal(rf_tree_levels(1), 0);
    assert_int_equal(rf_tree_levels(2), 1);
    assert_int_equal(rf_tree_levels(5), 3);
    assert_int_equal(rf_tree_levels(8), 3);
    assert_int_equal(rf_token_chunks(0), 0);
    assert_int_equal(rf_token_chunks(128), 1);
    assert_int_equal(rf_token_chunks(129), 2);
}

static void push__all_leaves__follows_the_definition(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, 1);
    for (int64_t leaves = 1; leaves <= MOST; leaves++)
        for (int pattern = 0; pattern < 8; pattern++) {
            rf_real wanted[ITEMS];
            for (int i = 0; i < MOST; i++)
                f.present[i] = pattern == 0 || rf_test_value((uint64_t)pattern, (uint64_t)i) > -0.3;
            const int any = node(wanted, f.leaf, f.present, leaves, rf_tree_levels(leaves), 0);
            push_range(&f, leaves, 0, leaves);
            const rf_real *root = rf_tree_root(&f.tree);
            assert_int_equal(root != NULL, any);
            if (any) assert_memory_equal(root, wanted, sizeof wanted);
        }
    rf_arena_destroy(&f.arena);
}

static void fold__leaves_in_memory__follows_the_definition(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, 1);
    for (int64_t leaves = 1; leaves <= MOST; leaves++) {
        rf_real wanted[ITEMS], x[MOST * ITEMS];
        double one[MOST];
        node(wanted, f.leaf, f.present, leaves, rf_tree_levels(leaves), 0);
        memcpy(x, f.leaf, sizeof x);
        for (int64_t i = 0; i < leaves; i++) one[i] = (double)f.leaf[i * ITEMS];
        rf_tree_fold(x, leaves, ITEMS, ITEMS);
        assert_memory_equal(x, wanted, sizeof wanted);
        assert_near(rf_tree_fold_wide(one, leaves), (double)wanted[0], 1e-5, 1e-5);
    }
    rf_arena_destroy(&f.arena);
}

/* Ranges of leaves on several holders: their nodes, pushed again as leaves of what is left, make
 * the same root, and each is the node it says it is. */
static void push__a_part_of_the_leaves__holds_its_maximal_complete_nodes(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, 0);
    for (int64_t leaves = 1; leaves <= MOST; leaves++)
        for (int64_t begin = 0; begin < leaves; begin++)
            for (int64_t end = begin + 1; end <= leaves; end++) {
                int64_t covered = begin;
                push_range(&f, leaves, begin, end);
                for (int k = 0; k < f.tree.count; k++) {
                    const rf_tree_node *held = &f.tree.node[k];
                    rf_real wanted[ITEMS];
                    node(wanted, f.leaf, f.present, leaves, held->level, held->index);
                    assert_memory_equal(f.tree.data[k], wanted, sizeof wanted);
                    assert_int_equal(held->index << held->level, covered);
                    covered = (held->index + 1) << held->level;
                }
                assert_true(covered >= end && (covered == end || end == leaves));
            }
    rf_arena_destroy(&f.arena);
}

static const struct CMUnitTest tree[] = {
    cmocka_unit_test(levels__of_some_trees__are_known),
    cmocka_unit_test(push__all_leaves__follows_the_definition),
    cmocka_unit_test(fold__leaves_in_memory__follows_the_definition),
    cmocka_unit_test(push__a_part_of_the_leaves__holds_its_maximal_complete_nodes),
};
RF_TEST_MAIN(tree)
