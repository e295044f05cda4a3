/**
 * Blocks of quantised numbers, as ggml lays them out (ggml-org/ggml, `ggml-common.h`). With f16
 * scales d, m and whole numbers q; item j of a 4-bit block of 32 is the low half of byte j, item
 * j + 16 its high half; the fifth bits of Q5 are bits j of a 32-bit word.
 *
 *   Q8_0  d, int8 q[32]              x = d q
 *   Q4_0  d, q[16 bytes]             x = d (q - 8)
 *   Q4_1  d, m, q[16 bytes]          x = d q + m
 *   Q5_0  d, h[4], q[16 bytes]       x = d (q - 16)
 *   Q5_1  d, m, h[4], q[16 bytes]    x = d q + m
 *   Q4_K  d, m, s[12], q[128 bytes]  x = d s_b q - m t_b, eight sub-blocks b of 32 items, 6-bit s,
 * t Q6_K  q[128], h[64], int8 s[16], d   x = d s_b (q - 32), sixteen sub-blocks of 16 items
 *
 * The value of an item is this formula in f32, each operation rounded once.
 */
#ifndef RF_LINALG_QUANT_H
#define RF_LINALG_QUANT_H

#include <stdint.h>

#include "refract/base/dtype.h"

/** 1 for the types that rf_quantise makes, in which frozen weights can be held. Local. */
int rf_dtype_is_held_block(rf_dtype dtype);

/** n items (whole blocks) of a block type to f32. Blocks need no alignment. Local; cannot fail. */
void rf_dequantise(float *out, rf_dtype dtype, const void *blocks, int64_t n);

/**
 * f32 to Q8_0, Q4_0 or Q4_1 (else a bug), n items. The scale is that of ggml's reference:
 * max |x| / 127; the extreme value / -8; (max - min) / 15. Local; cannot fail.
 */
void rf_quantise(void *blocks, rf_dtype dtype, const float *in, int64_t n);

/**
 * y[j] = sum_i w[j][i] x[i] for `rows` rows of n items (whole blocks of 32) in Q4_1, straight from
 * the blocks; sums [n / 32][2]: 0, then the sum of x over the block. The bits of y[j] depend on
 * row j and x alone. Local; cannot fail.
 */
void rf_rows_q4_1(float *y, const void *blocks, int64_t rows, const float *x, const float *sums,
                  int64_t n);
/** The same in Q8_0, which needs no sums. Local; cannot fail. */
void rf_rows_q8_0(float *y, const void *blocks, int64_t rows, const float *x, int64_t n);

#endif
