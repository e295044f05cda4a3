/* RefLoRA's mathematics and hooks against the reference data and its own identities. */
#include "rf_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "method_bench.h"
#include "refract/method/reflora.h"

static const int is_double = sizeof(rf_real) == sizeof(double);
enum { R = 16, RR = R * R };

/* x = a a^T, or a^T a: a [rows, cols]. */
static void gram(double *x, const double *a, int64_t rows, int64_t cols, int transposed)
{
    const int64_t r = transposed ? cols : rows, n = transposed ? rows : cols;
    for (int64_t i = 0; i < r; i++)
        for (int64_t j = 0; j < r; j++) {
            double sum = 0;
            for (int64_t k = 0; k < n; k++)
                sum += transposed ? a[k * cols + i] * a[k * cols + j]
                                  : a[i * cols + k] * a[j * cols + k];
            x[i * r + j] = sum;
        }
}

static double frobenius(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sqrt(sum);
}

/* |got - wanted| / |wanted| over all entries. */
static double off(const double *got, const double *wanted, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (got[i] - wanted[i]) * (got[i] - wanted[i]);
    return sqrt(sum) / frobenius(wanted, n);
}

static void multiply(double *c, const double *a, const double *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t k = 0; k < n; k++) sum += a[i * n + k] * b[k * n + j];
            c[i * n + j] = sum;
        }
}

/* One case of reflora_precond: its Gram matrices. */
typedef struct precond {
    const char *name;
    const json_t *json;
    int64_t r;
    double x[RR], y[RR], kappa;
} precond;

static precond load_case(const reference *data, const json_t *json)
{
    precond c = {.name = json_string_value(json_object_get(json, "name")), .json = json};
    c.r = (int64_t)json_at(json, "r");
    double *a = reference_load(data, NULL, "%s.A", c.name);
    double *b = reference_load(data, NULL, "%s.B", c.name);
    gram(c.x, a, c.r, (int64_t)json_at(json, "n_in"), 0);
    gram(c.y, b, (int64_t)json_at(json, "n_out"), c.r, 1);
    c.kappa = fmax(json_at(json, "condX"), json_at(json, "condY"));
    free(a);
    free(b);
    return c;
}

static void expect(const reference *data, const precond *c, const char *what, const char *array,
                   const double *got, double limit)
{
    double *wanted = reference_load(data, NULL, "%s.%s.%s", c->name, what, array);
    const double error = off(got, wanted, c->r * c->r);
    if (!(error <= limit))
        print_error("%s.%s.%s is off by %g, limit %g\n", c->name, what, array, error, limit);
    assert_true(error <= limit);
    free(wanted);
}

static void identities_hold(const precond *c, const double *s, const double *s_inverse,
                            double limit)
{
    double t[RR] = {0}, u[RR] = {0};
    multiply(t, s, c->x, c->r);
    multiply(u, t, s, c->r);
    assert_true(off(u, c->y, c->r * c->r) <= limit); /* S X S = Y */
    multiply(t, s, s_inverse, c->r);
    double objective = 0;
    for (int64_t i = 0; i < c->r; i++)
        for (int64_t j = 0; j < c->r; j++) {
            assert_near(t[i * c->r + j], i == j, 0, limit * c->kappa);
            objective +=
                s[i * c->r + j] * c->x[j * c->r + i] + s_inverse[i * c->r + j] * c->y[j * c->r + i];
        }
    assert_near(objective, 2 * json_at(json_object_get(c->json, "exact"), "nuclear_norm_BA"), limit,
                0);
}

