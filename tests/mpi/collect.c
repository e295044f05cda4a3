#include "rf_test.h"

#include <stdlib.h>
#include <string.h>

#include "refract/comm/collect.h"
#include "refract/linalg/vecmath.h"

enum { NUMBERS = 37, MAX_LEAVES = 23 };

static void leaf_values(rf_real *x, int64_t leaf)
{
    for (int i = 0; i < NUMBERS; i++)
        x[i] =
            (rf_real)(rf_test_value(11, (uint64_t)(leaf * NUMBERS + i)) * (double)(1 + leaf % 3));
}

/* The definition, leaf by leaf: NULL where no leaf exists. */
static int reference(rf_real *out, int level, int64_t index, int64_t leaves,
                     const unsigned char *present)
{
    if ((index << level) >= leaves) return 0;
    if (level == 0) {
        if (present && !present[index]) return 0;
        leaf_values(out, index);
        return 1;
    }
    rf_real right[NUMBERS];
    const int has_left = reference(out, level - 1, 2 * index, leaves, present);
    const int has_right = reference(right, level - 1, 2 * index + 1, leaves, present);
    if (has_right && has_left) rf_add(out, right, NUMBERS);
    if (has_right && !has_left) memcpy(out, right, sizeof right);
    return has_left || has_right;
}

static void check_sum(int64_t leaves, const unsigned char *present)
{
    rf_arena arena;
    rf_collector collector;
    assert_ok(rf_arena_create(&arena, "test", 1 << 20));
    rf_collector_layout(&collector, &arena, MPI_COMM_WORLD, MAX_LEAVES);
    rf_real *scratch =
        RF_TAKE(&arena, rf_real, rf_collect_scratch(&collector, NUMBERS, MAX_LEAVES));

    rf_node nodes[RF_MAX_NODES];
    rf_real *mine[RF_MAX_NODES];
    const int64_t begin = rf_part_begin(leaves, collector.rank, collector.size);
    const int64_t end = rf_part_begin(leaves, collector.rank + 1, collector.size);
    const int count = rf_tree_nodes(begin, end, leaves, nodes);
    for (int k = 0; k < count; k++) {
        mine[k] = RF_TAKE(&arena, rf_real, NUMBERS);
        reference(mine[k], nodes[k].level, nodes[k].index, leaves, present);
    }
    rf_real sum[NUMBERS], wanted[NUMBERS] = {0};
    int level = 0;
    while ((1 << level) < leaves) level++;
    reference(wanted, level, 0, leaves, present);
    rf_collect_sum(&collector, sum, mine, NUMBERS, leaves, present, scratch);
    assert_all(memcmp(sum, wanted, sizeof sum) == 0);
    rf_arena_destroy(&arena);
}

static void sum__any_number_of_leaves__has_the_bits_of_the_tree(void **state)
{
    (void)state;
    for (int64_t leaves = 1; leaves <= MAX_LEAVES; leaves++) check_sum(leaves, NULL);
}

static void sum__absent_leaves__are_skipped(void **state)
{
    (void)state;
    const unsigned char some[4][4] = {{0, 1, 1, 1}, {1, 0, 0, 1}, {0, 0, 0, 1}, {0, 0, 0, 0}};
    for (int i = 0; i < 4; i++) check_sum(4, some[i]);
}

static void nodes__of_a_range__are_maximal_and_complete(void **state)
{
    (void)state;
    rf_node nodes[RF_MAX_NODES];
    assert_int_equal(rf_tree_nodes(0, 5, 5, nodes), 1);
    assert_int_equal(nodes[0].level, 3);
    assert_int_equal(rf_tree_nodes(1, 8, 8, nodes), 3); /* 1, 2-3, 4-7 */
    assert_int_equal(nodes[2].level, 2);
    assert_int_equal(nodes[2].index, 1);
    assert_int_equal(rf_tree_nodes(3, 3, 8, nodes), 0);
}

static void assemble__rows_on_one_rank_each__are_exact(void **state)
{
    (void)state;
    rf_real x[8] = {0};
    for (int i = 0; i < 8; i++)
        if (i % rf_test_size() == rf_test_rank()) x[i] = (rf_real)(i == 3 ? -0.0 : -1.0 / (i + 1));
    rf_collect_assemble(MPI_COMM_WORLD, x, 8);
    for (int i = 0; i < 8; i++) {
        const rf_real wanted = (rf_real)(i == 3 ? -0.0 : -1.0 / (i + 1));
        assert_all(memcmp(&x[i], &wanted, sizeof wanted) == 0);
    }
}

static void gather__doubles_of_parts__come_in_leaf_order(void **state)
{
    (void)state;
    rf_arena arena;
    rf_collector collector;
    assert_ok(rf_arena_create(&arena, "test", 1 << 16));
    rf_collector_layout(&collector, &arena, MPI_COMM_WORLD, MAX_LEAVES);
    double local[MAX_LEAVES], all[MAX_LEAVES];
    const int64_t begin = rf_part_begin(MAX_LEAVES, collector.rank, collector.size);
    const int64_t end = rf_part_begin(MAX_LEAVES, collector.rank + 1, collector.size);
    for (int64_t i = begin; i < end; i++) local[i - begin] = (double)i;
    rf_collect_gather(&collector, all, local, MAX_LEAVES);
    int good = 1;
    for (int i = 0; i < MAX_LEAVES; i++) good &= all[i] == i;
    assert_all(good);
    assert_near(rf_tree_sum_doubles(all, MAX_LEAVES), MAX_LEAVES * (MAX_LEAVES - 1) / 2.0, 0, 0);
    rf_arena_destroy(&arena);
}

static const struct CMUnitTest collect[] = {
    cmocka_unit_test(sum__any_number_of_leaves__has_the_bits_of_the_tree),
    cmocka_unit_test(sum__absent_leaves__are_skipped),
    cmocka_unit_test(nodes__of_a_range__are_maximal_and_complete),
    cmocka_unit_test(assemble__rows_on_one_rank_each__are_exact),
    cmocka_unit_test(gather__doubles_of_parts__come_in_leaf_order),
};
RF_TEST_MAIN(collect)
