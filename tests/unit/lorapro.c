/* LoRA-Pro against its formulas in another hand's double precision. */
#include "rf_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "method_bench.h"

static const int is_double = sizeof(rf_real) == sizeof(double);
enum { CUTS = 2 };

/* All steps of one stored case, by a layer cut by rows and one cut by columns. */
static void follow(const reference *data, const json_t *json, double limit)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    const bench_module module = {(int64_t)json_at(json, "r"), (int64_t)json_at(json, "n_in"),
                                 (int64_t)json_at(json, "n_out"), json_at(json, "s")};
    const bench_module modules[CUTS] = {module, module};
    const bench_options options = {.yaml = "{method: lorapro}",
                                   .comm = MPI_COMM_SELF,
                                   .steps = 9,
                                   .modules = modules,
                                   .count = CUTS,
                                   .cut = 1};
    bench b;
    assert_ok(bench_open(&b, &options));
    rf_methods_start(&b.methods);
    for (int m = 0; m < CUTS; m++) {
        bench_load(&b, BENCH_VALUE, m, 'A', data, "%s.A", name);
        bench_load(&b, BENCH_VALUE, m, 'B', data, "%s.B", name);
    }
    for (int t = 1; t <= (int)json_at(json, "steps"); t++) {
        for (int m = 0; m < CUTS; m++) {
            bench_load(&b, BENCH_GRADIENT, m, 'A', data, "%s.G_A.%d", name, t);
            bench_load(&b, BENCH_GRADIENT, m, 'B', data, "%s.G_B.%d", name, t);
        }
        bench_step(&b, 1, 0, 1e-3);
        for (int m = 0; m < CUTS; m++)
            for (const char *x = "AB"; *x; x++) {
                const char *at = "%s.lora_pro.formula.step%d.%s%c";
                assert_true(bench_error(&b, BENCH_VALUE, m, *x, data, at, name, t, "", *x) < limit);
                assert_true(bench_error(&b, BENCH_GRADIENT, m, *x, data, at, name, t, "g_", *x) <
                            1e3 * limit);
            }
    }
    bench_close(&b);
}

static void steps__of_stored_cases__are_those_of_the_formula(void **state)
{
    (void)state;
    skip_without("reference/methods/baseline_optimizers.safetensors");
    reference data = reference_open("baseline_optimizers");
    const json_t *cases = json_object_get(data.json, "cases");
    int followed = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        const char *name = json_string_value(json_object_get(one, "name"));
        if (!reference_has(&data, "%s.lora_pro.formula.step1.A", name)) continue;
        const int is_flat = strcmp(name, "Bzero") == 0; /* B^T B nears the damping */
        follow(&data, one, is_double ? (is_flat ? 1e-6 : 1e-10) : (is_flat ? 2e-2 : 1e-4));
        followed++;
    }
    assert_int_equal(followed, 4);
    reference_close(&data);
}

enum { R = 3, IN = 9, OUT = 7 };

/* The direction that Adam made of the change of W, from the moments after the first step. */
static void direction_of(const bench *b, double *h)
{
    rf_fields fields = {0};
    rf_real first[OUT * IN], second[OUT * IN];
    assert_ok(rf_methods_fields(&b->methods, 1, &fields));
    assert_int_equal(fields.count, 2);
    rf_shape_gather(first, fields.item[0].data, &fields.item[0].shape, 0, 4, sizeof *first);
    rf_shape_gather(second, fields.item[1].data, &fields.item[1].shape, 0, 4, sizeof *second);
    for (int i = 0; i < OUT * IN; i++)
        h[i] = (double)first[i] / 0.1 / (sqrt((double)second[i] / 0.001) + 1e-8);
    free(fields.item);
}

/* Theorem 2.1: no first-order change of B A is nearer to h: what is left is orthogonal to both. */
static void change__of_the_first_step__is_the_nearest(void **state)
{
    (void)state;
    const bench_module module = {R, IN, OUT, 1};
    const bench_options options = {.yaml = "{method: lorapro}",
                                   .comm = MPI_COMM_SELF,
                                   .steps = 9,
                                   .modules = &module,
                                   .count = 1,
                                   .cut = 1};
    bench b;
    double left[OUT * IN];
    assert_ok(bench_open(&b, &options));
    rf_methods_start(&b.methods);
    rf_test_fill(b.params.value, b.params.trained_items, 5);
    rf_test_fill(b.gradient, b.params.trained_items, 6);
    double *a = bench_get(&b, BENCH_VALUE, 0, 'A'), *bb = bench_get(&b, BENCH_VALUE, 0, 'B');
    bench_step(&b, 1, 0, 1e-3);
    double *ga = bench_get(&b, BENCH_GRADIENT, 0, 'A'), *gb = bench_get(&b, BENCH_GRADIENT, 0, 'B');
    direction_of(&b, left);
    for (int i = 0; i < OUT * IN; i++)
        for (int k = 0; k < R; k++)
            left[i] -=
                bb[i / IN * R + k] * ga[k * IN + i % IN] + gb[i / IN * R + k] * a[k * IN + i % IN];
    for (int k = 0; k < R; k++) {
        double by_b[IN] = {0}, by_a[OUT] = {0};
        for (int i = 0; i < OUT * IN; i++) {
            by_b[i % IN] += bb[i / IN * R + k] * left[i];
            by_a[i / IN] += left[i] * a[k * IN + i % IN];
        }
        for (int i = 0; i < IN; i++) assert_near(by_b[i], 0, 0, is_double ? 1e-6 : 2e-3);
        for (int o = 0; o < OUT; o++) assert_near(by_a[o], 0, 0, is_double ? 1e-6 : 2e-3);
    }
    free(a);
    free(bb);
    free(ga);
    free(gb);
    bench_close(&b);
}

static const struct CMUnitTest lorapro[] = {
    cmocka_unit_test(steps__of_stored_cases__are_those_of_the_formula),
    cmocka_unit_test(change__of_the_first_step__is_the_nearest),
};
RF_TEST_MAIN(lorapro)