static void solve__every_stored_case__is_the_geometric_mean(void **state)
{
    (void)state;
    skip_without("reference/methods/reflora_precond.safetensors");
    reference data = reference_open("reflora_precond");
    const json_t *cases = json_object_get(data.json, "cases");
    double s[RR], s_inverse[RR], work[4 * RR * 4 + 100 * R];
    int checked = 0;
    assert_true(rf_reflora_work(R) <= (int64_t)(sizeof work / sizeof work[0]));
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const precond c = load_case(&data, json_array_get(cases, i));
        if (!reference_has(&data, "%s.exact.S", c.name)) continue;
        const double limit = 1e-14 + 1e-16 * c.kappa;
        const double found =
            fmax(rf_reflora_condition(c.x, c.r, work), rf_reflora_condition(c.y, c.r, work));
        assert_near(found, c.kappa, 1e-12 + 1e-15 * c.kappa, 0);
        assert_int_equal(rf_reflora_cholesky(s, s_inverse, c.x, c.y, c.r, work), 0);
        expect(&data, &c, "exact", "S", s, limit);
        expect(&data, &c, "exact", "Sinv", s_inverse, limit);
        identities_hold(&c, s, s_inverse, 10 * limit);
        const json_t *released = json_object_get(c.json, "rel64");
        assert_int_equal(rf_reflora_released(s, s_inverse, c.x, c.y, c.r, 0x1p-52, work), 0);
        /* from Gram matrices, which the released code does not form of B: the same 1e-16 kappa */
        expect(&data, &c, "rel64", "S", s, 10 * json_at(released, "err_S") + limit);
        expect(&data, &c, "rel64", "Sinv", s_inverse, 10 * json_at(released, "err_Sinv") + limit);
        checked++;
    }
    assert_int_equal(checked, 15);
    reference_close(&data);
}

/* One refactoring of a single module by the hooks; the gradient after it in the bench. */
static void precondition(bench *b, const reference *data, const precond *c, const char *keys)
{
    const bench_module module = {c->r, (int64_t)json_at(c->json, "n_in"),
                                 (int64_t)json_at(c->json, "n_out"), json_at(c->json, "s")};
    const bench_options options = {
        .yaml = keys, .comm = MPI_COMM_SELF, .steps = 10, .modules = &module, .count = 1};
    const rf_method_step step = {.number = 2, .scale = 1, .rate = 0};
    assert_ok(bench_open(b, &options));
    bench_load(b, BENCH_VALUE, 0, 'A', data, "%s.A", c->name);
    bench_load(b, BENCH_VALUE, 0, 'B', data, "%s.B", c->name);
    bench_load(b, BENCH_GRADIENT, 0, 'A', data, "%s.G_A", c->name);
    bench_load(b, BENCH_GRADIENT, 0, 'B', data, "%s.G_B", c->name);
    rf_methods_update(&b->methods, &step, b->gradient);
}

static void hooks__every_stored_case__refactor_gradients_or_fall_back(void **state)
{
    (void)state;
    skip_without("reference/methods/reflora_precond.safetensors");
    reference data = reference_open("reflora_precond");
    const json_t *cases = json_object_get(data.json, "cases");
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const precond c = load_case(&data, json_array_get(cases, i));
        const int singular = json_at(c.json, "singular_by_our_rule") != 0;
        const char *what = singular ? "fallback" : "exact";
        const double limit = (is_double ? 1e-13 : 3e-7) + (singular ? 0 : 1e-15 * c.kappa);
        bench b;
        precondition(&b, &data, &c, "{method: reflora, reflora: {warmup: 1}}");
        assert_true(bench_error(&b, BENCH_GRADIENT, 0, 'A', &data, "%s.%s.G_A", c.name, what) <
                    limit);
        assert_true(bench_error(&b, BENCH_GRADIENT, 0, 'B', &data, "%s.%s.G_B", c.name, what) <
                    limit);
        bench_close(&b);
        if (!singular) continue;
        precondition(&b, &data, &c, "{method: reflora, reflora: {warmup: 1, singular: skip}}");
        assert_true(bench_error(&b, BENCH_GRADIENT, 0, 'A', &data, "%s.G_A", c.name) == 0);
        bench_close(&b);
    }
    reference_close(&data);
}

