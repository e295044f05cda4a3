#include "rf_test.h"

#include <stdlib.h>
#include <string.h>

#include "linear_fixture.h"
#include "refract/linalg/convert.h"

/* y of layer 0, element (t, column c of the whole), by the formula in double. */
static double expected(const linear_fixture *f, int64_t t, int64_t out)
{
    const int64_t d_in = f->d_in;
    const rf_real *a = f->adapter[0].value[0], *b = f->adapter[0].value[1];
    double y = (double)f->bias[0][out];
    for (int64_t j = 0; j < d_in; j++) {
        y += (double)f->w[0][out * d_in + j] * (double)f->x[t * d_in + j];
    }
    for (int k = 0; k < FIXTURE_R; k++) {
        double down = 0;
        for (int64_t j = 0; j < d_in; j++)
            down += (double)a[k * d_in + j] * (double)f->x[t * d_in + j];
        y += (double)f->lowrank[0].scaling * down * (double)b[out * FIXTURE_R + k];
    }
    return y;
}

static void column_forward__without_dropout__is_the_formula(void **state)
{
    (void)state;
    linear_fixture *f = malloc(sizeof *f);
    linear_fixture_create(f, MPI_COMM_SELF, 1, RF_ROWS, RF_DTYPE_REAL, 0, &rf_adapter_lora);
    linear_fixture_forward(f);
    /* three slices of 40 columns, the first slice is empty */
    for (int slice = 0; slice < 3; slice++)
        for (int64_t t = 0; t < FIXTURE_TOKENS; t += 7)
            for (int64_t c = 0; c < 40; c++)
                assert_near(f->y[0][FIXTURE_TOKENS * 40 * slice + t * 40 + c],
                            expected(f, t, 40 * slice + c), 1e-4, 1e-4);
    linear_fixture_destroy(f);
    free(f);
}

static void bf16_weight__widened_per_tile__equals_widened_up_front(void **state)
{
    (void)state;
    const rf_split splits[] = {RF_ROWS, RF_COLS};
    for (int k = 0; k < 2; k++) {
        linear_fixture *narrow = malloc(sizeof *narrow), *wide = malloc(sizeof *wide);
        linear_fixture_create(narrow, MPI_COMM_SELF, 1, splits[k], RF_BF16, 0, &rf_adapter_lora);
        linear_fixture_create(wide, MPI_COMM_SELF, 1, splits[k], RF_DTYPE_REAL, 0,
                              &rf_adapter_lora);
        for (int i = 0; i < wide->count; i++)
            rf_convert(wide->w[i], RF_DTYPE_REAL, narrow->linear[i].w, RF_BF16,
                       120 * 40 / (i ? 5 : 1));
        assert_true(linear_fixture_loss(narrow) == linear_fixture_loss(wide));
        linear_fixture_backward(narrow);
        linear_fixture_backward(wide);
        assert_memory_equal(narrow->dx, wide->dx,
                            sizeof(rf_real) * (size_t)(FIXTURE_TOKENS * narrow->d_in));
        linear_fixture_destroy(narrow);
        linear_fixture_destroy(wide);
        free(narrow);
        free(wide);
    }
}

/* Norms that a kind takes as constants are not prepared anew, unless its own tensors move alone. */
static void check_adapter(linear_fixture *f, int i)
{
    rf_adapter *adapter = &f->adapter[i];
    for (int k = 0; k < f->tensors; k++) {
        const rf_shape *shape = &f->tensor[i][k].shape;
        f->prepares = k > 1 || !adapter->kind->scales_output;
        rf_check_gradient(f->tensor[i][k].field, linear_fixture_loss, f, adapter->value[k],
                          adapter->gradient[k], shape->rows * shape->cols, 20);
        rf_adapters_prepare(&f->adapters, RF_ADAPTER_STEP);
    }
    f->prepares = 0;
}

static void check_gradients(rf_split split, double dropout, const rf_adapter_kind *kind)
{
    linear_fixture *f = malloc(sizeof *f);
    linear_fixture_create(f, MPI_COMM_SELF, 1, split, RF_DTYPE_REAL, dropout, kind);
    linear_fixture_forward(f);
    linear_fixture_backward(f);
    rf_check_gradient("x", linear_fixture_loss, f, f->x, f->dx, FIXTURE_TOKENS * f->d_in, 40);
    for (int i = 0; i < f->count; i++) {
        const rf_shape *w = &f->linear[i].shape;
        check_adapter(f, i);
        rf_check_gradient("W", linear_fixture_loss, f, f->w[i], f->linear[i].dw, w->rows * w->cols,
                          40);
        rf_check_gradient("bias", linear_fixture_loss, f, f->bias[i], f->linear[i].dbias, w->rows,
                          40);
    }
    linear_fixture_destroy(f);
    free(f);
}

static void column_backward__any_adapter_and_dropout__equals_differences(void **state)
{
    (void)state;
    check_gradients(RF_ROWS, 0, &rf_adapter_lora);
    for (int k = 0; k < rf_adapter_count(); k++) check_gradients(RF_ROWS, 0.3, rf_adapter_at(k));
}

static void row_backward__any_adapter_and_dropout__equals_differences(void **state)
{
    (void)state;
    check_gradients(RF_COLS, 0, &rf_adapter_lora);
    for (int k = 0; k < rf_adapter_count(); k++) check_gradients(RF_COLS, 0.3, rf_adapter_at(k));
}

static void dropout__many_elements__keeps_its_share_and_the_mean(void **state)
{
    (void)state;
    enum { ROWS = 64, COLS = 300 };
    rf_real *x = malloc(sizeof *x * ROWS * COLS), *part = malloc(sizeof *part * ROWS * COLS);
    uint64_t keys[ROWS];
    for (int i = 0; i < ROWS * COLS; i++) x[i] = 1;
    for (int i = 0; i < ROWS; i++) keys[i] = rf_dropout_row_key(i, 3);
    const rf_dropout dropout = {.seed = 9, .row_key = keys};
    rf_dropout_apply(x, COLS, x, COLS, &dropout, 0.25, 4, 0, ROWS, 0, COLS);
    double sum = 0;
    for (int i = 0; i < ROWS * COLS; i++) sum += (double)x[i];
    assert_near(sum / (ROWS * COLS), 1, 0, 0.02);
    /* any window of it is the same mask */
    for (int i = 0; i < ROWS * COLS; i++) part[i] = 1;
    rf_dropout_apply(part, 11, part, 11, &dropout, 0.25, 4, 5, 7, 133, 11);
    for (int t = 0; t < 7; t++)
        for (int c = 0; c < 11; c++) assert_true(part[t * 11 + c] == x[(5 + t) * COLS + 133 + c]);
    free(x);
    free(part);
}

static const struct CMUnitTest linear[] = {
    cmocka_unit_test(column_forward__without_dropout__is_the_formula),
    cmocka_unit_test(bf16_weight__widened_per_tile__equals_widened_up_front),
    cmocka_unit_test(column_backward__any_adapter_and_dropout__equals_differences),
    cmocka_unit_test(row_backward__any_adapter_and_dropout__equals_differences),
    cmocka_unit_test(dropout__many_elements__keeps_its_share_and_the_mean),
};
RF_TEST_MAIN(linear)
