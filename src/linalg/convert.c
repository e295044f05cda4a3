#include "refract/linalg/convert.h"

#include "refract/linalg/quant.h"

enum { BLOCK = 1024 }; /* a multiple of every block type's */

void rf_bf16_to_f32(float *restrict out, const uint16_t *restrict in, int64_t n)
{
    for (int64_t i = 0; i < n; i++) out[i] = rf_bf16_widen(in[i]);
}

void rf_f32_to_bf16(uint16_t *restrict out, const float *restrict in, int64_t n)
{
    for (int64_t i = 0; i < n; i++) out[i] = rf_bf16_round(in[i]);
}

void rf_f16_to_f32(float *restrict out, const uint16_t *restrict in, int64_t n)
{
    for (int64_t i = 0; i < n; i++) out[i] = rf_f16_widen(in[i]);
}

void rf_f32_to_f16(uint16_t *restrict out, const float *restrict in, int64_t n)
{
    for (int64_t i = 0; i < n; i++) out[i] = rf_f16_round(in[i]);
}

int rf_dtype_is_float(rf_dtype dtype)
{
    return dtype == RF_F32 || dtype == RF_F64 || dtype == RF_BF16 || dtype == RF_F16;
}

static int is_block(rf_dtype dtype)
{
    return rf_dtype_block(dtype) > 1;
}

int rf_dtype_converts(rf_dtype to, rf_dtype from)
{
    return to == from || ((rf_dtype_is_float(from) || is_block(from)) &&
                          (rf_dtype_is_float(to) || rf_dtype_is_held_block(to)));
}

static void f64_to_f32(float *restrict out, const double *restrict in, int64_t n)
{
    for (int64_t i = 0; i < n; i++) out[i] = (float)in[i];
}

static void f32_to_f64(double *restrict out, const float *restrict in, int64_t n)
{
    for (int64_t i = 0; i < n; i++) out[i] = (double)in[i];
}

/*
 * f64 -> f32 rounded to odd: cut towards zero, last bit set when anything was cut. Rounding that to
 * a type at least two bits shorter equals rounding the f64 once (Boldo & Melquiond 2008).
 */
static void f64_to_f32_odd(float *restrict out, const double *restrict in, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const double wide = in[i] < 0 ? -in[i] : in[i];
        const float nearest = (float)in[i];
        const double back = nearest < 0 ? -(double)nearest : (double)nearest;
        const uint32_t bits = rf_f32_bits(nearest);
        const uint32_t odd = (back > wide ? bits - 1u : bits) | 1u;
        out[i] = rf_f32_from_bits(back == wide || wide != wide ? bits : odd);
    }
}

/* At most BLOCK items into f32, exactly, or rounded to odd where `narrowing` goes further down. */
static void load_f32(float *out, const char *in, rf_dtype dtype, int64_t n, int narrowing)
{
    if (dtype == RF_BF16)
        rf_bf16_to_f32(out, (const uint16_t *)(const void *)in, n);
    else if (dtype == RF_F16)
        rf_f16_to_f32(out, (const uint16_t *)(const void *)in, n);
    else if (dtype == RF_F64 && narrowing)
        f64_to_f32_odd(out, (const double *)(const void *)in, n);
    else if (dtype == RF_F64)
        f64_to_f32(out, (const double *)(const void *)in, n);
    else if (is_block(dtype))
        rf_dequantise(out, dtype, in, n);
    else
        memcpy(out, in, (size_t)n * sizeof *out);
}

static void store_f32(char *out, rf_dtype dtype, const float *in, int64_t n)
{
    if (dtype == RF_BF16)
        rf_f32_to_bf16((uint16_t *)(void *)out, in, n);
    else if (dtype == RF_F16)
        rf_f32_to_f16((uint16_t *)(void *)out, in, n);
    else if (dtype == RF_F64)
        f32_to_f64((double *)(void *)out, in, n);
    else if (is_block(dtype))
        rf_quantise(out, dtype, in, n);
    else
        memcpy(out, in, (size_t)n * sizeof *in);
}

void rf_convert(void *out, rf_dtype out_dtype, const void *in, rf_dtype in_dtype, int64_t n)
{
    RF_ASSERT(rf_dtype_converts(out_dtype, in_dtype), "%s -> %s", rf_dtype_name(in_dtype),
              rf_dtype_name(out_dtype));
    if (out_dtype == in_dtype) {
        if (n > 0) memcpy(out, in, rf_dtype_bytes(in_dtype, n));
        return;
    }
    if (out_dtype == RF_F32) {
        load_f32(out, in, in_dtype, n, 0);
        return;
    }
    if (in_dtype == RF_F32) {
        store_f32(out, out_dtype, in, n);
        return;
    }
    float block[BLOCK];
    const int narrowing = !is_block(out_dtype);
    for (int64_t at = 0; at < n; at += BLOCK) {
        const int64_t count = n - at < BLOCK ? n - at : BLOCK;
        load_f32(block, (const char *)in + rf_dtype_bytes(in_dtype, at), in_dtype, count,
                 narrowing);
        store_f32((char *)out + rf_dtype_bytes(out_dtype, at), out_dtype, block, count);
    }
}