/* |A| = |B| makes S the identity where X = Y, and the scalar where both are multiples of it. */
static void special_cases__have_their_closed_forms(void **state)
{
    (void)state;
    const rf_reflora_options options = {.max_condition = 1e8};
    const double x[4] = {3, 1, 1, 2}, a[4] = {5, 0, 0, 5}, b[4] = {20, 0, 0, 20}, one = 4, nine = 9;
    double s[4], inverse[4], swapped[4], swapped_inverse[4], work[300];
    rf_reflora_refactor(s, inverse, x, x, 2, &options, work);
    for (int i = 0; i < 4; i++) assert_near(s[i], i % 3 == 0, 0, 1e-14);
    rf_reflora_refactor(s, inverse, a, b, 2, &options, work);
    for (int i = 0; i < 4; i++) assert_near(s[i], 2 * (i % 3 == 0), 0, 1e-14);
    rf_reflora_refactor(s, inverse, &one, &nine, 1, &options, work); /* r = 1: |B| / |A| */
    assert_near(s[0], 1.5, 1e-15, 0);
    rf_reflora_refactor(s, inverse, x, b, 2, &options, work); /* swapping A and B inverts S */
    rf_reflora_refactor(swapped, swapped_inverse, b, x, 2, &options, work);
    for (int i = 0; i < 4; i++) assert_near(swapped[i], inverse[i], 1e-13, 1e-14);
    double scaled[4]; /* A -> 3 A: S -> S / 3 */
    for (int i = 0; i < 4; i++) scaled[i] = 9 * x[i];
    rf_reflora_refactor(swapped, swapped_inverse, scaled, b, 2, &options, work);
    for (int i = 0; i < 4; i++) assert_near(swapped[i], s[i] / 3, 1e-13, 1e-14);
}

static void zero_factor__leaves_the_gradient_as_it_is(void **state)
{
    (void)state;
    const rf_reflora_options options = {.max_condition = 1e8};
    const double x[4] = {3, 1, 1, 2}, zero[4] = {0};
    double s[4], inverse[4], work[300];
    const rf_refactoring done = rf_reflora_refactor(s, inverse, x, zero, 2, &options, work);
    assert_true(done.is_singular && !done.is_applied && isinf(done.condition));
    for (int i = 0; i < 4; i++) assert_true(s[i] == (i % 3 == 0) && inverse[i] == (i % 3 == 0));
}

/* The hook once on a stored state; `limit` for the twin of this build. */
static void rescale_stored(const reference *data, const json_t *json)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    const char *what = is_double ? "rel64" : "rel32";
    const double limit = is_double ? 1e-14 : 1e-6;
    const bench_module module = {(int64_t)json_at(json, "r"), (int64_t)json_at(json, "n_in"),
                                 (int64_t)json_at(json, "n_out"), 1};
    const bench_options options = {.yaml = "{method: reflora-s, reflora: {warmup: 1}}",
                                   .comm = MPI_COMM_SELF,
                                   .steps = 10,
                                   .modules = &module,
                                   .count = 1};
    static const struct {
        bench_array array;
        const char *key;
    } arrays[] = {{BENCH_VALUE, ""}, {BENCH_M, "m_"}, {BENCH_V, "v_"}};
    const rf_method_step step = {.number = 1};
    bench b;
    assert_ok(bench_open(&b, &options));
    for (int i = 0; i < 3; i++)
        for (const char *t = "AB"; *t; t++)
            bench_load(&b, arrays[i].array, 0, *t, data, "%s.%s%c", name, arrays[i].key, *t);
    b.methods.hooks[0]->after_update(b.methods.self[0], &step);
    for (int i = 0; i < 3; i++)
        for (const char *t = "AB"; *t; t++)
            if (json_at(json, "finite") != 0)
                assert_true(bench_error(&b, arrays[i].array, 0, *t, data, "%s.%s.%s%c", name, what,
                                        arrays[i].key, *t) < limit);
            else /* B = 0: everything stays as it is */
                assert_true(bench_error(&b, arrays[i].array, 0, *t, data, "%s.%s%c", name,
                                        arrays[i].key, *t) == 0);
    /* two hooks in a row are one */
    double *once = bench_get(&b, BENCH_VALUE, 0, 'A');
    b.methods.hooks[0]->after_update(b.methods.self[0], &step);
    double *twice = bench_get(&b, BENCH_VALUE, 0, 'A');
    assert_true(relative_error(twice, once, module.r * module.d_in) < limit);
    free(once);
    free(twice);
    bench_close(&b);
}

static void rescaling__of_stored_states__balances_norms_and_moments(void **state)
{
    (void)state;
    skip_without("reference/methods/reflora_s.safetensors");
    reference data = reference_open("reflora_s");
    const json_t *cases = json_object_get(data.json, "cases");
    for (size_t i = 0; i < json_array_size(cases); i++)
        rescale_stored(&data, json_array_get(cases, i));
    assert_int_equal(json_array_size(cases), 5);
    reference_close(&data);
}

