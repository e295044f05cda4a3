/* Scaled AdamW against its released code and its formula. */
#include "rf_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "method_bench.h"

static const int is_double = sizeof(rf_real) == sizeof(double);

/* All steps of one stored case, with the gradients that were given at each. */
static void follow(const reference *data, const json_t *json, const char *origin, double damping,
                   double limit)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    const bench_module module = {(int64_t)json_at(json, "r"), (int64_t)json_at(json, "n_in"),
                                 (int64_t)json_at(json, "n_out"), json_at(json, "s")};
    char yaml[128];
    snprintf(yaml, sizeof yaml, "{method: preclora, preclora: {damping: %.17g}}", damping);
    const bench_options options = {
        .yaml = yaml, .comm = MPI_COMM_SELF, .steps = 9, .modules = &module, .count = 1};
    bench b;
    assert_ok(bench_open(&b, &options));
    b.adamw.epsilon = 1e-6;
    bench_load(&b, BENCH_VALUE, 0, 'A', data, "%s.A", name);
    bench_load(&b, BENCH_VALUE, 0, 'B', data, "%s.B", name);
    for (int t = 1; t <= (int)json_at(json, "steps"); t++) {
        bench_load(&b, BENCH_GRADIENT, 0, 'A', data, "%s.G_A.%d", name, t);
        bench_load(&b, BENCH_GRADIENT, 0, 'B', data, "%s.G_B.%d", name, t);
        bench_step(&b, 1, 0, 1e-2);
        for (const char *x = "AB"; *x; x++) {
            const char *at = "%s.scaled_adamw.%s.step%d.%s%c";
            assert_true(bench_error(&b, BENCH_VALUE, 0, *x, data, at, name, origin, t, "", *x) <
                        limit);
            assert_true(bench_error(&b, BENCH_M, 0, *x, data, at, name, origin, t, "m_", *x) <
                        limit);
            assert_true(bench_error(&b, BENCH_V, 0, *x, data, at, name, origin, t, "v_", *x) <
                        2 * limit);
        }
    }
    bench_close(&b);
}

static void steps__of_stored_cases__are_the_released_ones(void **state)
{
    (void)state;
    skip_without("reference/methods/baseline_optimizers.safetensors");
    reference data = reference_open("baseline_optimizers");
    const json_t *cases = json_object_get(data.json, "cases");
    const double limit = is_double ? 1e-10 : 1e-4;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        follow(&data, json_array_get(cases, i), "formula", 1e-4, limit);
        follow(&data, json_array_get(cases, i), "official", 9.99999974737875e-05, limit);
    }
    assert_int_equal(json_array_size(cases), 4);
    reference_close(&data);
}

/* The decay follows the step; other tensors are AdamW's. */
static void decay__follows_the_step(void **state)
{
    (void)state;
    const bench_module module = {2, 6, 5, 1};
    bench b[2];
    for (int i = 0; i < 2; i++) {
        const bench_options options = {.yaml = "{method: preclora}",
                                       .comm = MPI_COMM_SELF,
                                       .steps = 8,
                                       .modules = &module,
                                       .count = 1,
                                       .gates = 1};
        assert_ok(bench_open(&b[i], &options));
        rf_test_fill(b[i].params.value, b[i].params.trained_items, 1);
        rf_test_fill(b[i].gradient, b[i].params.trained_items, 7);
    }
    b[1].adamw.weight_decay = 0.5;
    double *before = bench_get(&b[0], BENCH_VALUE, 0, 'g');
    for (int i = 0; i < 2; i++) bench_step(&b[i], 1, 0, 1e-2);
    double *plain = bench_get(&b[0], BENCH_VALUE, 0, 'A');
    double *decayed = bench_get(&b[1], BENCH_VALUE, 0, 'A');
    double *gate = bench_get(&b[0], BENCH_VALUE, 0, 'g');
    for (int k = 0; k < 12; k++) assert_near(decayed[k], plain[k] * (1 - 0.5e-2), 1e-6, 1e-7);
    for (int k = 0; k < 2; k++) assert_near(fabs(gate[k] - before[k]), 1e-2, 1e-3, 0);
    free(before);
    free(plain);
    free(decayed);
    free(gate);
    for (int i = 0; i < 2; i++) bench_close(&b[i]);
}

static const struct CMUnitTest preclora[] = {
    cmocka_unit_test(steps__of_stored_cases__are_the_released_ones),
    cmocka_unit_test(decay__follows_the_step),
};
RF_TEST_MAIN(preclora)
