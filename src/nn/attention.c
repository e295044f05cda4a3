#include "refract/nn/attention.h"

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

int64_t rf_attention_items(int64_t group, int64_t d_head)
{
    const int64_t stacked = group * rf_query_rows(group);
    return stacked * (2 * RF_KEY_BLOCK + 3 * d_head + 2);
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

static int64_t most_blocks(const rf_attention *shape, int backward)
{
    int64_t most = 0;
    for (int64_t s = 0; s < shape->samples; s++) {
        const int64_t blocks = sample_blocks(shape, s, backward);
        most = blocks > most ? blocks : most;
    }
    return most;
}

int64_t rf_attention_list(const rf_attention_scratch *scratch, const rf_attention *shape,
                          int backward)
{
    int64_t count = 0;
    for (int64_t left = most_blocks(shape, backward); left > 0; left--)
        for (int64_t s = 0, first = 0; s < shape->samples; s++) {
            const int64_t blocks = sample_blocks(shape, s, backward);
            for (int64_t g = 0; blocks >= left && g < shape->kv_heads; g++) {
                RF_ASSERT(count < scratch->most_tasks, "attention scratch is for %lld tasks",
                          (long long)scratch->most_tasks);
                scratch->task[count++] =
                    (rf_attention_task){.sample = s,
                                        .kv_head = g,
                                        .block = backward ? blocks - left : left - 1,
                                        .first = first};
            }
            first += sample_blocks(shape, s, 0);
        }
    return count;
}
