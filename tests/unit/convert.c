#include "rf_test.h"

#include <math.h>
#include <stdlib.h>

#include "refract/base/rng.h"
#include "refract/linalg/convert.h"

enum { PATTERNS = 65536 };

/* The value of a small float by its definition: (1.m or 0.m) * 2^e. */
static double value_of(uint32_t bits, int mantissa_bits, int exponent_bits)
{
    const int bias = (1 << (exponent_bits - 1)) - 1, top = (1 << exponent_bits) - 1;
    const int exponent = (int)(bits >> mantissa_bits) & top;
    const double fraction = (double)(bits & ((1u << mantissa_bits) - 1u));
    const double sign = bits >> (mantissa_bits + exponent_bits) & 1u ? -1 : 1;
    if (exponent == top) return fraction > 0 ? NAN : sign * (double)INFINITY;
    if (exponent == 0) return sign * ldexp(fraction, 1 - bias - mantissa_bits);
    return sign * ldexp(1 + ldexp(fraction, -mantissa_bits), exponent - bias);
}

static int same_value(double a, double b)
{
    return isnan(a) ? isnan(b) : a == b && signbit(a) == signbit(b);
}

typedef struct half_type {
    rf_dtype dtype;
    int mantissa_bits, exponent_bits;
} half_type;
static const half_type kinds[] = {{RF_BF16, 7, 8}, {RF_F16, 10, 5}};

static uint16_t *all_patterns(void)
{
    uint16_t *all = malloc(PATTERNS * sizeof *all);
    for (uint32_t i = 0; i < PATTERNS; i++) all[i] = (uint16_t)i;
    return all;
}

static void widen__every_pattern__has_the_defined_value_and_comes_back(void **state)
{
    (void)state;
    uint16_t *all = all_patterns(), *back = malloc(PATTERNS * sizeof *back);
    float *wide = malloc(PATTERNS * sizeof *wide);
    double *wider = malloc(PATTERNS * sizeof *wider);
    for (int k = 0; k < 2; k++) {
        rf_convert(wide, RF_F32, all, kinds[k].dtype, PATTERNS);
        rf_convert(wider, RF_F64, all, kinds[k].dtype, PATTERNS);
        rf_convert(back, kinds[k].dtype, wide, RF_F32, PATTERNS);
        const uint16_t quiet = (uint16_t)(1u << (kinds[k].mantissa_bits - 1));
        for (uint32_t i = 0; i < PATTERNS; i++) {
            const double value = value_of(i, kinds[k].mantissa_bits, kinds[k].exponent_bits);
            assert_true(same_value((double)wide[i], value));
            assert_true(same_value(wider[i], value));
            assert_int_equal(back[i], isnan(value) ? (uint16_t)(i | quiet) : i);
        }
        rf_convert(back, kinds[k].dtype, wider, RF_F64, PATTERNS);
        for (uint32_t i = 0; i < PATTERNS; i++)
            assert_true(isnan(wider[i]) || back[i] == (uint16_t)i);
    }
    free(all);
    free(back);
    free(wide);
    free(wider);
}

/* Between neighbours a < b: below the middle -> a, above -> b, the middle -> the even one. */
static void check_between(const half_type *kind, uint32_t low)
{
    const double a = value_of(low, kind->mantissa_bits, kind->exponent_bits);
    const uint32_t infinity = ((1u << kind->exponent_bits) - 1u) << kind->mantissa_bits;
    const double last = value_of(infinity - 1, kind->mantissa_bits, kind->exponent_bits);
    const double before = value_of(infinity - 2, kind->mantissa_bits, kind->exponent_bits);
    const double b = low + 1 == infinity
                         ? last + (last - before)
                         : value_of(low + 1, kind->mantissa_bits, kind->exponent_bits);
    const double middle = a + (b - a) / 2;
    const double points[] = {nextafter(middle, a), middle, nextafter(middle, b)};
    const uint32_t wanted[] = {low, low + (low & 1u), low + 1};
    for (int p = 0; p < 3; p++) {
        for (int negative = 0; negative < 2; negative++) {
            const double x = negative ? -points[p] : points[p];
            uint16_t got = 0;
            rf_convert(&got, kind->dtype, &x, RF_F64, 1);
            assert_int_equal(got, wanted[p] | (negative ? 0x8000u : 0u));
        }
    }
    const float as_float = (float)middle; /* exact: one more bit than the small type */
    uint16_t got = 0;
    rf_convert(&got, kind->dtype, &as_float, RF_F32, 1);
    assert_int_equal(got, wanted[1]);
}

