/** Rotary position embedding, in the "rotate half" convention of transformers' LLaMA. */
#ifndef RF_NN_ROPE_H
#define RF_NN_ROPE_H

#include <stdint.h>

#include "refract/base/arena.h"
#include "refract/base/real.h"

/** How rotary frequencies are stretched (transformers `rope_scaling` / `rope_parameters`). */
typedef enum rf_rope_kind { RF_ROPE_DEFAULT, RF_ROPE_LINEAR, RF_ROPE_LLAMA3 } rf_rope_kind;

typedef struct rf_rope {
    rf_rope_kind kind;
    double theta;
    double factor; /**< linear, llama3 */
    double low_freq_factor, high_freq_factor;
    int64_t original_max_position; /**< llama3: C of the formula */
} rf_rope;

/**
 * w [d_head / 2], radians per position: w_i = theta^(-2 i / d_head), then
 * linear: w_i / factor; llama3, with wave length l = 2 pi / w_i: w_i / factor for l > C / low, w_i
 * for l < C / high, else (1 - t) w_i / factor + t w_i with t = (C / l - low) / (high - low). Local.
 */
void rf_rope_frequencies(double *w, const rf_rope *rope, int64_t d_head);

/** cos and sin of position * w_i, evaluated in double and rounded once. */
typedef struct rf_rope_table {
    int64_t max_position, d_head;
    rf_real *cosine, *sine; /**< [max_position, d_head / 2] each, borrowed from the arena */
} rf_rope_table;

/** Cuts the table for positions 0 .. max_position - 1 from the arena; d_head is even. Local. */
void rf_rope_table_layout(rf_rope_table *table, rf_arena *arena, int64_t max_position,
                          int64_t d_head);

/** Fills the table. Local; threads share out the frequencies. */
void rf_rope_table_fill(rf_rope_table *table, const rf_rope *rope);

/**
 * Rotates every head of x in place: with (a, b) the halves of a head, and c, s the row of its
 * position, (a, b) <- (a c - b s, b c + a s).
 *
 *   x         [tokens, heads * d_head]  in/out  any slice of the heads; rows are `stride` items
 * apart position  [tokens]                  in      below max_position
 *
 * The backward pass rotates the gradient the other way: (a, b) <- (a c + b s, b c - a s).
 * Su et al. 2021, arXiv:2104.09864. Local; threads share out tokens; cannot fail.
 */
void rf_rope_forward(rf_real *x, int64_t stride, const rf_rope_table *table,
                     const int32_t *position, int64_t tokens, int64_t heads);
void rf_rope_backward(rf_real *dx, int64_t stride, const rf_rope_table *table,
                      const int32_t *position, int64_t tokens, int64_t heads);

#endif
