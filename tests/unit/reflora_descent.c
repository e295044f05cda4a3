/* RefLoRA as gradient descent on the product B A: its identities, and a toy problem whose losses it
 * writes as a table (RF_SERIES) that can be drawn. */
#include "rf_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "method_bench.h"
#include "refract/linalg/dense.h"

static const int is_double = sizeof(rf_real) == sizeof(double);
enum { R = 4, COLS = 40, ROWS = 30, A_ITEMS = R * COLS, B_ITEMS = ROWS * R, STEPS = 100 };

static void multiply(double *c, rf_trans ta, rf_trans tb, int64_t m, int64_t n, int64_t k,
                     const double *a, const double *b)
{
    rf_dense_gemm(ta, tb, m, n, k, 1, a, ta == RF_T ? m : k, b, tb == RF_T ? k : n, 0, c, n);
}

/* Gradients of a loss whose gradient in the product is g [ROWS, COLS]. */
static void factor_gradients(double *da, double *db, const double *a, const double *b,
                             const double *g)
{
    multiply(da, RF_T, RF_N, R, COLS, ROWS, b, g);
    multiply(db, RF_N, RF_T, ROWS, R, COLS, g, a);
}

static void open_bench(bench *b)
{
    static const bench_module module = {R, COLS, ROWS, 1};
    const bench_options options = {.yaml = "{method: reflora, lora: {init: random}}",
                                   .comm = MPI_COMM_SELF,
                                   .modules = &module,
                                   .count = 1};
    assert_ok(bench_open(b, &options));
}

/* da, db <- what the method makes of them at a, b. */
static void refactor(bench *at, int64_t number, const double *a, const double *b, double *da,
                     double *db)
{
    bench_set(at, BENCH_VALUE, 0, 'A', a);
    bench_set(at, BENCH_VALUE, 0, 'B', b);
    bench_set(at, BENCH_GRADIENT, 0, 'A', da);
    bench_set(at, BENCH_GRADIENT, 0, 'B', db);
    const rf_method_step step = {.number = number, .scale = 1, .rate = 0};
    at->methods.hooks[0]->before_update(at->methods.self[0], &step, at->gradient);
    double *got_a = bench_get(at, BENCH_GRADIENT, 0, 'A');
    double *got_b = bench_get(at, BENCH_GRADIENT, 0, 'B');
    memcpy(da, got_a, A_ITEMS * sizeof *da);
    memcpy(db, got_b, B_ITEMS * sizeof *db);
    free(got_a);
    free(got_b);
}