/* A run of reflora_trajectory: losses and final state. */
static void run(const reference *data, const char *name, const char *yaml, double limit)
{
    const bench_module modules[] = {{4, 12, 10, 2}, {4, 10, 8, 2}};
    const bench_options options = {
        .yaml = yaml, .comm = MPI_COMM_SELF, .steps = 12, .modules = modules, .count = 2};
    toy net = {.layers = 2, .rows = 20, .dim = {12, 10, 8}, .temperature = 1};
    double *w1 = reference_load(data, NULL, "data.W1"), *w2 = reference_load(data, NULL, "data.W2");
    double *x = reference_load(data, NULL, "data.x"), *y = reference_load(data, NULL, "data.y");
    double *loss = reference_load(data, NULL, "%s.loss", name), norm;
    bench b;
    net.w[0] = w1;
    net.w[1] = w2;
    net.x = x;
    net.y = y;
    assert_ok(bench_open(&b, &options));
    for (int m = 0; m < 2; m++) {
        bench_load(&b, BENCH_VALUE, m, 'A', data, "init.fc%d.A", m + 1);
        bench_load(&b, BENCH_VALUE, m, 'B', data, "init.fc%d.B", m + 1);
    }
    rf_methods_start(&b.methods);
    for (int t = 0; t < 12; t++) {
        assert_near(toy_gradient(&net, &b, &norm), loss[t], limit, 0);
        bench_step(&b, norm, 1, 1e-2);
    }
    for (int m = 0; m < 2; m++)
        for (const char *tensor = "AB"; *tensor; tensor++) {
            assert_true(bench_error(&b, BENCH_VALUE, m, *tensor, data, "%s.final.fc%d.%c", name,
                                    m + 1, *tensor) < limit);
            assert_true(bench_error(&b, BENCH_M, m, *tensor, data, "%s.final.m.fc%d.%c", name,
                                    m + 1, *tensor) < limit);
            assert_true(bench_error(&b, BENCH_V, m, *tensor, data, "%s.final.v.fc%d.%c", name,
                                    m + 1, *tensor) < limit);
        }
    bench_close(&b);
    free(w1);
    free(w2);
    free(x);
    free(y);
    free(loss);
}

static void trajectory__of_stored_runs__is_followed(void **state)
{
    (void)state;
    skip_without("reference/methods/reflora_trajectory.safetensors");
    reference data = reference_open("reflora_trajectory");
    if (!is_double) {
        run(&data, "reflora_f32", "{method: reflora, reflora: {warmup: 3}}", 1e-3);
        reference_close(&data);
        return;
    }
    run(&data, "lora", "{method: lora}", 1e-10);
    run(&data, "reflora", "{method: reflora, reflora: {warmup: 3}}", 1e-10);
    run(&data, "reflora", "{method: reflora, reflora: {warmup: 3, solver: released}}", 1e-10);
    run(&data, "reflora_ours", "{method: reflora, reflora: {warmup: 3}}", 1e-10);
    run(&data, "reflora_k2", "{method: reflora, reflora: {warmup: 3, interval: 2}}", 1e-10);
    run(&data, "reflora_s", "{method: reflora-s, reflora: {warmup: 3}}", 1e-10);
    run(&data, "reflora_s_k2", "{method: reflora-s, reflora: {warmup: 3, interval: 2}}", 1e-10);
    run(&data, "reflora_ours_k2", "{method: reflora, reflora: {warmup: 3, interval: 2}}", 1e-10);
    reference_close(&data);
}

/* One refactoring of a gated module; gradients of B come without the gate. */
static void compose_stored(const reference *data, const json_t *json)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    const double limit = is_double ? 1e-10 : 1e-5;
    bench_module module = {(int64_t)json_at(json, "r"), 0, 0, json_at(json, "s")};
    int64_t items = 0;
    free(reference_load(data, &items, "%s.A", name));
    module.d_in = items / module.r;
    free(reference_load(data, &items, "%s.B", name));
    module.d_out = items / module.r;
    const bench_options options = {
        .yaml = "{method: beamlora+reflora, reflora: {warmup: 1}, beam: {temperature: 0.05}}",
        .comm = MPI_COMM_SELF,
        .steps = 10,
        .modules = &module,
        .count = 1,
        .gates = 1};
    const rf_method_step step = {.number = 2, .scale = 1};
    bench b;
    assert_ok(bench_open(&b, &options));
    for (const char *t = "ABg"; *t; t++)
        bench_load(&b, BENCH_VALUE, 0, *t, data, "%s.%c", name, *t);
    bench_load(&b, BENCH_GRADIENT, 0, 'A', data, "%s.plain.dA", name);
    bench_load(&b, BENCH_GRADIENT, 0, 'B', data, "%s.before_gate.dB", name);
    rf_methods_gradient(&b.methods, b.gradient);
    assert_true(bench_error(&b, BENCH_GRADIENT, 0, 'B', data, "%s.plain.dB", name) < limit);
    rf_methods_update(&b.methods, &step, b.gradient);
    assert_true(bench_error(&b, BENCH_GRADIENT, 0, 'A', data, "%s.used.dA", name) < limit);
    assert_true(bench_error(&b, BENCH_GRADIENT, 0, 'B', data, "%s.used.dB", name) < limit);
    bench_close(&b);
}

