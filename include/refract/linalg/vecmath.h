/**
 * Elementary functions and sums over arrays of rf_real whose bits depend on the values alone.
 *
 * Every step is one rounded operation or an explicit fused multiply-add, so a vectorised body, its
 * scalar tail and a single call give the same bits wherever an element stands. Sums run in
 * RF_SUM_LANES fixed lanes (item i goes to lane i mod RF_SUM_LANES) that a fixed tree adds up.
 */
#ifndef RF_LINALG_VECMATH_H
#define RF_LINALG_VECMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "refract/base/real.h"

enum { RF_SUM_LANES = 32 };

/** a b + c, rounded once. */
static inline rf_real rf_fma(rf_real a, rf_real b, rf_real c)
{
#ifdef RF_DOUBLE
    return __builtin_fma(a, b, c);
#else
    return __builtin_fmaf(a, b, c);
#endif
}

/**
 * e^x within 1.1 ulp (float) or 1e-15 relative (double). Overflow gives infinity, results below the
 * smallest normal number give 0, NaN stays NaN.
 *
 * x = n ln 2 + r, |r| <= ln 2 / 2; e^r = 1 + r + r^2 q(r), q interpolated at Chebyshev nodes; n is
 * rounded by adding 1.5 * 2^(digits - 1), which leaves it in the low bits of the sum. Written out
 * without loops, and with masks for branches (GCC 12 makes jumps of selections on AVX2), so that it
 * vectorises in the loops it is called from.
 */
static inline rf_real rf_exp(rf_real x)
{
#ifdef RF_DOUBLE
    typedef uint64_t bits;
    enum { DIGITS = 52 };
    const double highest = 709.782712893383973, lowest = -708.396418532264106;
    const double shifter = 0x1.8p52, log2_e = 1.44269504088896339;
    const double ln2_high = 6.93147180559662957e-01, ln2_low = 2.82352905630315771e-13;
#else
    typedef uint32_t bits;
    enum { DIGITS = 23 };
    const float highest = 88.7228317f, lowest = -87.3365402f;
    const float shifter = 0x1.8p23f, log2_e = 1.442695041f;
    const float ln2_high = 0x1.62e4p-1f, ln2_low = 1.428606820e-06f;
#endif
    const rf_real shifted = rf_fma(x, log2_e, shifter), n = shifted - shifter;
    const rf_real r = rf_fma(n, -ln2_low, rf_fma(n, -ln2_high, x));
#ifdef RF_DOUBLE
    rf_real q = rf_fma(2.51004241570050668e-08, r, 2.76201387197339936e-07);
    q = rf_fma(q, r, 2.75572683786841924e-06);
    q = rf_fma(q, r, 2.48015211902177286e-05);
    q = rf_fma(q, r, 1.98412698631059685e-04);
    q = rf_fma(q, r, 1.38888889172817938e-03);
    q = rf_fma(q, r, 8.33333333333005112e-03);
    q = rf_fma(q, r, 4.16666666666239902e-02);
    q = rf_fma(q, r, 1.66666666666666685e-01);
    q = rf_fma(q, r, 5.00000000000000111e-01);
#else
    rf_real q = rf_fma(1.392621347e-03f, r, 8.363202972e-03f);
    q = rf_fma(q, r, 4.166655444e-02f);
    q = rf_fma(q, r, 1.666657685e-01f);
    q = rf_fma(q, r, 5.000000000e-01f);
#endif
    rf_real y = (rf_real)1 + rf_fma(r * r, q, r);
    const rf_real infinity = (rf_real)INFINITY;
    bits exponent, whole, most, given;
    memcpy(&exponent, &shifted, sizeof exponent);
    memcpy(&whole, &y, sizeof whole);
    memcpy(&most, &infinity, sizeof most);
    memcpy(&given, &x, sizeof given);
    const bits high = (bits)0 - (bits)(x > highest), low = (bits)0 - (bits)(x < lowest);
    const bits nan = (bits)0 - (bits)(x != x);
    whole = (((whole + (exponent << DIGITS)) & ~high) | (most & high)) & ~low;
    whole = (whole & ~nan) | (given & nan);
    memcpy(&y, &whole, sizeof y);
    return y;
}

/** 1 / (1 + e^-x). */
static inline rf_real rf_sigmoid(rf_real x)
{
    return (rf_real)1 / ((rf_real)1 + rf_exp(-x));
}

/** x / (1 + e^-x). */
static inline rf_real rf_silu(rf_real x)
{
    return x / ((rf_real)1 + rf_exp(-x));
}

/** Sums over n items; 0 (maximum: -infinity) when n = 0. A NaN is passed over by the maximum.
 * Local. */
rf_real rf_sum(const rf_real *x, int64_t n);
rf_real rf_dot(const rf_real *x, const rf_real *y, int64_t n);
rf_real rf_sum_squares(const rf_real *x, int64_t n);
rf_real rf_max(const rf_real *x, int64_t n);

/** The same with products and sums in double whatever rf_real is. Local. */
double rf_dot_wide(const rf_real *x, const rf_real *y, int64_t n);
double rf_sum_squares_wide(const rf_real *x, int64_t n);

/** y += x; y += a x (fused); y *= a. The arrays do not overlap. Local. */
void rf_add(rf_real *y, const rf_real *x, int64_t n);
void rf_axpy(rf_real *y, rf_real a, const rf_real *x, int64_t n);
void rf_scale(rf_real *y, rf_real a, int64_t n);

#endif
