#include "refract/linalg/bf16.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "linear_fixture.h"
#include "refract/linalg/convert.h"
#include "rf_test.h"

enum { ROWS = 96, COLS = 704, M = 45 }; /* of the weight; of x: no multiple of RF_BF16_ROWS */

static rf_real *take(int64_t n)
{
    rf_real *x = calloc((size_t)n, sizeof *x);
    assert_non_null(x);
    return x;
}

static rf_real *random_reals(int64_t n, unsigned seed)
{
    rf_real *x = take(n);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (rf_real)((double)(seed >> 8) / (1 << 24) - 0.5);
    }
    return x;
}

/* Reals that are bf16, by way of the type that a weight is held in. */
static void round_through(rf_real *out, rf_dtype held, const void *data, int64_t n)
{
    uint16_t *narrow = calloc((size_t)n, sizeof *narrow);
    assert_non_null(narrow);
    rf_convert(narrow, RF_BF16, data, held, n);
    rf_convert(out, RF_DTYPE_REAL, narrow, RF_BF16, n);
    free(narrow);
}

typedef struct operands {
    rf_weight weight;
    void *data;
    rf_real *w; /* the weight as bf16 has it */
    rf_real *x; /* [M, COLS], as bf16 has it */
    uint16_t *rounded;
    rf_real *y, *wanted, *scratch; /* y, wanted [M, COLS] */
    rf_bf16 *bf16;
} operands;

static void make(operands *o, rf_dtype held)
{
    rf_real *plain = random_reals(ROWS * COLS, 1);
    *o = (operands){.data = calloc(ROWS * COLS, sizeof(double)), .w = take(ROWS * COLS)};
    assert_non_null(o->data);
    rf_convert(o->data, held, plain, RF_DTYPE_REAL, ROWS * COLS);
    round_through(o->w, held, o->data, ROWS * COLS);
    o->weight = (rf_weight){.dtype = held, .data = o->data, .rows = ROWS, .cols = COLS};
    o->x = random_reals(M * COLS, 2);
    o->rounded = calloc((M + RF_BF16_ROWS) * COLS, sizeof *o->rounded);
    assert_non_null(o->rounded);
    rf_bf16_take(o->rounded, o->x, M * COLS);
    round_through(o->x, RF_DTYPE_REAL, o->x, M * COLS);
    memset(o->rounded + M * COLS, 0xFF, RF_BF16_ROWS * COLS * sizeof *o->rounded); /* NaNs */
    o->y = random_reals(M * COLS, 3);
    o->wanted = random_reals(M * COLS, 3);
    o->scratch = take(rf_bf16_scratch(&o->weight, M, 100));
    assert_ok(rf_bf16_create(&o->bf16, 1));
    free(plain);
}

static void release(operands *o)
{
    rf_bf16_destroy(&o->bf16);
    free(o->data);
    free(o->w);
    free(o->x);
    free(o->rounded);
    free(o->y);
    free(o->wanted);
    free(o->scratch);
}

/* Sums of up to 704 terms of size 1/4 in f32. */
static void compare(const operands *o)
{
    for (int64_t i = 0; i < M * COLS; i++)
        assert_near((double)o->y[i], (double)o->wanted[i], 1e-5, 1e-5);
}

static const rf_dtype held[] = {RF_DTYPE_REAL, RF_BF16, RF_Q8_0, RF_Q4_1};
enum { HELD = sizeof held / sizeof *held };

/* A tile of rows that is neither first nor last, stored with a stride or added. */
static void product_with_rows__of_any_type__is_that_of_the_rounded_operands(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * HELD; i++) {
        operands o;
        const int adds = i % 2;
        make(&o, held[i / 2]);
        rf_bf16_nt(o.bf16, o.y + 2, COLS, o.rounded, M, &o.weight, 7, 33, adds, o.scratch);
        rf_gemm_naive(RF_N, RF_T, M, 33, COLS, 1, o.x, COLS, o.w + 7 * COLS, COLS, (rf_real)adds,
                      o.wanted + 2, COLS);
        compare(&o);
        release(&o);
    }
}

static void product_with_columns__of_any_type__is_that_of_the_rounded_operands(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * HELD; i++) {
        operands o;
        const int adds = i % 2;
        make(&o, held[i / 2]);
        rf_bf16_nn(o.bf16, o.y + 2, COLS, o.rounded, M, &o.weight, 40, 100, adds, o.scratch);
        rf_gemm_naive(RF_N, RF_N, M, 100, ROWS, 1, o.x, ROWS, o.w + 40, COLS, (rf_real)adds,
                      o.wanted + 2, COLS);
        compare(&o);
        release(&o);
    }
}

/* What is kept of |x| by the size of the differences. */
static double distance(const rf_real *x, const rf_real *y, int64_t n)
{
    double apart = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        apart += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        size += (double)y[i] * (double)y[i];
    }
    return sqrt(apart / size);
}

/* Rounding to 8 bits is off by up to 2^-9 of each operand: the results by about 2^-9. */
static void check_layer(rf_split split)
{
    linear_fixture *plain = malloc(sizeof *plain), *bf16 = malloc(sizeof *bf16);
    assert_true(plain && bf16);
    linear_fixture_create(plain, MPI_COMM_SELF, 1, split, RF_DTYPE_REAL, 0, &rf_adapter_lora);
    linear_fixture_create(bf16, MPI_COMM_SELF, 1, split, RF_DTYPE_REAL, 0, &rf_adapter_lora);
    linear_fixture_use_bf16(bf16);
    linear_fixture_forward(plain);
    linear_fixture_forward(bf16);
    linear_fixture_backward(plain);
    linear_fixture_backward(bf16);
    for (int i = 0; i < plain->count; i++) {
        const double off =
            distance(bf16->y[i], plain->y[i], FIXTURE_TOKENS * linear_fixture_out(plain, i));
        assert_true(off > 1e-5 && off < 4e-3);
    }
    const double off = distance(bf16->dx, plain->dx, FIXTURE_TOKENS * linear_fixture_in(plain));
    assert_true(off > 1e-5 && off < 4e-3);
    linear_fixture_destroy(plain);
    linear_fixture_destroy(bf16);
    free(plain);
    free(bf16);
}

static void layer_in_bf16__is_as_near_as_the_rounding(void **state)
{
    (void)state;
    check_layer(RF_ROWS);
    check_layer(RF_COLS);
}

static const struct CMUnitTest bf16[] = {
    cmocka_unit_test(product_with_rows__of_any_type__is_that_of_the_rounded_operands),
    cmocka_unit_test(product_with_columns__of_any_type__is_that_of_the_rounded_operands),
    cmocka_unit_test(layer_in_bf16__is_as_near_as_the_rounding),
};
RF_TEST_MAIN(bf16)
