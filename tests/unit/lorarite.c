/* LoRA-RITE against its released code, and what it promises. */
#include "rf_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "method_bench.h"

static const int is_double = sizeof(rf_real) == sizeof(double);

/* All steps of one stored case, with the gradients that were given at each. */
static void follow(const reference *data, const json_t *json, const char *origin)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    const bench_module module = {(int64_t)json_at(json, "r"), (int64_t)json_at(json, "n_in"),
                                 (int64_t)json_at(json, "n_out"), json_at(json, "s")};
    const bench_options options = {.yaml = "{method: lorarite}",
                                   .comm = MPI_COMM_SELF,
                                   .steps = 9,
                                   .modules = &module,
                                   .count = 1};
    bench b;
    assert_ok(bench_open(&b, &options));
    b.adamw.epsilon = 1e-6;
    bench_load(&b, BENCH_VALUE, 0, 'A', data, "%s.A", name);
    bench_load(&b, BENCH_VALUE, 0, 'B', data, "%s.B", name);
    for (int t = 1; t <= (int)json_at(json, "steps"); t++) {
        bench_load(&b, BENCH_GRADIENT, 0, 'A', data, "%s.G_A.%d", name, t);
        bench_load(&b, BENCH_GRADIENT, 0, 'B', data, "%s.G_B.%d", name, t);
        bench_step(&b, 1, 0, 1e-3);
        for (const char *x = "AB"; *x; x++) {
            if (strcmp(name, "Bzero") == 0 && *x == 'A' && t == 1) continue; /* stays as it is */
            assert_true(bench_error(&b, BENCH_VALUE, 0, *x, data, "%s.lora_rite.%s.step%d.%c", name,
                                    origin, t, *x) < (is_double ? 1e-10 : 2e-6));
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
    for (size_t i = 0; i < json_array_size(cases); i++) {
        follow(&data, json_array_get(cases, i), "official");
        follow(&data, json_array_get(cases, i), "formula");
    }
    assert_int_equal(json_array_size(cases), 4);
    reference_close(&data);
}

enum { R = 3, IN = 9, OUT = 7 };

static void open_small(bench *b)
{
    const bench_module module = {R, IN, OUT, 1};
    const bench_options options = {.yaml = "{method: lorarite}",
                                   .comm = MPI_COMM_SELF,
                                   .steps = 9,
                                   .modules = &module,
                                   .count = 1};
    assert_ok(bench_open(b, &options));
    b->adamw.epsilon = 0;
    rf_test_fill(b->params.value, b->params.trained_items, 5);
}

/* x <- m^-1 x (A) or x m (B), or their likes for gradients, with m = [2 1 0; 0 .5 0; 0 .25 4]. */
static void change_basis(double *a, double *b)
{
    static const double m[R][R] = {{2, 1, 0}, {0, 0.5, 0}, {0, 0.25, 4}};
    static const double inverse[R][R] = {{0.5, -1, 0}, {0, 2, 0}, {0, -0.125, 0.25}};
    double row[R], column[R];
    for (int i = 0; a && i < IN; i++) {
        for (int k = 0; k < R; k++) {
            column[k] = 0;
            for (int l = 0; l < R; l++) column[k] += inverse[k][l] * a[l * IN + i];
        }
        for (int k = 0; k < R; k++) a[k * IN + i] = column[k];
    }
    for (int i = 0; b && i < OUT; i++) {
        for (int k = 0; k < R; k++) {
            row[k] = 0;
            for (int l = 0; l < R; l++) row[k] += b[i * R + l] * m[l][k];
        }
        for (int k = 0; k < R; k++) b[i * R + k] = row[k];
    }
}

/* dA = B^T G, dB = G A^T of a fixed G that differs from step to step. */
static void set_gradient(bench *b, int step)
{
    double *a = bench_get(b, BENCH_VALUE, 0, 'A'), *bb = bench_get(b, BENCH_VALUE, 0, 'B');
    double da[R * IN] = {0}, db[OUT * R] = {0};
    for (int o = 0; o < OUT; o++)
        for (int i = 0; i < IN; i++) {
            const double g = 0.1 * rf_test_value(31 + (uint64_t)step, (uint64_t)(o * IN + i));
            for (int k = 0; k < R; k++) {
                da[k * IN + i] += bb[o * R + k] * g;
                db[o * R + k] += g * a[k * IN + i];
            }
        }
    bench_set(b, BENCH_GRADIENT, 0, 'A', da);
    bench_set(b, BENCH_GRADIENT, 0, 'B', db);
    free(a);
    free(bb);
}

static void product(const bench *b, double *w)
{
    double *a = bench_get(b, BENCH_VALUE, 0, 'A'), *bb = bench_get(b, BENCH_VALUE, 0, 'B');
    for (int o = 0; o < OUT; o++)
        for (int i = 0; i < IN; i++) {
            w[o * IN + i] = 0;
            for (int k = 0; k < R; k++) w[o * IN + i] += bb[o * R + k] * a[k * IN + i];
        }
    free(a);
    free(bb);
}

/* Theorem 1 of the paper: updates of B A are the same for every split of it. */
static void updates__of_any_split__change_the_product_alike(void **state)
{
    (void)state;
    bench b[2];
    for (int i = 0; i < 2; i++) open_small(&b[i]);
    double *a = bench_get(&b[1], BENCH_VALUE, 0, 'A'), *bb = bench_get(&b[1], BENCH_VALUE, 0, 'B');
    double w[2][OUT * IN], before[OUT * IN];
    product(&b[0], before);
    change_basis(a, bb);
    bench_set(&b[1], BENCH_VALUE, 0, 'A', a);
    bench_set(&b[1], BENCH_VALUE, 0, 'B', bb);
    for (int step = 1; step <= 5; step++) {
        for (int i = 0; i < 2; i++) {
            set_gradient(&b[i], step);
            bench_step(&b[i], 1, 0, 1e-2);
            product(&b[i], w[i]);
        }
        assert_true(relative_error(w[1], w[0], OUT * IN) < (is_double ? 1e-10 : 1e-4));
    }
    assert_true(relative_error(before, w[0], OUT * IN) > 1e-3);
    free(a);
    free(bb);
    for (int i = 0; i < 2; i++) bench_close(&b[i]);
}

/* With B = 0 nothing moves A, and B moves in finite steps. */
static void first_step__with_b_zero__leaves_a(void **state)
{
    (void)state;
    bench b;
    open_small(&b);
    const double zero[OUT * R] = {0};
    bench_set(&b, BENCH_VALUE, 0, 'B', zero);
    double *before = bench_get(&b, BENCH_VALUE, 0, 'A');
    for (int step = 1; step <= 2; step++) {
        set_gradient(&b, step);
        bench_step(&b, 1, 0, 1e-2);
        double *a = bench_get(&b, BENCH_VALUE, 0, 'A'), *bb = bench_get(&b, BENCH_VALUE, 0, 'B');
        for (int i = 0; i < OUT * R; i++) assert_true(isfinite(bb[i]) && fabs(bb[i]) > 0);
        if (step == 1) assert_memory_equal(a, before, R * IN * sizeof *a);
        free(a);
        free(bb);
    }
    free(before);
    bench_close(&b);
}

static const struct CMUnitTest lorarite[] = {
    cmocka_unit_test(steps__of_stored_cases__are_the_released_ones),
    cmocka_unit_test(updates__of_any_split__change_the_product_alike),
    cmocka_unit_test(first_step__with_b_zero__leaves_a),
};
RF_TEST_MAIN(lorarite)
