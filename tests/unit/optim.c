#include "rf_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "refract/optim/adamw.h"
#include "refract/optim/schedule.h"

enum { ROWS = 90, COLS = 101, ITEMS = ROWS * COLS };

static rf_params small_model(rf_arena *arena, const rf_grid *grid)
{
    rf_params params = {0};
    const rf_init init = {RF_INIT_NORMAL, 0.5};
    rf_params_add(&params, grid, "w", rf_shape_replicated(ROWS, COLS), RF_DTYPE_REAL, 1, init);
    rf_params_add(&params, grid, "frozen", rf_shape_replicated(3, 3), RF_BF16, 0, init);
    rf_params_add(&params, grid, "b", rf_shape_replicated(7, 1), RF_DTYPE_REAL, 1, init);
    params.row[2].lr_scale = 4;
    assert_ok(rf_arena_create(arena, "test", 1 << 20));
    rf_params_layout(&params, arena, 1);
    rf_params_init(&params, grid, 3, 1, 1);
    return params;
}

/* The formula, one number, in double. */
static double formula(double p, double g, double *m, double *v, double lr, int t)
{
    *m = 0.9 * *m + 0.1 * g;
    *v = 0.999 * *v + 0.001 * g * g;
    p -= lr * 0.01 * p;
    return p - lr / (1 - pow(0.9, t)) * *m / (sqrt(*v) / sqrt(1 - pow(0.999, t)) + 1e-8);
}

static void adamw__three_steps__follow_the_formula(void **state)
{
    (void)state;
    const rf_adamw adamw = {0.9, 0.999, 1e-8, 0.01};
    rf_arena arena;
    rf_grid grid;
    assert_ok(rf_grid_create(&grid, MPI_COMM_SELF, 1, 4));
    rf_params params = small_model(&arena, &grid);
    rf_real *gradient = RF_TAKE(&arena, rf_real, params.trained_items);
    double p = (double)params.value[ITEMS - 1], m = 0, v = 0;
    const int64_t at_b = params.row[2].offset + 6;
    double b = (double)params.value[at_b], mb = 0, vb = 0;
    for (int t = 1; t <= 3; t++) {
        rf_test_fill(gradient, params.trained_items, (uint64_t)t);
        rf_adamw_update(&adamw, &params, gradient, 0.5, 1e-2, t);
        p = formula(p, 0.5 * (double)gradient[ITEMS - 1], &m, &v, 1e-2, t);
        b = formula(b, 0.5 * (double)gradient[at_b], &mb, &vb, 4e-2, t);
    }
    assert_near(params.value[ITEMS - 1], p, 1e-5, 1e-6);
    assert_near(params.value[at_b], b, 1e-5, 1e-6);
    rf_params_destroy(&params);
    rf_arena_destroy(&arena);
    rf_grid_destroy(&grid);
}

static void norm__of_all_trained__is_euclidean_and_names_the_culprit(void **state)
{
    (void)state;
    rf_arena arena;
    rf_grid grid;
    rf_norm_parts parts;
    assert_ok(rf_grid_create(&grid, MPI_COMM_SELF, 1, 4));
    rf_params params = small_model(&arena, &grid);
    rf_norm_parts_layout(&parts, &arena, &params, 4);
    rf_real *gradient = RF_TAKE(&arena, rf_real, params.trained_items);
    double squares = 0;
    for (int64_t i = 0; i < ITEMS; i++) {
        gradient[i] = (rf_real)rf_test_value(1, (uint64_t)i);
        squares += (double)gradient[i] * (double)gradient[i];
    }
    gradient[params.row[2].offset] = 3;
    assert_near(rf_gradient_norm(&grid, &params, gradient, &parts), sqrt(squares + 9), 1e-12, 0);
    assert_null(rf_gradient_blame(&params, &parts, 4));
    gradient[params.row[2].offset + 2] = (rf_real)NAN;
    assert_int_equal(isfinite(rf_gradient_norm(&grid, &params, gradient, &parts)) != 0, 0);
    assert_string_equal(rf_gradient_blame(&params, &parts, 4), "b");
    rf_params_destroy(&params);
    rf_arena_destroy(&arena);
    rf_grid_destroy(&grid);
}

static void clip__above_and_below_the_limit__scales_or_leaves(void **state)
{
    (void)state;
    assert_near(rf_clip_scale(4, 1), 1 / (4 + 1e-6), 1e-15, 0);
    assert_near(rf_clip_scale(0.5, 1), 1, 0, 0);
    assert_near(rf_clip_scale(100, 0), 1, 0, 0);
}

static void schedule__warm_up_then_decay__has_the_stated_rates(void **state)
{
    (void)state;
    rf_schedule s = {RF_LINEAR, 1e-3, 5, 20};
    assert_near(rf_schedule_rate(&s, 0), 0, 0, 0);
    assert_near(rf_schedule_rate(&s, 4), 8e-4, 1e-15, 0);
    assert_near(rf_schedule_rate(&s, 5), 1e-3, 1e-15, 0);
    assert_near(rf_schedule_rate(&s, 19), 1e-3 / 15, 1e-14, 0);
    s.kind = rf_schedule_parse("cosine");
    assert_near(rf_schedule_rate(&s, 5), 1e-3, 1e-15, 0);
    assert_near(rf_schedule_rate(&s, 10), 1e-3 * 0.75, 1e-12, 0);
    s.kind = rf_schedule_parse("constant");
    assert_near(rf_schedule_rate(&s, 19), 1e-3, 0, 0);
}

static const struct CMUnitTest optim[] = {
    cmocka_unit_test(adamw__three_steps__follow_the_formula),
    cmocka_unit_test(norm__of_all_trained__is_euclidean_and_names_the_culprit),
    cmocka_unit_test(clip__above_and_below_the_limit__scales_or_leaves),
    cmocka_unit_test(schedule__warm_up_then_decay__has_the_stated_rates),
};
RF_TEST_MAIN(optim)
