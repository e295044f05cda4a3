/* Blocks against the published formulas, item by item in double. */
#include "rf_test.h"

#include <math.h>
#include <string.h>

#include "refract/linalg/convert.h"
#include "refract/linalg/gemm.h"
#include "refract/linalg/quant.h"

static double half_of(const uint8_t *at)
{
    const int bits = at[0] | at[1] << 8, exponent = bits >> 10 & 31, fraction = bits & 1023;
    const double size = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return bits >> 15 ? -size : size;
}

static int bit_of(const uint8_t *bytes, int index)
{
    return bytes[index / 8] >> index % 8 & 1;
}

static int nibble_of(const uint8_t *q, int j)
{
    return j < 16 ? q[j] % 16 : q[j - 16] / 16;
}

/* Sub-block i of Q4_K: bytes 0-3 and 4-7 hold scales and minima of 0-3 in their low six bits; 8-11
 * the low four bits of those of 4-7, whose high two are the tops of bytes 0-3 and 4-7. */
static int q4_k_scale(const uint8_t *p, int i, int minimum)
{
    const int at = minimum ? 4 : 0;
    if (i < 4) return p[at + i] % 64;
    return (minimum ? p[4 + i] / 16 : p[4 + i] % 16) + 16 * (p[at + i - 4] / 64);
}

static double q4_k_value(const uint8_t *b, int j)
{
    const int i = j / 32, byte = 16 + i / 2 * 32 + j % 32;
    const int q = i % 2 ? b[byte] / 16 : b[byte] % 16;
    return half_of(b) * q4_k_scale(b + 4, i, 0) * q - half_of(b + 2) * q4_k_scale(b + 4, i, 1);
}

static double q6_k_value(const uint8_t *b, int j)
{
    const int part = j / 128, in_part = j % 128, group = in_part / 32, at = in_part % 32;
    const int low = b[64 * part + 32 * (group % 2) + at];
    const int four = group < 2 ? low % 16 : low / 16;
    const int two = b[128 + 32 * part + at] >> (2 * group) & 3;
    const int byte = b[192 + j / 16], scale = byte < 128 ? byte : byte - 256;
    return half_of(b + 208) * scale * (four + 16 * two - 32);
}

static double value_of(rf_dtype dtype, const uint8_t *b, int j)
{
    switch (dtype) {
    case RF_Q8_0:
        return half_of(b) * (int8_t)b[2 + j];
    case RF_Q4_0:
        return half_of(b) * (nibble_of(b + 2, j) - 8);
    case RF_Q4_1:
        return half_of(b) * nibble_of(b + 4, j) + half_of(b + 2);
    case RF_Q5_0:
        return half_of(b) * (nibble_of(b + 6, j) + 16 * bit_of(b + 2, j) - 16);
    case RF_Q5_1:
        return half_of(b) * (nibble_of(b + 8, j) + 16 * bit_of(b + 4, j)) + half_of(b + 2);
    case RF_Q4_K:
        return q4_k_value(b, j);
    case RF_Q6_K:
        return q6_k_value(b, j);
    default:
        return NAN;
    }
}

static const rf_dtype kinds[] = {RF_Q8_0, RF_Q4_0, RF_Q4_1, RF_Q5_0, RF_Q5_1, RF_Q4_K, RF_Q6_K};
enum { KINDS = sizeof kinds / sizeof *kinds, BLOCKS = 64 };

/* Any bytes are a block, but scales shall be finite: exponents below the top. */
static uint8_t *random_blocks(rf_dtype dtype, uint64_t seed)
{
    const size_t bytes = rf_dtype_bytes(dtype, rf_dtype_block(dtype));
    uint8_t *blocks = calloc(BLOCKS, bytes);
    for (size_t i = 0; i < BLOCKS * bytes; i++)
        blocks[i] = (uint8_t)(int)(128 + 128 * rf_test_value(seed, i));
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i * bytes + 1] &= 0xBF;
        blocks[i * bytes + 3] &= 0xBF;
        blocks[(i + 1) * bytes - 1] &= 0xBF;
    }
    return blocks;
}

static void dequantise__random_blocks__have_the_values_of_the_formulas(void **state)
{
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        const int items = (int)rf_dtype_block(kinds[k]);
        const size_t bytes = rf_dtype_bytes(kinds[k], items);
        uint8_t *blocks = random_blocks(kinds[k], (uint64_t)k);
        float *wide = malloc((size_t)(BLOCKS * items) * sizeof *wide);
        rf_dequantise(wide, kinds[k], blocks, BLOCKS * items);
        for (int i = 0; i < BLOCKS * items; i++) {
            const double value =
                value_of(kinds[k], blocks + (size_t)(i / items) * bytes, i % items);
            /* two terms that nearly cancel leave the rounding of the larger */
            assert_near(wide[i], value, 2e-7, kinds[k] == RF_Q4_K ? 1e-2 : 1e-6);
        }
        free(wide);
        free(blocks);
    }
}

