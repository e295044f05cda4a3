#include "rf_test.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "linear_fixture.h"
#include "refract/linalg/gemm.h"

/* This rank's slices of a tensor of the serial run have the same bits as its own. */
static int same(const linear_fixture *own, const rf_real *mine, const rf_real *serial,
                const rf_shape *shape)
{
    const int begin = own->grid.slice_begin, end = own->grid.slice_end;
    const int64_t items = rf_local_items(shape, begin, end);
    const int64_t at = shape->split == RF_REPLICATED ? 0 : rf_slice_offset(shape, 0, begin);
    return items == 0 || memcmp(mine, serial + at, sizeof *mine * (size_t)items) == 0;
}

static void compare(rf_split split, double dropout, int threads, const rf_adapter_kind *kind,
                    int is_bf16)
{
    linear_fixture *own = malloc(sizeof *own), *serial = malloc(sizeof *serial);
    linear_fixture_create(own, MPI_COMM_WORLD, rf_test_size(), split, RF_DTYPE_REAL, dropout, kind);
    linear_fixture_create(serial, MPI_COMM_SELF, 1, split, RF_DTYPE_REAL, dropout, kind);
    if (is_bf16) linear_fixture_use_bf16(own);
    if (is_bf16) linear_fixture_use_bf16(serial);
    omp_set_num_threads(threads);
    linear_fixture_forward(own);
    linear_fixture_backward(own);
    omp_set_num_threads(1);
    linear_fixture_forward(serial);
    linear_fixture_backward(serial);
    for (int i = 0; i < own->count; i++) {
        const rf_shape *w = &own->linear[i].shape;
        rf_shape y = rf_shape_replicated(FIXTURE_TOKENS, w->rows);
        if (split == RF_ROWS) y = (rf_shape){FIXTURE_TOKENS, w->rows, RF_COLS, w->cut};
        assert_all(same(own, own->y[i], serial->y[i], &y));
        for (int k = 0; k < own->tensors; k++)
            assert_all(same(own, own->adapter[i].gradient[k], serial->adapter[i].gradient[k],
                            &own->tensor[i][k].shape));
        assert_all(same(own, own->linear[i].dw, serial->linear[i].dw, w));
    }
    rf_shape x = rf_shape_replicated(FIXTURE_TOKENS, own->d_in);
    if (split == RF_COLS)
        x = (rf_shape){FIXTURE_TOKENS, own->d_in, RF_COLS, own->linear[0].shape.cut};
    assert_all(same(own, own->dx, serial->dx, &x));
    linear_fixture_destroy(own);
    linear_fixture_destroy(serial);
    free(own);
    free(serial);
}

static void compare_all(rf_split split)
{
    for (int threads = 1; threads <= 2; threads++) compare(split, 0, threads, &rf_adapter_lora, 0);
    for (int k = 0; k < rf_adapter_count(); k++) compare(split, 0.2, 2, rf_adapter_at(k), 0);
}

static void layers_in_bf16__on_any_ranks_and_threads__have_the_serial_bits(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        compare(RF_ROWS, 0.2, threads, &rf_adapter_dora, 1);
        compare(RF_COLS, 0.2, threads, &rf_adapter_dora, 1);
    }
}

static void column_layers__on_any_ranks_and_threads__have_the_serial_bits(void **state)
{
    (void)state;
    compare_all(RF_ROWS);
}

static void row_layer__on_any_ranks_and_threads__has_the_serial_bits(void **state)
{
    (void)state;
    compare_all(RF_COLS);
}

static const struct CMUnitTest linear_tp[] = {
    cmocka_unit_test(column_layers__on_any_ranks_and_threads__have_the_serial_bits),
    cmocka_unit_test(layers_in_bf16__on_any_ranks_and_threads__have_the_serial_bits),
    cmocka_unit_test(row_layer__on_any_ranks_and_threads__has_the_serial_bits),
};
RF_TEST_MAIN(linear_tp)