static double dot(const double *x, const double *y, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

static void draw(double *x, uint64_t seed, int64_t n)
{
    for (int64_t i = 0; i < n; i++) x[i] = (double)(float)rf_test_value(seed, (uint64_t)i);
}

/* The step in the product, dB A + B dA, goes down: its product with G is minus the sum of what the
 * factors' own gradients give. */
static void step__in_first_order__goes_down(void **state)
{
    (void)state;
    static double a[A_ITEMS], b[B_ITEMS], g[ROWS * COLS], w[ROWS * COLS], v[ROWS * COLS];
    double da[A_ITEMS], db[B_ITEMS], own_a[A_ITEMS], own_b[B_ITEMS];
    bench own;
    open_bench(&own);
    for (uint64_t seed = 1; seed < 6; seed++) {
        draw(a, seed, A_ITEMS);
        draw(b, 10 + seed, B_ITEMS);
        draw(g, 20 + seed, ROWS * COLS);
        factor_gradients(own_a, own_b, a, b, g);
        memcpy(da, own_a, sizeof da);
        memcpy(db, own_b, sizeof db);
        refactor(&own, (int64_t)seed, a, b, da, db);
        multiply(w, RF_N, RF_N, ROWS, COLS, R, db, a);
        multiply(v, RF_N, RF_N, ROWS, COLS, R, b, da);
        const double down = dot(g, w, ROWS * COLS) + dot(g, v, ROWS * COLS);
        assert_true(down > 0);
        assert_near(down, dot(own_a, da, A_ITEMS) + dot(own_b, db, B_ITEMS),
                    is_double ? 1e-12 : 1e-5, 0);
    }
    bench_close(&own);
}

/* w <- (B - rate dB)(A - rate dA) after one refactored step of descent from a, b. */
static void product_after(bench *at, double *w, const double *a, const double *b, const double *g)
{
    double da[A_ITEMS], db[B_ITEMS], to_a[A_ITEMS], to_b[B_ITEMS];
    factor_gradients(da, db, a, b, g);
    refactor(at, 1, a, b, da, db);
    for (int i = 0; i < A_ITEMS; i++) to_a[i] = a[i] - 0.05 * da[i];
    for (int i = 0; i < B_ITEMS; i++) to_b[i] = b[i] - 0.05 * db[i];
    multiply(w, RF_N, RF_N, ROWS, COLS, R, to_b, to_a);
}

static void descent__of_any_split__changes_the_product_alike(void **state)
{
    (void)state;
    static double a[A_ITEMS], b[B_ITEMS], g[ROWS * COLS], w[ROWS * COLS], other[ROWS * COLS];
    const double q[R * R] = {2, 1, 0, 0, 0, 1, 0.5, 0, 0.25, 0, 1, 0, 0, 0, 1, 4};
    double inverse[R * R], qtq[R * R], qa[A_ITEMS], bq[B_ITEMS];
    bench own;
    open_bench(&own);
    draw(a, 1, A_ITEMS);
    draw(b, 2, B_ITEMS);
    draw(g, 3, ROWS * COLS);
    multiply(qtq, RF_T, RF_N, R, R, R, q, q); /* q^-1 = (q^T q)^-1 q^T */
    assert_int_equal(rf_dense_inverse(qtq, R), 0);
    multiply(inverse, RF_N, RF_T, R, R, R, qtq, q);
    multiply(qa, RF_N, RF_N, R, COLS, R, q, a);
    multiply(bq, RF_N, RF_N, ROWS, R, R, b, inverse);
    product_after(&own, w, a, b, g);
    product_after(&own, other, qa, bq, g);
    assert_true(relative_error(other, w, ROWS * COLS) < (is_double ? 1e-12 : 2e-4));
    bench_close(&own);
}

typedef enum toy_method { TOY_GD, TOY_SCALED, TOY_REFLORA, TOY_METHODS } toy_method;
static const char *const toy_names[TOY_METHODS] = {"gd", "scaledgd", "reflora"};
static const double toy_rates[2] = {0.01, 0.03};

/* Scaled descent (Tong et al. 2021): each gradient by the inverse Gram matrix of the other factor.
 */
static void scale_gradients(const double *a, const double *b, double *da, double *db)
{
    double x[R * R], y[R * R], to_a[A_ITEMS], to_b[B_ITEMS];
    multiply(x, RF_N, RF_T, R, R, COLS, a, a);
    multiply(y, RF_T, RF_N, R, R, ROWS, b, b);
    assert_true(rf_dense_inverse(x, R) == 0 && rf_dense_inverse(y, R) == 0);
    multiply(to_a, RF_N, RF_N, R, COLS, R, y, da);
    multiply(to_b, RF_N, RF_N, ROWS, R, R, db, x);
    memcpy(da, to_a, sizeof to_a);
    memcpy(db, to_b, sizeof to_b);
}

/* loss [STEPS + 1] of half the squared distance of B A to m. */
static void descend(double *loss, toy_method method, double rate, const double *m, const double *a0,
                    const double *b0)
{
    static double a[A_ITEMS], b[B_ITEMS], g[ROWS * COLS], da[A_ITEMS], db[B_ITEMS];
    bench own;
    open_bench(&own);
    memcpy(a, a0, sizeof a);
    memcpy(b, b0, sizeof b);
    for (int k = 0; k <= STEPS; k++) {
        multiply(g, RF_N, RF_N, ROWS, COLS, R, b, a);
        for (int i = 0; i < ROWS * COLS; i++) g[i] -= m[i];
        loss[k] = 0.5 * dot(g, g, ROWS * COLS);
        if (!isfinite(loss[k])) loss[k] = INFINITY;
        if (!isfinite(loss[k])) continue; /* it has gone off, and stays there */
        factor_gradients(da, db, a, b, g);
        if (method == TOY_SCALED) scale_gradients(a, b, da, db);
        if (method == TOY_REFLORA) refactor(&own, k + 1, a, b, da, db);
        for (int i = 0; i < A_ITEMS; i++) a[i] -= rate * da[i];
        for (int i = 0; i < B_ITEMS; i++) b[i] -= rate * db[i];
    }
    bench_close(&own);
}

static int is_monotone(const double *loss)
{
    for (int k = 1; k <= STEPS; k++)
        if (!(loss[k] < loss[k - 1] || loss[k] < 1e-9)) return 0; /* m's distance from rank 4 */
    return 1;
}

static int first_below(const double *loss, double limit)
{
    for (int k = 0; k <= STEPS; k++)
        if (loss[k] < limit) return k;
    return -1;
}

/* One row an iteration, one column a method and rate. */
static void write_series(double (*loss)[2][STEPS + 1])
{
    const char *path = getenv("RF_SERIES");
    if (!path || !is_double) return;
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "iteration");
    for (int i = 0; i < 2 * TOY_METHODS; i++)
        fprintf(file, ",%s %g", toy_names[i / 2], toy_rates[i % 2]);
    for (int k = 0; k <= STEPS; k++) {
        fprintf(file, "\n%d", k);
        for (int i = 0; i < 2 * TOY_METHODS; i++) fprintf(file, ",%.17g", loss[i / 2][i % 2][k]);
    }
    fprintf(file, "\n");
    assert_int_equal(fclose(file), 0);
}