static void narrow__middles_and_their_neighbours__round_to_nearest_even(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        const uint32_t infinity = ((1u << kinds[k].exponent_bits) - 1u) << kinds[k].mantissa_bits;
        for (uint32_t i = 0; i < infinity; i++) check_between(&kinds[k], i);
    }
}

/* Any float lands on the nearer of the two patterns around it. */
static void narrow__random_floats__are_within_half_a_step(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 200000; i++) {
        const float x = rf_f32_from_bits((uint32_t)rf_random_bits(7, 0, i));
        const double half = (double)rf_f16_widen(rf_f16_round(x));
        const double brain = (double)rf_bf16_widen(rf_bf16_round(x));
        if (isnan(x)) {
            assert_true(isnan(half) && isnan(brain));
            continue;
        }
        assert_true(isinf(brain) ||
                    fabs(brain - (double)x) <= fmax(fabs((double)x) * 0x1p-8, 0x1p-134));
        if (fabs((double)x) >= 65520)
            assert_true(isinf(half));
        else
            assert_true(fabs(half - (double)x) <= fmax(fabs((double)x) * 0x1p-11, 0x1p-25));
    }
}

static void f64_to_f32__specials__are_kept(void **state)
{
    (void)state;
    const double in[] = {INFINITY, -INFINITY, 1e300, -0.0, 0x1p-160, NAN};
    float out[6];
    rf_convert(out, RF_F32, in, RF_F64, 6);
    assert_true(isinf(out[0]) && isinf(out[1]) && out[1] < 0 && isinf(out[2]));
    assert_true(out[3] == 0 && signbit(out[3]) && out[4] == 0 && isnan(out[5]));
    uint16_t half[6];
    rf_convert(half, RF_BF16, in, RF_F64, 6);
    const uint16_t wanted[] = {0x7F80, 0xFF80, 0x7F80, 0x8000, 0x0000};
    for (int i = 0; i < 5; i++) assert_int_equal(half[i], wanted[i]);
    assert_true((half[5] & 0x7FFF) > 0x7F80);
}

/* Vector body and scalar tail of the loops agree: every length and start gives the same items. */
static void convert__any_length_and_start__gives_the_same_items(void **state)
{
    (void)state;
    float in[96], wide[96];
    uint16_t whole[96], part[96];
    for (uint64_t i = 0; i < 96; i++) in[i] = (float)rf_test_value(5, i) * 1e-4f;
    for (int k = 0; k < 2; k++) {
        rf_convert(whole, kinds[k].dtype, in, RF_F32, 96);
        for (int start = 0; start < 20; start++) {
            for (int n = 0; n + start <= 96; n++) {
                rf_convert(part, kinds[k].dtype, in + start, RF_F32, n);
                assert_memory_equal(part, whole + start, (size_t)n * sizeof *part);
                rf_convert(wide, RF_F32, part, kinds[k].dtype, n);
                for (int i = 0; i < n; i++)
                    assert_true(wide[i] == (k ? rf_f16_widen(part[i]) : rf_bf16_widen(part[i])));
            }
        }
    }
}

static const struct CMUnitTest convert[] = {
    cmocka_unit_test(widen__every_pattern__has_the_defined_value_and_comes_back),
    cmocka_unit_test(narrow__middles_and_their_neighbours__round_to_nearest_even),
    cmocka_unit_test(narrow__random_floats__are_within_half_a_step),
    cmocka_unit_test(f64_to_f32__specials__are_kept),
    cmocka_unit_test(convert__any_length_and_start__gives_the_same_items),
};
RF_TEST_MAIN(convert)
