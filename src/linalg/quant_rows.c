/* Products with rows of blocks as they lie: with AVX-512 four rows at a time, else in plain C, by
 * the same operations in the same order. */
#include <string.h>

#include "refract/linalg/convert.h"
#include "refract/linalg/quant.h"
#if defined __AVX512F__ && defined __F16C__
#define IS_WIDE 1
#include <immintrin.h>
#else
#define IS_WIDE 0
#endif

enum { LANES = 16, TOGETHER = 4, Q4_1_BYTES = 20, Q8_0_BYTES = 34 };

#if !IS_WIDE
static float half_at(const uint8_t *at)
{
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    return rf_f16_widen(bits);
}

static float fold(float *lane)
{
    for (int step = LANES / 2; step > 0; step /= 2)
        for (int j = 0; j < step; j++) lane[j] += lane[j + step];
    return lane[0];
}

static float row_q4_1(const uint8_t *b, const float *restrict x, const float *sums, int64_t n)
{
    float lane[LANES] = {0}, offset = 0;
    for (int64_t i = 0; i < n; i += 32, b += Q4_1_BYTES) {
        const float d = half_at(b);
        offset = __builtin_fmaf(half_at(b + 2), sums[i / 16 + 1], offset);
        for (int j = 0; j < LANES; j++) {
            const float low = (float)(b[4 + j] & 15), high = (float)(b[4 + j] >> 4);
            const float both = __builtin_fmaf(low, x[i + j], high * x[i + j + LANES]);
            lane[j] = __builtin_fmaf(d, both, lane[j]);
        }
    }
    return fold(lane) + offset;
}

static float row_q8_0(const uint8_t *b, const float *restrict x, int64_t n)
{
    float lane[LANES] = {0};
    for (int64_t i = 0; i < n; i += 32, b += Q8_0_BYTES) {
        const float d = half_at(b);
        for (int j = 0; j < LANES; j++) {
            const float low = (float)(int8_t)b[2 + j], high = (float)(int8_t)b[2 + LANES + j];
            const float both = __builtin_fmaf(low, x[i + j], high * x[i + j + LANES]);
            lane[j] = __builtin_fmaf(d, both, lane[j]);
        }
    }
    return fold(lane);
}
#else
/* Items j + step are added to items j, step = 8, 4, 2, 1. */
static inline float fold(__m512 lane)
{
    const __m256 high = _mm512_castps512_ps256(_mm512_shuffle_f32x4(lane, lane, 0xEE));
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(lane), high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* The half at `at` and the one behind it. */
static inline __m128 two_halves(const uint8_t *at)
{
    int bits;
    memcpy(&bits, at, sizeof bits);
    return _mm_cvtph_ps(_mm_cvtsi32_si128(bits));
}

static inline __m128 two_floats(const float *at)
{
    double bits;
    memcpy(&bits, at, sizeof bits);
    return _mm_castpd_ps(_mm_set_sd(bits));
}

/* `count` rows, a constant where it is called. */
static inline __attribute__((always_inline)) void
rows_q4_1(float *y, int count, const uint8_t *w, const float *x, const float *sums, int64_t n)
{
    const int64_t row = n / 32 * Q4_1_BYTES;
    const __m512 number =
        _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0); /* of low four bits */
    __m512 lane[TOGETHER];
    __m128 offset[TOGETHER];
    for (int r = 0; r < count; r++) lane[r] = _mm512_setzero_ps();
    for (int r = 0; r < count; r++) offset[r] = _mm_setzero_ps();
    for (int64_t i = 0; i < n; i += 32, w += Q4_1_BYTES) {
        const __m512 x0 = _mm512_loadu_ps(x + i), x1 = _mm512_loadu_ps(x + i + LANES);
        const __m128 sum = two_floats(sums + i / 16);
#pragma GCC unroll 4
        for (int r = 0; r < count; r++) {
            const uint8_t *b = w + r * row;
            const __m128 scale = two_halves(b);
            const __m512i q =
                _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(b + 4)));
            const __m512 low = _mm512_permutexvar_ps(q, number);
            const __m512 high = _mm512_permutexvar_ps(_mm512_srli_epi32(q, 4), number);
            const __m512 both = _mm512_fmadd_ps(low, x0, _mm512_mul_ps(high, x1));
            lane[r] = _mm512_fmadd_ps(_mm512_broadcastss_ps(scale), both, lane[r]);
            offset[r] = _mm_fmadd_ps(scale, sum, offset[r]);
        }
    }
    for (int r = 0; r < count; r++)
        y[r] = fold(lane[r]) + _mm_cvtss_f32(_mm_movehdup_ps(offset[r]));
}

static inline __m512 sixteen(const uint8_t *at)
{
    return _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)at)));
}

static inline __attribute__((always_inline)) void rows_q8_0(float *y, int count, const uint8_t *w,
                                                            const float *x, int64_t n)
{
    const int64_t row = n / 32 * Q8_0_BYTES;
    __m512 lane[TOGETHER];
    for (int r = 0; r < count; r++) lane[r] = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i += 32, w += Q8_0_BYTES) {
        const __m512 x0 = _mm512_loadu_ps(x + i), x1 = _mm512_loadu_ps(x + i + LANES);
#pragma GCC unroll 4
        for (int r = 0; r < count; r++) {
            const uint8_t *b = w + r * row;
            const __m512 high = _mm512_mul_ps(sixteen(b + 2 + LANES), x1);
            const __m512 both = _mm512_fmadd_ps(sixteen(b + 2), x0, high);
            lane[r] = _mm512_fmadd_ps(_mm512_broadcastss_ps(two_halves(b)), both, lane[r]);
        }
    }
    for (int r = 0; r < count; r++) y[r] = fold(lane[r]);
}
#endif

void rf_rows_q4_1(float *y, const void *blocks, int64_t rows, const float *x, const float *sums,
                  int64_t n)
{
    const uint8_t *w = blocks;
    const int64_t row = n / 32 * Q4_1_BYTES;
    int64_t j = 0;
#if IS_WIDE
    for (; j + TOGETHER <= rows; j += TOGETHER) rows_q4_1(y + j, TOGETHER, w + j * row, x, sums, n);
    for (; j < rows; j++) rows_q4_1(y + j, 1, w + j * row, x, sums, n);
#else
    for (; j < rows; j++) y[j] = row_q4_1(w + j * row, x, sums, n);
#endif
}

void rf_rows_q8_0(float *y, const void *blocks, int64_t rows, const float *x, int64_t n)
{
    const uint8_t *w = blocks;
    const int64_t row = n / 32 * Q8_0_BYTES;
    int64_t j = 0;
#if IS_WIDE
    for (; j + TOGETHER <= rows; j += TOGETHER) rows_q8_0(y + j, TOGETHER, w + j * row, x, n);
    for (; j < rows; j++) rows_q8_0(y + j, 1, w + j * row, x, n);
#else
    for (; j < rows; j++) y[j] = row_q8_0(w + j * row, x, n);
#endif
}