static void toy_factorisation__converges_where_descent_diverges(void **state)
{
    (void)state;
    skip_without("reference/methods/reflora_matrix_factorisation.safetensors");
    static double loss[TOY_METHODS][2][STEPS + 1];
    reference data = reference_open("reflora_matrix_factorisation");
    double *m = reference_load(&data, NULL, "M");
    double *a0 = reference_load(&data, NULL, "A0"), *b0 = reference_load(&data, NULL, "B0");
    for (int method = 0; method < TOY_METHODS; method++)
        for (int eta = 0; eta < 2; eta++) {
            double *now = loss[method][eta];
            double *stored = reference_load(&data, NULL, "%s.eta%d.loss", toy_names[method], eta);
            descend(now, (toy_method)method, toy_rates[eta], m, a0, b0);
            for (int k = 0; k < 20 && (is_double || method != TOY_REFLORA); k++)
                if (isfinite(stored[k])) assert_near(now[k], stored[k], 1e-8, 0);
            free(stored);
        }
    for (int eta = 0; eta < 2; eta++) {
        const int below = first_below(loss[TOY_REFLORA][eta], 1e-3), wanted = eta == 0 ? 43 : 22;
        assert_true(is_double ? below == wanted : abs(below - wanted) <= 1);
        assert_true(is_monotone(loss[TOY_REFLORA][eta]));
        assert_true(is_monotone(loss[TOY_SCALED][eta]) && loss[TOY_SCALED][eta][STEPS] > 1);
    }
    assert_true(is_monotone(loss[TOY_GD][0]) && loss[TOY_GD][0][STEPS] > 1);
    assert_true(isinf(loss[TOY_GD][1][STEPS]));
    write_series(loss);
    free(m);
    free(a0);
    free(b0);
    reference_close(&data);
}

static const struct CMUnitTest descent[] = {
    cmocka_unit_test(step__in_first_order__goes_down),
    cmocka_unit_test(descent__of_any_split__changes_the_product_alike),
    cmocka_unit_test(toy_factorisation__converges_where_descent_diverges),
};
RF_TEST_MAIN(descent)
