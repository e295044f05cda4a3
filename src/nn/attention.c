#include "refract/nn/attention.h"

#include <string.h>

#include "attention_blocks.h"
#include "refract/base/status.h"

static int64_t blocks_of(int64_t n, int64_t size)
{
    return (n + size - 1) / size;
}

void rf_attention_scratch_layout(rf_attention_scratch *scratch, rf_arena *arena, int64_t kv_heads,
                                 int64_t group, int64_t rows, int64_t samples)
{
    const int64_t blocks = rows / rf_query_rows(group) + samples;
    *scratch = (rf_attention_scratch){.most_tasks = blocks * kv_heads, .most_rows = rows};
    scratch->task = RF_TAKE(arena, rf_attention_task, blocks * kv_heads);
    scratch->done = RF_TAKE(arena, atomic_int, blocks * kv_heads);
    scratch->delta = RF_TAKE(arena, rf_real, kv_heads * group * rows);
}

int64_t rf_attention_reals(int64_t group, int64_t d_head)
{
    const int64_t stacked = rf_whole_stacked(group * rf_query_rows(group));
    return stacked * (2 * RF_KEY_BLOCK + 3 * d_head + 2);
}

static int64_t most_stacked(int64_t group)
{
    return rf_whole_stacked(group * rf_query_rows(group));
}

static int64_t cut_halves(rf_attention_halves *h, rf_real *items, int64_t group, int64_t d_head)
{
    const int64_t stacked = most_stacked(group), keys = RF_KEY_BLOCK + RF_SUM_LANES;
    const int64_t scratch = rf_bf16_dense_scratch(stacked, keys, d_head) + (stacked + keys) * keys;
    const int64_t reals = stacked * d_head + keys * d_head + stacked * keys;
    if (h) {
        h->query = (uint16_t *)(void *)items;
        h->d_out = h->query + stacked * d_head;
        h->key = h->d_out + stacked * d_head;
        h->value = h->key + keys * d_head;
        h->p = h->value + keys * d_head;
        h->ds = h->p + stacked * keys;
        h->part = items + reals;
        h->scratch = h->part + (stacked > keys ? stacked : keys) * d_head;
    }
    return reals + (stacked > keys ? stacked : keys) * d_head + scratch;
}

rf_attention_halves rf_attention_halves_of(const rf_bf16 *bf16, rf_real *items, int64_t group,
                                           int64_t d_head)
{
    rf_attention_halves h = {.bf16 = bf16};
    cut_halves(&h, items, group, d_head);
    return h;
}

int64_t rf_attention_items(int64_t group, int64_t d_head)
{
    return rf_attention_reals(group, d_head) + cut_halves(NULL, NULL, group, d_head);
}

void rf_halve_rows(uint16_t *to, const rf_real *x, int64_t stride, int64_t rows, int64_t whole,
                   int64_t cols)
{
    if (stride == cols)
        rf_bf16_take(to, x, rows * cols);
    else
        for (int64_t i = 0; i < rows; i++) rf_bf16_take(to + i * cols, x + i * stride, cols);
    memset(to + rows * cols, 0, (size_t)((whole - rows) * cols) * sizeof *to);
}

rf_query_block rf_query_block_of(const rf_attention *shape, int64_t sample, int64_t kv_head,
                                 int64_t begin, int64_t end)
{
    const int64_t cached = rf_sample_keys(shape, sample) - rf_sample_queries(shape, sample);
    return (rf_query_block){.row = shape->q_begin[sample] + begin,
                            .rows = end - begin,
                            .stacked = shape->group * (end - begin),
                            .position = cached + begin,
                            .head = kv_head * shape->group};
}

void rf_query_block_gather(rf_real *to, const rf_real *x, int64_t stride, rf_real scale,
                           const rf_query_block *block, int64_t d_head)
{
    for (int64_t r = 0; r < block->stacked; r++) {
        const int64_t head = block->head + r / block->rows, row = block->row + r % block->rows;
        const rf_real *from = x + row * stride + head * d_head;
        for (int64_t i = 0; i < d_head; i++) to[r * d_head + i] = scale * from[i];
    }
}

static int64_t sample_blocks(const rf_attention *shape, int64_t sample, int backward)
{
    if (rf_sample_queries(shape, sample) == 0) return 0;
    return backward ? blocks_of(rf_sample_keys(shape, sample), RF_KEY_BLOCK)
                    : blocks_of(rf_sample_queries(shape, sample), rf_query_rows(shape->group));
}

static int64_t most_blocks(const rf_attention_pass *passes, int count, int backward)
{
    int64_t most = 0;
    for (int p = 0; p < count; p++)
        for (int64_t s = 0; s < passes[p].shape.samples; s++) {
            const int64_t blocks = sample_blocks(&passes[p].shape, s, backward);
            most = blocks > most ? blocks : most;
        }
    return most;
}

/* Adds the tasks of a slice that have `left` tasks to their sample's end, its own included. */
static int64_t list_slice(const rf_attention_scratch *scratch, rf_attention_task next, int64_t left,
                          int backward, int64_t count)
{
    const rf_attention *shape = &next.pass->shape;
    for (next.sample = 0; next.sample < shape->samples; next.sample++) {
        const int64_t blocks = sample_blocks(shape, next.sample, backward);
        const int64_t query_blocks = sample_blocks(shape, next.sample, 0);
        next.block = backward ? blocks - left : left - 1;
        for (next.kv_head = 0; next.kv_head < shape->kv_heads; next.kv_head++) {
            if (blocks >= left) {
                RF_ASSERT(count < scratch->most_tasks, "attention scratch is for %lld tasks",
                          (long long)scratch->most_tasks);
                scratch->task[count++] = next;
            }
            next.first += query_blocks;
        }
    }
    return count;
}

int64_t rf_attention_list(const rf_attention_scratch *scratch, const rf_attention_pass *passes,
                          int count, int backward)
{
    int64_t tasks = 0;
    for (int64_t left = most_blocks(passes, count, backward); left > 0; left--) {
        rf_attention_task next = {0};
        for (int p = 0; p < count; p++) {
            const rf_attention *shape = &passes[p].shape;
            next.pass = &passes[p];
            tasks = list_slice(scratch, next, left, backward, tasks);
            next.heads += shape->kv_heads * shape->group;
            for (int64_t s = 0; s < shape->samples; s++)
                next.first += shape->kv_heads * sample_blocks(shape, s, 0);
        }
    }
    return tasks;
}