static void dequantise__exact_formulas__are_exact(void **state)
{
    (void)state;
    const rf_dtype exact[] = {RF_Q8_0, RF_Q4_0, RF_Q5_0};
    for (int k = 0; k < 3; k++) {
        const size_t bytes = rf_dtype_bytes(exact[k], 32);
        uint8_t *blocks = random_blocks(exact[k], 7);
        float wide[32 * BLOCKS];
        rf_dequantise(wide, exact[k], blocks, 32 * BLOCKS);
        for (int i = 0; i < 32 * BLOCKS; i++)
            assert_true((double)wide[i] ==
                        value_of(exact[k], blocks + (size_t)(i / 32) * bytes, i % 32));
        free(blocks);
    }
}

static void quantise__then_back__is_off_by_half_a_step(void **state)
{
    (void)state;
    const struct {
        rf_dtype dtype;
        double steps; /* over the span of a block */
    } held[] = {{RF_Q8_0, 254}, {RF_Q4_0, 16}, {RF_Q4_1, 15}};
    float x[32 * BLOCKS], back[32 * BLOCKS];
    uint8_t blocks[34 * BLOCKS];
    for (int k = 0; k < 3; k++) {
        assert_true(rf_dtype_is_held_block(held[k].dtype));
        for (int i = 0; i < 32 * BLOCKS; i++) x[i] = (float)rf_test_value(11, (uint64_t)i);
        memset(x, 0, 32 * sizeof *x);
        rf_quantise(blocks, held[k].dtype, x, 32 * BLOCKS);
        rf_dequantise(back, held[k].dtype, blocks, 32 * BLOCKS);
        for (int i = 0; i < 32; i++) assert_true(back[i] == 0);
        for (int i = 32; i < 32 * BLOCKS; i++)
            /* Q4_0 cannot reach the far end opposite to its extreme value: one whole step there */
            assert_near(back[i], x[i], 0,
                        (held[k].dtype == RF_Q4_0 ? 1.01 : 0.52) * 2 / held[k].steps);
    }
    assert_false(rf_dtype_is_held_block(RF_Q6_K));
    assert_false(rf_dtype_is_held_block(RF_F32));
}

static void quantise__values_on_the_grid__come_back_unchanged(void **state)
{
    (void)state;
    const rf_dtype held[] = {RF_Q8_0, RF_Q4_0, RF_Q4_1};
    for (int k = 0; k < 3; k++) {
        float x[32], back[32];
        uint8_t block[34];
        for (int i = 0; i < 32; i++)
            x[i] = held[k] == RF_Q8_0 ? 0.25f * (float)(i == 0 ? -127 : 8 * i - 128)
                                      : 0.25f * (float)(i % 16 - 8);
        rf_quantise(block, held[k], x, 32);
        rf_dequantise(back, held[k], block, 32);
        for (int i = 0; i < 32; i++) assert_true(back[i] == x[i]);
    }
}

static void quantise__not_a_number__stays_in_bounds(void **state)
{
    (void)state;
    float x[32];
    uint8_t block[34];
    for (int i = 0; i < 32; i++) x[i] = i % 2 ? NAN : (float)INFINITY;
    rf_quantise(block, RF_Q8_0, x, 32);
    rf_quantise(block, RF_Q4_0, x, 32);
    rf_quantise(block, RF_Q4_1, x, 32);
}

static void convert__blocks__go_by_way_of_f32(void **state)
{
    (void)state;
    enum { N = 4096 + 256 };
    float *wide = malloc(N * sizeof *wide);
    double *wider = malloc(N * sizeof *wider);
    uint16_t *narrow = malloc(N * sizeof *narrow);
    for (int k = 0; k < KINDS; k++) {
        uint8_t *blocks = calloc(1, rf_dtype_bytes(kinds[k], N));
        uint8_t *some = random_blocks(kinds[k], 3);
        const size_t all = rf_dtype_bytes(kinds[k], N);
        const size_t have = BLOCKS * rf_dtype_bytes(kinds[k], rf_dtype_block(kinds[k]));
        memcpy(blocks, some, all < have ? all : have);
        rf_convert(wide, RF_F32, blocks, kinds[k], N);
        rf_convert(wider, RF_F64, blocks, kinds[k], N);
        rf_convert(narrow, RF_BF16, blocks, kinds[k], N);
        for (int i = 0; i < N; i++) {
            assert_true(wider[i] == (double)wide[i]);
            assert_int_equal(narrow[i], rf_bf16_round(wide[i]));
        }
        free(blocks);
        free(some);
    }
    free(wide);
    free(wider);
    free(narrow);
    assert_true(rf_dtype_converts(RF_Q4_1, RF_Q6_K));
    assert_true(rf_dtype_converts(RF_Q6_K, RF_Q6_K));
    assert_false(rf_dtype_converts(RF_Q6_K, RF_F32));
    assert_false(rf_dtype_converts(RF_F32, RF_I32));
}

