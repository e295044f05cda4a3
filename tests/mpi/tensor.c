#include "rf_test.h"

#include <stdlib.h>
#include <string.h>

#include "refract/linalg/tensor.h"

static rf_shape make_shape(rf_split split, int64_t rows, int64_t cols, int64_t unit)
{
    const int64_t n = split == RF_ROWS ? rows : cols;
    return (rf_shape){.rows = rows,
                      .cols = cols,
                      .split = split,
                      .cut = {.units = n / unit, .unit = unit, .slices = 4}};
}

static void cut__three_units_in_four_slices__leaves_the_first_empty(void **state)
{
    (void)state;
    const rf_cut cut = {.units = 3, .unit = 64, .slices = 4};
    assert_int_equal(rf_cut_size(cut, 0), 0);
    for (int slice = 1; slice < 4; slice++) assert_int_equal(rf_cut_size(cut, slice), 64);
    assert_int_equal(rf_cut_begin(cut, 4), 192);
}

/* Scatter, then collect on every root in turn, gives the global array back. */
static void collect__any_split_and_root__gives_the_global_array(void **state)
{
    (void)state;
    const rf_split splits[] = {RF_REPLICATED, RF_ROWS, RF_COLS};
    rf_grid grid;
    assert_ok(rf_grid_create(&grid, MPI_COMM_WORLD, rf_test_size(), 4));
    for (int s = 0; s < 3; s++) {
        const rf_shape shape = make_shape(splits[s], 12, 6, 2);
        const size_t items = 12 * 6;
        rf_real *global = malloc(items * sizeof *global), *back = malloc(items * sizeof *back);
        rf_test_fill(global, (int64_t)items, 3);
        rf_real *local = malloc(items * sizeof *local);
        rf_shape_scatter(local, global, &shape, grid.slice_begin, grid.slice_end, sizeof *local);
        for (int slice = grid.slice_begin; slice < grid.slice_end; slice++) {
            const rf_real *at = local + rf_slice_offset(&shape, grid.slice_begin, slice);
            if (rf_slice_items(&shape, slice) > 0)
                assert_true(at[0] == global[rf_global_index(&shape, slice, 0, 0)]);
        }
        for (int root = 0; root < rf_test_size(); root++) {
            memset(back, 0, items * sizeof *back);
            assert_all(rf_tensor_collect(&grid, root, rf_test_rank() == root ? back : NULL, local,
                                         &shape, sizeof *local) == RF_OK);
            assert_all(rf_test_rank() != root || memcmp(back, global, items * sizeof *back) == 0);
        }
        free(global);
        free(back);
        free(local);
    }
    rf_grid_destroy(&grid);
}

static void grid__impossible_layouts__are_resource_failures(void **state)
{
    (void)state;
    rf_grid grid;
    assert_all(rf_grid_create(&grid, MPI_COMM_WORLD, 3, 4) == RF_RESOURCES);
    assert_message_has("power of two");
    assert_all(rf_grid_create(&grid, MPI_COMM_WORLD, 8, 4) == RF_RESOURCES);
    assert_message_has("parallel.slices");
}

static const struct CMUnitTest tensor[] = {
    cmocka_unit_test(cut__three_units_in_four_slices__leaves_the_first_empty),
    cmocka_unit_test(collect__any_split_and_root__gives_the_global_array),
    cmocka_unit_test(grid__impossible_layouts__are_resource_failures),
};
RF_TEST_MAIN(tensor)
