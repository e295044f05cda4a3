#include "refract/nn/rope.h"

#include <math.h>

#include "refract/base/status.h"

static double stretch(double w, const rf_rope *rope)
{
    if (rope->kind == RF_ROPE_DEFAULT) return w;
    if (rope->kind == RF_ROPE_LINEAR) return w / rope->factor;
    const double turns = (double)rope->original_max_position * w / (2 * acos(-1.0)); /* C / l */
    if (turns < rope->low_freq_factor) return w / rope->factor;
    if (turns > rope->high_freq_factor) return w;
    const double t =
        (turns - rope->low_freq_factor) / (rope->high_freq_factor - rope->low_freq_factor);
    return (1 - t) * w / rope->factor + t * w;
}

static double frequency(const rf_rope *rope, int64_t i, int64_t d_head)
{
    return stretch(pow(rope->theta, -2.0 * (double)i / (double)d_head), rope);
}

void rf_rope_frequencies(double *w, const rf_rope *rope, int64_t d_head)
{
    for (int64_t i = 0; i < d_head / 2; i++) w[i] = frequency(rope, i, d_head);
}

void rf_rope_table_layout(rf_rope_table *table, rf_arena *arena, int64_t max_position,
                          int64_t d_head)
{
    RF_ASSERT(d_head % 2 == 0, "d_head %lld is odd", (long long)d_head);
    *table = (rf_rope_table){.max_position = max_position, .d_head = d_head};
    table->cosine = RF_TAKE(arena, rf_real, max_position * d_head / 2);
    table->sine = RF_TAKE(arena, rf_real, max_position * d_head / 2);
}

void rf_rope_table_fill(rf_rope_table *table, const rf_rope *rope)
{
    const int64_t half = table->d_head / 2;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < half; i++) {
        const double w = frequency(rope, i, table->d_head);
        for (int64_t p = 0; p < table->max_position; p++) {
            table->cosine[p * half + i] = (rf_real)cos((double)p * w);
            table->sine[p * half + i] = (rf_real)sin((double)p * w);
        }
    }
}

/* Turns the heads of one row by the angles whose cosines and (signed) sines are given. */
static void turn_row(rf_real *x, const rf_real *cosine, const rf_real *sine, rf_real sign,
                     int64_t heads, int64_t half)
{
    for (int64_t head = 0; head < heads; head++) {
        rf_real *restrict a = x + head * 2 * half, *restrict b = a + half;
        for (int64_t i = 0; i < half; i++) {
            const rf_real c = cosine[i], s = sign * sine[i], left = a[i], right = b[i];
            a[i] = left * c - right * s;
            b[i] = right * c + left * s;
        }
    }
}

static void turn(rf_real *x, int64_t stride, const rf_rope_table *table, const int32_t *position,
                 int64_t tokens, int64_t heads, rf_real sign)
{
    const int64_t half = table->d_head / 2;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tokens; t++) {
        const int64_t p = position[t];
        RF_ASSERT(p >= 0 && p < table->max_position, "position %lld of row %lld, table of %lld",
                  (long long)p, (long long)t, (long long)table->max_position);
        turn_row(x + t * stride, table->cosine + p * half, table->sine + p * half, sign, heads,
                 half);
    }
}

void rf_rope_forward(rf_real *x, int64_t stride, const rf_rope_table *table,
                     const int32_t *position, int64_t tokens, int64_t heads)
{
    turn(x, stride, table, position, tokens, heads, 1);
}

void rf_rope_backward(rf_real *dx, int64_t stride, const rf_rope_table *table,
                      const int32_t *position, int64_t tokens, int64_t heads)
{
    turn(dx, stride, table, position, tokens, heads, -1);
}
