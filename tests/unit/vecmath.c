#include "rf_test.h"

#include <math.h>
#include <string.h>

#include "refract/linalg/vecmath.h"

enum { MOST = 200 };

static double ulp(rf_real y)
{
    return fabs((double)nextafterf((float)y, INFINITY) - (double)(float)y);
}

static void exp__over_its_range__is_within_its_limit(void **state)
{
    (void)state;
    const int is_float = sizeof(rf_real) == sizeof(float);
    double worst = 0;
    for (int i = 0; i < 400000; i++) {
        const rf_real x =
            (rf_real)(-87.3 + 176.0 * i / 400000 + 1e-5 * rf_test_value(1, (uint64_t)i));
        const double wanted = (double)expl((long double)x), off = fabs((double)rf_exp(x) - wanted);
        worst = fmax(worst, is_float ? off / ulp((rf_real)wanted) : off / wanted);
    }
    print_message("exp: worst %.3g %s\n", worst, is_float ? "ulp" : "relative");
    assert_true(worst <= (is_float ? 1.1 : 1e-15));
}

static void exp__at_the_edges__gives_zero_infinity_and_nan(void **state)
{
    (void)state;
    const int is_float = sizeof(rf_real) == sizeof(float);
    const rf_real highest = (rf_real)(is_float ? 88.722830 : 709.78271289338397);
    const rf_real lowest = (rf_real)(is_float ? -87.336540 : -708.39641853226408);
    assert_near(rf_exp(highest), exp((double)highest), 1e-6, 0);
    assert_near(rf_exp(lowest), exp((double)lowest), 1e-6, 0);
    assert_true(rf_exp(0) == (rf_real)1);
    assert_true(isinf(rf_exp((rf_real)(1.001) * highest)) && isinf(rf_exp((rf_real)INFINITY)));
    assert_true(rf_exp((rf_real)(1.001) * lowest) == 0 && rf_exp(-(rf_real)INFINITY) == 0);
    assert_true(isnan(rf_exp((rf_real)NAN)));
}

static void silu_and_sigmoid__far_out__reach_their_limits(void **state)
{
    (void)state;
    assert_near(rf_silu(1), 1 / (1 + exp(-1.0)), 1e-6, 0);
    assert_near(rf_sigmoid((rf_real)-0.5), 1 / (1 + exp(0.5)), 1e-6, 0);
    assert_true(rf_silu(1000) == 1000 && rf_silu(-1000) == 0);
    assert_true(rf_sigmoid(1000) == 1 && rf_sigmoid(-1000) == 0);
}

static __attribute__((noinline)) void silu_array(rf_real *y, const rf_real *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = rf_silu(x[i]);
}

static __attribute__((noinline)) rf_real silu_one(rf_real x)
{
    return rf_silu(x);
}

static void silu__at_every_offset_and_length__has_the_same_bits(void **state)
{
    (void)state;
    rf_real x[MOST], wanted[MOST], y[MOST];
    rf_test_fill(x, MOST, 3);
    for (int i = 0; i < MOST; i++) {
        x[i] *= 20;
        wanted[i] = silu_one(x[i]);
    }
    for (int begin = 0; begin < 70; begin++)
        for (int n = 0; n <= MOST - begin; n++) {
            silu_array(y, x + begin, n);
            assert_memory_equal(y, wanted + begin, (size_t)n * sizeof(rf_real));
        }
}

/* The documented order of a sum, one item at a time. */
static rf_real dot_by_the_book(const rf_real *x, const rf_real *y, int64_t n)
{
    rf_real lane[RF_SUM_LANES] = {0};
    for (int64_t i = 0; i < n; i++) {
        volatile rf_real *to = &lane[i % RF_SUM_LANES];
        *to = rf_fma(x[i], y[i], *to);
    }
    for (int step = RF_SUM_LANES / 2; step > 0; step /= 2)
        for (int l = 0; l < step; l++) lane[l] += lane[l + step];
    return lane[0];
}

static void sums__at_every_offset_and_length__have_the_same_bits(void **state)
{
    (void)state;
    rf_real x[MOST], y[MOST], ones[MOST];
    rf_test_fill(x, MOST, 4);
    rf_test_fill(y, MOST, 5);
    for (int i = 0; i < MOST; i++) ones[i] = 1;
    for (int begin = 0; begin < 40; begin++)
        for (int n = 0; n <= MOST - begin; n++) {
            rf_real copy[MOST + 1]; /* another alignment */
            memcpy(copy + 1, x + begin, (size_t)n * sizeof(rf_real));
            assert_true(rf_dot(copy + 1, y, n) == dot_by_the_book(x + begin, y, n));
            assert_true(rf_sum(copy + 1, n) == dot_by_the_book(x + begin, ones, n));
            assert_true(rf_sum_squares(copy + 1, n) == rf_dot(x + begin, x + begin, n));
            assert_true(rf_dot_wide(copy + 1, y, n) == rf_dot_wide(x + begin, y, n));
            rf_real most = -(rf_real)INFINITY;
            for (int i = 0; i < n; i++) most = x[begin + i] > most ? x[begin + i] : most;
            assert_true(rf_max(copy + 1, n) == most);
        }
}

static void dot_wide__of_floats__is_nearly_exact(void **state)
{
    (void)state;
    rf_real x[MOST];
    long double wanted = 0;
    rf_test_fill(x, MOST, 6);
    for (int i = 0; i < MOST; i++) wanted += (long double)x[i] * (long double)x[i];
    assert_near(rf_sum_squares_wide(x, MOST), (double)wanted, 1e-15, 0);
}

static const struct CMUnitTest vecmath[] = {
    cmocka_unit_test(exp__over_its_range__is_within_its_limit),
    cmocka_unit_test(exp__at_the_edges__gives_zero_infinity_and_nan),
    cmocka_unit_test(silu_and_sigmoid__far_out__reach_their_limits),
    cmocka_unit_test(silu__at_every_offset_and_length__has_the_same_bits),
    cmocka_unit_test(sums__at_every_offset_and_length__have_the_same_bits),
    cmocka_unit_test(dot_wide__of_floats__is_nearly_exact),
};
RF_TEST_MAIN(vecmath)
