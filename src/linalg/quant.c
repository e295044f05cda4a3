#include "refract/linalg/quant.h"

#include <math.h>
#include <string.h>

#include "refract/base/status.h"
#include "refract/linalg/convert.h"

static float half_at(const uint8_t *at)
{
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    return rf_f16_widen(bits);
}

static void put_half(uint8_t *at, float x)
{
    const uint16_t bits = rf_f16_round(x);
    memcpy(at, &bits, sizeof bits);
}

static void widen_q8_0(float *restrict out, const uint8_t *restrict b)
{
    const float d = half_at(b);
    for (int j = 0; j < 32; j++) out[j] = d * (float)(int8_t)b[2 + j];
}

/* d (q - 8) and d q + m, without and with the fifth bits. */
static void widen_nibbles(float *restrict out, const uint8_t *restrict q, float d, float offset,
                          float m)
{
    for (int j = 0; j < 16; j++) {
        out[j] = d * ((float)(q[j] & 15) - offset) + m;
        out[j + 16] = d * ((float)(q[j] >> 4) - offset) + m;
    }
}

static void widen_fifths(float *restrict out, const uint8_t *restrict q,
                         const uint8_t *restrict high, float d, float offset, float m)
{
    uint32_t h;
    memcpy(&h, high, sizeof h);
    for (uint32_t j = 0; j < 16; j++) {
        const uint32_t low = (q[j] & 15u) | (h >> j & 1u) << 4;
        const uint32_t top = (uint32_t)(q[j] >> 4) | (h >> (j + 16) & 1u) << 4;
        out[j] = d * ((float)(int)low - offset) + m;
        out[j + 16] = d * ((float)(int)top - offset) + m;
    }
}

static void widen_q4_0(float *out, const uint8_t *b)
{
    widen_nibbles(out, b + 2, half_at(b), 8, 0);
}

static void widen_q4_1(float *out, const uint8_t *b)
{
    widen_nibbles(out, b + 4, half_at(b), 0, half_at(b + 2));
}

static void widen_q5_0(float *out, const uint8_t *b)
{
    widen_fifths(out, b + 6, b + 2, half_at(b), 16, 0);
}

static void widen_q5_1(float *out, const uint8_t *b)
{
    widen_fifths(out, b + 8, b + 4, half_at(b), 0, half_at(b + 2));
}

/* Six-bit scale s and minimum t of sub-block i, packed into 12 bytes. */
static void unpack_scale(const uint8_t *p, int i, float *s, float *t)
{
    if (i < 4) {
        *s = (float)(p[i] & 63);
        *t = (float)(p[i + 4] & 63);
    } else {
        *s = (float)((p[i + 4] & 15) | (p[i - 4] >> 6) << 4);
        *t = (float)((p[i + 4] >> 4) | (p[i] >> 6) << 4);
    }
}

static void widen_q4_k(float *restrict out, const uint8_t *restrict b)
{
    const float d = half_at(b), m = half_at(b + 2);
    const uint8_t *q = b + 16;
    for (int i = 0; i < 8; i += 2, q += 32, out += 64) {
        float s, t, s_high, t_high;
        unpack_scale(b + 4, i, &s, &t);
        unpack_scale(b + 4, i + 1, &s_high, &t_high);
        const float low_scale = d * s, low_least = m * t;
        const float high_scale = d * s_high, high_least = m * t_high;
        for (int j = 0; j < 32; j++) {
            out[j] = low_scale * (float)(q[j] & 15) - low_least;
            out[j + 32] = high_scale * (float)(q[j] >> 4) - high_least;
        }
    }
}

/* 32 items: four bits from q, shifted by `low`, two from h, shifted by `high`; a scale for each 16.
 */
static void widen_sixths(float *restrict out, const uint8_t *restrict q, int low,
                         const uint8_t *restrict h, int high, float d, const int8_t *scale)
{
    for (int half = 0; half < 2; half++) {
        const float s = d * (float)scale[half];
        for (int j = 16 * half; j < 16 * half + 16; j++)
            out[j] = s * (float)(((q[j] >> low & 15) | (h[j] >> high & 3) << 4) - 32);
    }
}