enum { M = 5, ROWS = 48, COLS = 96 };

/* Tiles that cut blocks of 32 columns, against the same weights widened before. */
static void product_with_blocks__any_tile__equals_widened_up_front(void **state)
{
    (void)state;
    static rf_real x[M * COLS], wide[ROWS * COLS], y[M * COLS], wanted[M * COLS];
    static rf_real scratch[(COLS + 62) * COLS];
    static float plain[ROWS * COLS];
    uint8_t blocks[ROWS * COLS / 32 * 34];
    const rf_dtype held[] = {RF_Q8_0, RF_Q4_0, RF_Q4_1};
    const struct {
        int64_t at, n;
    } tile[] = {{0, 48}, {16, 16}, {16, 32}, {7, 39}};
    rf_test_fill(x, M * COLS, 1);
    for (int i = 0; i < ROWS * COLS; i++) plain[i] = (float)rf_test_value(2, (uint64_t)i);
    for (int k = 0; k < 3; k++) {
        rf_quantise(blocks, held[k], plain, ROWS * COLS);
        rf_convert(wide, RF_DTYPE_REAL, blocks, held[k], ROWS * COLS);
        const rf_weight packed = {held[k], blocks, ROWS, COLS};
        const rf_weight open = {RF_DTYPE_REAL, wide, ROWS, COLS};
        for (int t = 0; t < 4; t++) {
            const int64_t at = tile[t].at, n = tile[t].n;
            assert_true(rf_weight_scratch(&packed, n) <=
                        (int64_t)(sizeof scratch / sizeof *scratch));
            if (at + n <= ROWS) {
                rf_weight_nt(y, n, x, COLS, M, &packed, at, n, 0, scratch);
                rf_weight_nt(wanted, n, x, COLS, M, &open, at, n, 0, scratch);
                assert_memory_equal(y, wanted, (size_t)(M * n) * sizeof *y);
            }
            rf_weight_nn(y, n, x, COLS, M, &packed, at, n, 0, scratch);
            rf_weight_nn(wanted, n, x, COLS, M, &open, at, n, 0, scratch);
            assert_memory_equal(y, wanted, (size_t)(M * n) * sizeof *y);
        }
    }
}

/* As many rows as generation has, against three loops in double. */
static void product_of_few_rows__any_type__is_that_of_the_widened_weight(void **state)
{
    (void)state;
    static rf_real x[RF_FEW_ROWS * COLS], wide[ROWS * COLS], y[RF_FEW_ROWS * ROWS],
        wanted[RF_FEW_ROWS * ROWS], scratch[(COLS + 62) * COLS];
    static double data[ROWS * COLS];
    const rf_dtype held[] = {RF_DTYPE_REAL, RF_BF16, RF_F16, RF_Q8_0, RF_Q4_0, RF_Q4_1};
    rf_test_fill(x, RF_FEW_ROWS * COLS, 1);
    for (int k = 0; k < 12 * RF_FEW_ROWS; k++) {
        const int64_t m = k / 12 + 1, at = 7, n = 39;
        const rf_real beta = (rf_real)(k % 2);
        const rf_weight w = {held[k / 2 % 6], data, ROWS, COLS};
        rf_test_fill(wide, ROWS * COLS, 2);
        rf_convert(data, w.dtype, wide, RF_DTYPE_REAL, ROWS * COLS);
        rf_convert(wide, RF_DTYPE_REAL, data, w.dtype, ROWS * COLS);
        rf_test_fill(y, m * n, 3);
        rf_test_fill(wanted, m * n, 3);
        rf_weight_nt(y, n, x, COLS, m, &w, at, n, beta, scratch);
        rf_gemm_naive(RF_N, RF_T, m, n, COLS, 1, x, COLS, wide + at * COLS, COLS, beta, wanted, n);
        for (int64_t i = 0; i < m * n; i++)
            assert_near((double)y[i], (double)wanted[i], 1e-5, 1e-5);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(dequantise__random_blocks__have_the_values_of_the_formulas),
    cmocka_unit_test(dequantise__exact_formulas__are_exact),
    cmocka_unit_test(quantise__then_back__is_off_by_half_a_step),
    cmocka_unit_test(quantise__values_on_the_grid__come_back_unchanged),
    cmocka_unit_test(quantise__not_a_number__stays_in_bounds),
    cmocka_unit_test(convert__blocks__go_by_way_of_f32),
    cmocka_unit_test(product_of_few_rows__any_type__is_that_of_the_widened_weight),
    cmocka_unit_test(product_with_blocks__any_tile__equals_widened_up_front),
};
RF_TEST_MAIN(tests)
