#include "refract/nn/dropout.h"

#include <string.h>

#include "refract/base/rng.h"

enum { BLOCK_COLS = 8, BATCH = 24 }; /* one Philox block gives eight 16-bit draws */

uint64_t rf_dropout_row_key(int64_t ordinal, int64_t position)
{
    return rf_stream("dropout", (uint64_t)ordinal, (uint64_t)position);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "draws are halves of words in memory");

/* BATCH Philox blocks side by side, each word in a lane of 64 bits where the products are at home,
 * so that the rounds vectorise; same words as rf_philox. */
static void draw_batch(uint16_t draws[BATCH * BLOCK_COLS], uint64_t key, uint64_t first,
                       uint64_t high)
{
    enum { WORD = 32 };
    const uint64_t low = UINT32_MAX;
    uint64_t x0[BATCH], x1[BATCH], x2[BATCH], x3[BATCH], words[2 * BATCH];
    for (int i = 0; i < BATCH; i++) {
        x0[i] = (first + (uint64_t)i) & low;
        x1[i] = (first + (uint64_t)i) >> WORD;
        x2[i] = high & low;
        x3[i] = high >> WORD;
    }
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> WORD);
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
        for (int i = 0; i < BATCH; i++) {
            const uint64_t p0 = x0[i] * 0xD2511F53u, p1 = x2[i] * 0xCD9E8D57u;
            x0[i] = (p1 >> WORD) ^ x1[i] ^ k0;
            x2[i] = (p0 >> WORD) ^ x3[i] ^ k1;
            x1[i] = p1 & low;
            x3[i] = p0 & low;
        }
    for (int i = 0; i < BATCH; i++) {
        words[2 * i] = x1[i] << WORD | x0[i];
        words[2 * i + 1] = x3[i] << WORD | x2[i];
    }
    memcpy(draws, words, sizeof words);
}

static void apply_row(rf_real *out, const rf_real *x, uint64_t seed, uint64_t high,
                      uint32_t threshold, rf_real scale, int64_t col, int64_t cols)
{
    uint16_t draws[BATCH * BLOCK_COLS];
    const int64_t end = col + cols;
    for (int64_t block = col / BLOCK_COLS; block * BLOCK_COLS < end; block += BATCH) {
        draw_batch(draws, seed, (uint64_t)block, high);
        const int64_t first = block * BLOCK_COLS;
        const int64_t from = first > col ? first : col;
        const int64_t to = first + BATCH * BLOCK_COLS < end ? first + BATCH * BLOCK_COLS : end;
        for (int64_t c = from; c < to; c++)
            out[c - col] = draws[c - first] >= threshold ? x[c - col] * scale : (rf_real)0;
    }
}

void rf_dropout_apply(rf_real *out, int64_t ldo, const rf_real *x, int64_t ldx,
                      const rf_dropout *dropout, double p, uint64_t stream, int64_t row,
                      int64_t rows, int64_t col, int64_t cols)
{
    const uint32_t threshold = (uint32_t)(p * 65536.0 + 0.5);
    const rf_real scale = (rf_real)(65536.0 / (65536.0 - (double)threshold));
    for (int64_t i = 0; i < rows; i++)
        apply_row(out + i * ldo, x + i * ldx, dropout->seed, dropout->row_key[row + i] ^ stream,
                  threshold, scale, col, cols);
}
