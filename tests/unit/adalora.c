/* AdaLoRA's allocation and penalty against released code, and what a user may ask of it. */
#include "rf_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "method_bench.h"

enum { MODULES = 3, R = 4, STEPS = 12 };
static const int is_double = sizeof(rf_real) == sizeof(double);
static const bench_module shapes[MODULES] = {{R, 8, 6, 4}, {R, 6, 10, 4}, {R, 10, 5, 4}};

static rf_status open_with(bench *b, const char *keys, int64_t steps)
{
    char yaml[256];
    snprintf(yaml, sizeof yaml, "{method: adalora, adalora: {init_r: 4, %s}}", keys);
    const bench_options options = {.yaml = yaml,
                                   .comm = MPI_COMM_SELF,
                                   .steps = steps,
                                   .modules = shapes,
                                   .count = MODULES,
                                   .diagonals = 1};
    return bench_open(b, &options);
}

static void penalty__is_the_released_one(void **state)
{
    (void)state;
    skip_without("reference/methods/baseline_peft.safetensors");
    reference data = reference_open("baseline_peft");
    bench b;
    assert_ok(open_with(&b, "target_r: 2, orthogonality: 0.5", STEPS));
    for (int m = 0; m < MODULES; m++)
        for (const char *x = "AB"; *x; x++)
            bench_load(&b, BENCH_VALUE, m, *x, &data, "adalora.orth.%d.%c", m, *x);
    for (int64_t i = 0; i < b.params.trained_items; i++) b.gradient[i] = 0;
    rf_methods_gradient(&b.methods, b.gradient);
    for (int m = 0; m < MODULES; m++)
        for (const char *x = "AB"; *x; x++)
            assert_true(bench_error(&b, BENCH_GRADIENT, m, *x, &data, "adalora.orth.%d.d%c", m,
                                    *x) < (is_double ? 1e-12 : 1e-6));
    bench_close(&b);
    reference_close(&data);
}

/* One of the method's arrays, found by the end of its path. */
static const rf_field *state_of(const rf_fields *fields, int m, char tensor, const char *what)
{
    char path[128];
    snprintf(path, sizeof path, "/method/adalora/m%d/%c/%s", m, tensor, what);
    for (int64_t i = 0; i < fields->count; i++)
        if (strcmp(fields->item[i].path, path) == 0) return &fields->item[i];
    fail_msg("no field %s", path);
    return NULL;
}

static void check_smooth(bench *b, const reference *data, int t)
{
    rf_fields fields = {0};
    assert_ok(rf_methods_fields(&b->methods, t, &fields));
    for (int m = 0; m < MODULES; m++)
        for (const char *x = "ABE"; *x; x++) {
            static const char *const what[] = {"sensitivity", "uncertainty"};
            for (int k = 0; k < 2; k++) {
                int64_t n = 0;
                double *wanted =
                    reference_load(data, &n, "adalora.step%d.%d.%cbar_%c", t, m, "IU"[k], *x);
                const rf_real *found = state_of(&fields, m, *x, what[k])->data;
                for (int64_t i = 0; i < n; i++)
                    assert_near((double)found[i], wanted[i], is_double ? 1e-12 : 1e-4,
                                is_double ? 1e-15 : 1e-7);
                free(wanted);
            }
        }
    free(fields.item);
}

static void allocation__of_every_stored_step__is_the_released_one(void **state)
{
    (void)state;
    skip_without("reference/methods/baseline_peft.safetensors");
    reference data = reference_open("baseline_peft");
    bench b;
    int checked = 0;
    assert_ok(open_with(&b, "target_r: 2, tinit: 1, tfinal: 3, interval: 2", STEPS));
    rf_methods_start(&b.methods);
    for (int t = 1; t <= STEPS; t++) {
        for (int m = 0; m < MODULES; m++)
            for (const char *x = "ABE"; *x; x++) {
                bench_load(&b, BENCH_VALUE, m, *x, &data, "adalora.step%d.%d.%c", t, m, *x);
                bench_load(&b, BENCH_GRADIENT, m, *x, &data, "adalora.step%d.%d.d%c", t, m, *x);
            }
        bench_step(&b, 1, 0, 0); /* at rate 0 the weights stay those given */
        for (int m = 0; m < MODULES; m++)
            assert_true(bench_error(&b, BENCH_VALUE, m, 'E', &data, "adalora.step%d.%d.E_after", t,
                                    m) < (is_double ? 1e-15 : 1e-6));
        if (!reference_has(&data, "adalora.step%d.0.Ibar_A", t)) continue;
        check_smooth(&b, &data, t);
        checked++;
    }
    assert_true(checked >= 4);
    bench_close(&b);
    reference_close(&data);
}