static void gated_modules__are_refactored_with_their_gates(void **state)
{
    (void)state;
    skip_without("reference/methods/reflora_beamlora_combined.safetensors");
    reference data = reference_open("reflora_beamlora_combined");
    const json_t *cases = json_object_get(data.json, "cases");
    for (size_t i = 0; i < json_array_size(cases); i++)
        compose_stored(&data, json_array_get(cases, i));
    assert_int_equal(json_array_size(cases), 3);
    reference_close(&data);
}

/* w steps of plain LoRA, then every k-th step is refactored. */
static void clock__first_refactored_step__follows_the_warm_up(void **state)
{
    (void)state;
    const bench_module module = {2, 6, 5, 1};
    const char *keys[] = {"{method: lora}", "{method: reflora, reflora: {warmup: 2, interval: 2}}"};
    bench b[2];
    for (int i = 0; i < 2; i++) {
        const bench_options options = {
            .yaml = keys[i], .comm = MPI_COMM_SELF, .steps = 8, .modules = &module, .count = 1};
        assert_ok(bench_open(&b[i], &options));
        rf_test_fill(b[i].params.value, b[i].params.trained_items, 1);
    }
    for (int t = 1; t <= 6; t++) {
        const rf_method_step step = {.number = t, .scale = 1, .rate = 0};
        for (int i = 0; i < 2; i++) {
            rf_test_fill(b[i].gradient, b[i].params.trained_items, 7);
            rf_methods_update(&b[i].methods, &step, b[i].gradient);
        }
        const size_t bytes = sizeof(rf_real) * (size_t)b[0].params.trained_items;
        const int same = memcmp(b[0].gradient, b[1].gradient, bytes) == 0;
        assert_int_equal(same, t != 3 && t != 5);
    }
    for (int i = 0; i < 2; i++) bench_close(&b[i]);
}

static rf_status open_with(const char *yaml)
{
    const bench_module module = {2, 6, 5, 1};
    const bench_options options = {
        .yaml = yaml, .comm = MPI_COMM_SELF, .steps = 30, .modules = &module, .count = 1};
    bench b;
    const rf_status status = bench_open(&b, &options);
    if (status == RF_OK) assert_int_equal(rf_config_int(b.config, "reflora.warmup"), 3);
    bench_close(&b);
    return status;
}

static void keys__without_warm_up_or_start_values__are_refused(void **state)
{
    (void)state;
    assert_ok(open_with("{method: reflora}"));
    assert_status(open_with("{method: reflora, reflora: {warmup: 0}}"), RF_USAGE);
    assert_message_has("'reflora.warmup' is 0, but B starts at zero");
    assert_message_has("a.yaml, line 1");
}

static const struct CMUnitTest reflora[] = {
    cmocka_unit_test(solve__every_stored_case__is_the_geometric_mean),
    cmocka_unit_test(hooks__every_stored_case__refactor_gradients_or_fall_back),
    cmocka_unit_test(special_cases__have_their_closed_forms),
    cmocka_unit_test(zero_factor__leaves_the_gradient_as_it_is),
    cmocka_unit_test(rescaling__of_stored_states__balances_norms_and_moments),
    cmocka_unit_test(trajectory__of_stored_runs__is_followed),
    cmocka_unit_test(gated_modules__are_refactored_with_their_gates),
    cmocka_unit_test(clock__first_refactored_step__follows_the_warm_up),
    cmocka_unit_test(keys__without_warm_up_or_start_values__are_refused),
};
RF_TEST_MAIN(reflora)
