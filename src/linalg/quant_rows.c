/* Products with rows of blocks as they lie: with AVX-512, else in plain C, by the same operations
 * in the same order. Rows are read one after another (several at a time come from memory at half
 * the rate); even and odd blocks of Q4_1 have sums of their own, for shorter chains. */
#include <string.h>

#include "refract/linalg/convert.h"
#include "refract/linalg/quant.h"
#if defined __AVX512F__ && defined __F16C__
#define IS_WIDE 1
#include <immintrin.h>
#else
#define IS_WIDE 0
#endif

enum { LANES = 16, Q4_1_BYTES = 20, Q8_0_BYTES = 34 };

#if !IS_WIDE
static float half_at(const uint8_t *at)
{
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    return rf_f16_widen(bits);
}

static float fold(float lane[2][LANES])
{
    for (int j = 0; j < LANES; j++) lane[0][j] += lane[1][j];
    for (int step = LANES / 2; step > 0; step /= 2)
        for (int j = 0; j < step; j++) lane[0][j] += lane[0][j + step];
    return lane[0][0];
}

static float row_q4_1(const uint8_t *b, const float *restrict x, const float *sums, int64_t n)
{
    float lane[2][LANES] = {{0}}, offset = 0;
    for (int64_t i = 0; i < n; i += 32, b += Q4_1_BYTES) {
        const float d = half_at(b);
        offset = __builtin_fmaf(half_at(b + 2), sums[i / 16 + 1], offset);
        for (int j = 0; j < LANES; j++) {
            const float low = (float)(b[4 + j] & 15), high = (float)(b[4 + j] >> 4);
            const float both = __builtin_fmaf(low, x[i + j], high * x[i + j + LANES]);
            lane[i / 32 % 2][j] = __builtin_fmaf(d, both, lane[i / 32 % 2][j]);
        }
    }
    return fold(lane) + offset;
}

/* As if the row were widened first. */
static float row_q8_0(const uint8_t *b, const float *restrict x, int64_t n)
{
    float lane[2][LANES] = {{0}};
    for (int64_t i = 0; i < n; i += 32, b += Q8_0_BYTES) {
        const float d = half_at(b);
        for (int j = 0; j < 32; j++)
            lane[j / LANES][j % LANES] =
                __builtin_fmaf(d * (float)(int8_t)b[2 + j], x[i + j], lane[j / LANES][j % LANES]);
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

/* Block `b`, whose items meet x [32]; *offset: of its smallest values. */
static inline __m512 add_q4_1(__m512 lane, const uint8_t *b, const float *x, const float *sums,
                              __m128 *offset)
{
    const __m512 number =
        _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0); /* of low four bits */
    const __m128 scale = two_halves(b);
    const __m512i q = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(b + 4)));
    const __m512 low = _mm512_permutexvar_ps(q, number);
    const __m512 high = _mm512_permutexvar_ps(_mm512_srli_epi32(q, 4), number);
    const __m512 both =
        _mm512_fmadd_ps(low, _mm512_loadu_ps(x), _mm512_mul_ps(high, _mm512_loadu_ps(x + LANES)));
    *offset = _mm_fmadd_ps(scale, two_floats(sums), *offset);
    return _mm512_fmadd_ps(_mm512_broadcastss_ps(scale), both, lane);
}

static float row_q4_1(const uint8_t *b, const float *x, const float *sums, int64_t n)
{
    __m512 even = _mm512_setzero_ps(), odd = even;
    __m128 offset = _mm_setzero_ps();
    int64_t i = 0;
    for (; i + 64 <= n; i += 64, b += 2 * Q4_1_BYTES) {
        even = add_q4_1(even, b, x + i, sums + i / 16, &offset);
        odd = add_q4_1(odd, b + Q4_1_BYTES, x + i + 32, sums + i / 16 + 2, &offset);
    }
    if (i < n) even = add_q4_1(even, b, x + i, sums + i / 16, &offset);
    return fold(_mm512_add_ps(even, odd)) + _mm_cvtss_f32(_mm_movehdup_ps(offset));
}

static inline __m512 sixteen(const uint8_t *at)
{
    return _mm512_cvtepi32_ps(
        _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)at)));
}

/* As if the row were widened first. */
static float row_q8_0(const uint8_t *b, const float *x, int64_t n)
{
    __m512 low = _mm512_setzero_ps(), high = low;
    for (int64_t i = 0; i < n; i += 32, b += Q8_0_BYTES) {
        const __m512 d = _mm512_broadcastss_ps(two_halves(b));
        const __m512 w0 = _mm512_mul_ps(d, sixteen(b + 2));
        const __m512 w1 = _mm512_mul_ps(d, sixteen(b + 2 + LANES));
        low = _mm512_fmadd_ps(w0, _mm512_loadu_ps(x + i), low);
        high = _mm512_fmadd_ps(w1, _mm512_loadu_ps(x + i + LANES), high);
    }
    return fold(_mm512_add_ps(low, high));
}
#endif

void rf_rows_q4_1(float *y, const void *blocks, int64_t rows, const float *x, const float *sums,
                  int64_t n)
{
    const uint8_t *w = blocks;
    for (int64_t j = 0; j < rows; j++, w += n / 32 * Q4_1_BYTES) y[j] = row_q4_1(w, x, sums, n);
}

void rf_rows_q8_0(float *y, const void *blocks, int64_t rows, const float *x, int64_t n)
{
    const uint8_t *w = blocks;
    for (int64_t j = 0; j < rows; j++, w += n / 32 * Q8_0_BYTES) y[j] = row_q8_0(w, x, n);
}