/* As many ranks live after the last allocation as the budget has, whatever the scores. */
static void last_allocation__keeps_the_target(void **state)
{
    (void)state;
    bench b;
    int alive = 0;
    assert_ok(open_with(&b, "target_r: 3", 5));
    rf_methods_start(&b.methods);
    rf_test_fill(b.params.value, b.params.trained_items, 1);
    for (int t = 1; t <= 5; t++) {
        rf_test_fill(b.gradient, b.params.trained_items, (uint64_t)(2 + t));
        bench_step(&b, 1, 0, 1e-3);
    }
    for (int m = 0; m < MODULES; m++) {
        double *e = bench_get(&b, BENCH_VALUE, m, 'E');
        for (int k = 0; k < R; k++) alive += e[k] != 0;
        free(e);
    }
    assert_int_equal(alive, MODULES * 3);
    bench_close(&b);
}

/* A target of all ranks prunes none. */
static void target__of_all_ranks__prunes_none(void **state)
{
    (void)state;
    bench b;
    assert_ok(open_with(&b, "target_r: 4", 3));
    rf_methods_start(&b.methods);
    rf_test_fill(b.params.value, b.params.trained_items, 1);
    for (int t = 1; t <= 3; t++) {
        rf_test_fill(b.gradient, b.params.trained_items, (uint64_t)(2 + t));
        bench_step(&b, 1, 0, 1e-3);
    }
    for (int m = 0; m < MODULES; m++) {
        double *e = bench_get(&b, BENCH_VALUE, m, 'E');
        for (int k = 0; k < R; k++) assert_true(e[k] != 0);
        free(e);
    }
    bench_close(&b);
}

static void budget__without_steps_to_shrink__is_refused(void **state)
{
    (void)state;
    bench b;
    assert_status(open_with(&b, "target_r: 2, tinit: 2, tfinal: 3", 5), RF_USAGE);
    assert_message_has("leave none of the run's 5 steps");
    bench_close(&b);
}

static rf_status check(const char *keys)
{
    char yaml[256];
    rf_config *config = NULL;
    snprintf(yaml, sizeof yaml, "{method: adalora, %s}", keys);
    assert_ok(rf_config_parse(&config, yaml, strlen(yaml), "a.yaml", NULL, 0));
    const rf_status status = rf_config_check(config);
    if (status == RF_OK)
        assert_int_equal(rf_config_int(config, "lora.r"), rf_config_int(config, "adalora.init_r"));
    rf_config_destroy(&config);
    return status;
}

static void keys__that_contradict__are_refused(void **state)
{
    (void)state;
    assert_ok(check("adalora: {init_r: 12}"));
    assert_ok(check("lora: {r: 6}, adalora: {init_r: 6, target_r: 6}"));
    assert_status(check("lora: {r: 8}"), RF_USAGE);
    assert_message_has("Set adalora.init_r alone");
    assert_status(check("adalora: {target_r: 13}"), RF_USAGE);
    assert_message_has("'adalora.target_r' is above 'adalora.init_r'");
    assert_status(check("lora: {init: random}"), RF_USAGE);
    assert_message_has("'lora.init' plays no part");
    assert_status(check("lora: {rank_pattern: {q_proj: 3}}"), RF_USAGE);
    assert_message_has("'lora.rank_pattern' plays no part");
}

static const struct CMUnitTest adalora[] = {
    cmocka_unit_test(penalty__is_the_released_one),
    cmocka_unit_test(allocation__of_every_stored_step__is_the_released_one),
    cmocka_unit_test(last_allocation__keeps_the_target),
    cmocka_unit_test(target__of_all_ranks__prunes_none),
    cmocka_unit_test(budget__without_steps_to_shrink__is_refused),
    cmocka_unit_test(keys__that_contradict__are_refused),
};
RF_TEST_MAIN(adalora)