static void widen_q6_k(float *restrict out, const uint8_t *restrict b)
{
    const float d = half_at(b + 208);
    int8_t scale[16];
    memcpy(scale, b + 192, sizeof scale);
    for (int part = 0; part < 2; part++, out += 128) {
        const uint8_t *q = b + 64 * part, *h = b + 128 + 32 * part;
        for (int i = 0; i < 4; i++)
            widen_sixths(out + 32 * i, q + 32 * (i & 1), 4 * (i >> 1), h, 2 * i, d,
                         scale + 8 * part + 2 * i);
    }
}

static void narrow_q8_0(uint8_t *restrict b, const float *restrict x)
{
    float most = 0;
    for (int j = 0; j < 32; j++) most = fmaxf(most, fabsf(x[j]));
    const float d = most / 127, inverse = d > 0 ? 1 / d : 0;
    put_half(b, d);
    for (int j = 0; j < 32; j++)
        b[2 + j] = (uint8_t)(int)fminf(fmaxf(roundf(x[j] * inverse), -127), 127);
}

static uint8_t nibble(float q)
{
    return (uint8_t)fminf(fmaxf(q, 0), 15);
}

static void narrow_q4_0(uint8_t *restrict b, const float *restrict x)
{
    float extreme = 0;
    for (int j = 0; j < 32; j++)
        if (fabsf(x[j]) > fabsf(extreme)) extreme = x[j];
    const float d = extreme / -8, inverse = d != 0 ? 1 / d : 0;
    put_half(b, d);
    for (int j = 0; j < 16; j++)
        b[2 + j] =
            (uint8_t)(nibble(x[j] * inverse + 8.5f) | nibble(x[j + 16] * inverse + 8.5f) << 4);
}

static void narrow_q4_1(uint8_t *restrict b, const float *restrict x)
{
    float least = x[0], most = x[0];
    for (int j = 1; j < 32; j++) {
        least = fminf(least, x[j]);
        most = fmaxf(most, x[j]);
    }
    const float d = (most - least) / 15, inverse = d > 0 ? 1 / d : 0;
    put_half(b, d);
    put_half(b + 2, least);
    for (int j = 0; j < 16; j++)
        b[4 + j] = (uint8_t)(nibble((x[j] - least) * inverse + 0.5f) |
                             nibble((x[j + 16] - least) * inverse + 0.5f) << 4);
}

typedef void widen_block(float *out, const uint8_t *block);
typedef void narrow_block(uint8_t *block, const float *in);

static const struct {
    widen_block *widen;
    narrow_block *narrow;
} kernels[] = {
    [RF_Q8_0] = {widen_q8_0, narrow_q8_0}, [RF_Q4_0] = {widen_q4_0, narrow_q4_0},
    [RF_Q4_1] = {widen_q4_1, narrow_q4_1}, [RF_Q5_0] = {widen_q5_0, NULL},
    [RF_Q5_1] = {widen_q5_1, NULL},        [RF_Q4_K] = {widen_q4_k, NULL},
    [RF_Q6_K] = {widen_q6_k, NULL},
};

int rf_dtype_is_held_block(rf_dtype dtype)
{
    return kernels[dtype].narrow != NULL;
}

void rf_dequantise(float *out, rf_dtype dtype, const void *blocks, int64_t n)
{
    widen_block *const widen = kernels[dtype].widen;
    const int64_t items = rf_dtype_block(dtype);
    RF_ASSERT(widen && n % items == 0, "%lld items of %s", (long long)n, rf_dtype_name(dtype));
    const size_t bytes = rf_dtype_bytes(dtype, items);
    const uint8_t *block = blocks;
    for (int64_t i = 0; i < n; i += items, block += bytes) widen(out + i, block);
}

void rf_quantise(void *blocks, rf_dtype dtype, const float *in, int64_t n)
{
    narrow_block *const narrow = kernels[dtype].narrow;
    const int64_t items = rf_dtype_block(dtype);
    RF_ASSERT(narrow && n % items == 0, "%lld items of %s", (long long)n, rf_dtype_name(dtype));
    const size_t bytes = rf_dtype_bytes(dtype, items);
    uint8_t *block = blocks;
    for (int64_t i = 0; i < n; i += items, block += bytes) narrow(block, in + i);
}
