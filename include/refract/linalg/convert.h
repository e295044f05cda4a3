/**
 * Conversions between number types: widening is exact, narrowing rounds to nearest even.
 *
 * bf16 is the upper half of an f32; f16 is IEEE 754 binary16. Infinities stay infinite, values
 * beyond the largest finite one become infinite, a NaN stays a NaN (quiet after narrowing),
 * subnormals are kept. The scalar forms are inline and free of branches, so loops over them
 * vectorise.
 */
#ifndef RF_LINALG_CONVERT_H
#define RF_LINALG_CONVERT_H

#include <stdint.h>
#include <string.h>

#include "refract/linalg/tensor.h"

/** The bits of a float and back. Local; cannot fail. */
static inline uint32_t rf_f32_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float rf_f32_from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/** bf16 -> f32, exact. Local. */
static inline float rf_bf16_widen(uint16_t x)
{
    return rf_f32_from_bits((uint32_t)x << 16);
}

/** f32 -> bf16, to nearest even. Local. */
static inline uint16_t rf_bf16_round(float x)
{
    const uint32_t bits = rf_f32_bits(x);
    const uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    const uint32_t quiet = (bits >> 16) | 0x40u;
    return (uint16_t)((bits & 0x7FFFFFFFu) > 0x7F800000u ? quiet : rounded);
}

/** f16 -> f32, exact. Local. */
static inline float rf_f16_widen(uint16_t x)
{
    const uint32_t sign = (uint32_t)(x & 0x8000u) << 16;
    const uint32_t magnitude = (uint32_t)(x & 0x7FFFu) << 13; /* exponent now at f32's place */
    const uint32_t exponent = magnitude & 0x0F800000u;
    const uint32_t normal = magnitude + (112u << 23); /* bias 15 -> 127 */
    const uint32_t special = normal + (112u << 23);   /* infinities and NaNs: exponent 255 */
    /* A subnormal is m * 2^-24: put m below a leading one, then take that one away. */
    const float tiny = rf_f32_from_bits(magnitude + (113u << 23)) - 0x1p-14f;
    const uint32_t finite = exponent == 0 ? rf_f32_bits(tiny) : normal;
    return rf_f32_from_bits(sign | (exponent == 0x0F800000u ? special : finite));
}

/** f32 -> f16, to nearest even. Local. */
static inline uint16_t rf_f16_round(float x)
{
    const uint32_t bits = rf_f32_bits(x), sign = bits >> 16 & 0x8000u, a = bits & 0x7FFFFFFFu;
    const uint32_t normal = (a - (112u << 23) + 0xFFFu + ((a >> 13) & 1u)) >> 13;
    /* Adding 0.5, whose last place is 2^-24, lets the addition itself round the subnormals. */
    const uint32_t tiny =
        rf_f32_bits(rf_f32_from_bits(a < 0x38800000u ? a : 0u) + 0.5f) - 0x3F000000u;
    const uint32_t quiet = 0x7E00u | (a >> 13 & 0x3FFu);
    const uint32_t finite = a < 0x38800000u ? tiny : normal;
    const uint32_t bounded = a >= 0x47800000u ? 0x7C00u : finite;
    return (uint16_t)(sign | (a > 0x7F800000u ? quiet : bounded));
}

/** The same over n items; out and in do not overlap. Local; cannot fail. */
void rf_bf16_to_f32(float *out, const uint16_t *in, int64_t n);
void rf_f32_to_bf16(uint16_t *out, const float *in, int64_t n);
void rf_f16_to_f32(float *out, const uint16_t *in, int64_t n);
void rf_f32_to_f16(uint16_t *out, const float *in, int64_t n);

/** 1 for f32, f64, bf16 and f16. Local. */
int rf_dtype_is_float(rf_dtype dtype);
/** 1 when rf_convert can do it: from floats and blocks, to floats and blocks that can be made.
 * Local.
 */
int rf_dtype_converts(rf_dtype to, rf_dtype from);

/**
 * out[i] = in[i] rounded once to out's type (f64 -> bf16 too), n items; the same type is copied bit
 * by bit. Blocks go by way of f32, n is a multiple of theirs. Arrays do not overlap and are aligned
 * for their type; rf_dtype_converts must hold (else a bug). Local; cannot fail.
 */
void rf_convert(void *out, rf_dtype out_dtype, const void *in, rf_dtype in_dtype, int64_t n);

#endif
