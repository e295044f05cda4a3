#include "refract/nn/dropout.h"

#include "refract/base/rng.h"

enum { BLOCK_COLS = 8, BATCH = 16 }; /* one Philox block gives eight 16-bit draws */

uint64_t rf_dropout_row_key(int64_t ordinal, int64_t position)
{
    return rf_stream("dropout", (uint64_t)ordinal, (uint64_t)position);
}

/* BATCH Philox blocks side by side, so that the rounds vectorise; same words as rf_philox. */
static void draw_batch(uint16_t draws[BATCH * BLOCK_COLS], uint64_t key, uint64_t first,
                       uint64_t high)
{
    uint32_t x0[BATCH], x1[BATCH], x2[BATCH], x3[BATCH];
    for (int i = 0; i < BATCH; i++) {
        x0[i] = (uint32_t)(first + (uint64_t)i);
        x1[i] = (uint32_t)((first + (uint64_t)i) >> 32);
        x2[i] = (uint32_t)high;
        x3[i] = (uint32_t)(high >> 32);
    }
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
        for (int i = 0; i < BATCH; i++) {
            const uint64_t p0 = (uint64_t)0xD2511F53u * x0[i];
            const uint64_t p1 = (uint64_t)0xCD9E8D57u * x2[i];
            const uint32_t next0 = (uint32_t)(p1 >> 32) ^ x1[i] ^ k0;
            const uint32_t next2 = (uint32_t)(p0 >> 32) ^ x3[i] ^ k1;
            x1[i] = (uint32_t)p1;
            x3[i] = (uint32_t)p0;
            x0[i] = next0;
            x2[i] = next2;
        }
    for (int i = 0; i < BATCH; i++) {
        const uint32_t words[4] = {x0[i], x1[i], x2[i], x3[i]};
        for (int w = 0; w < 4; w++) {
            draws[i * BLOCK_COLS + 2 * w] = (uint16_t)words[w];
            draws[i * BLOCK_COLS + 2 * w + 1] = (uint16_t)(words[w] >> 16);
        }
    }
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
