#include <math.h>
#include <string.h>

#include "attention_blocks.h"
#include "refract/linalg/gemm.h"

/* One thread's buffers for a block of queries. */
typedef struct buffers {
    rf_real *query;  /* [stacked, d_head] scaled */
    rf_real *score;  /* [stacked, RF_KEY_BLOCK] scores, then exp(score - top) */
    rf_real *sum_pv; /* [stacked, d_head] */
    rf_real *top;    /* [stacked] largest score so far */
    rf_real *sum;    /* [stacked] of exp(score - top) */
} buffers;

static buffers cut(rf_real *items, int64_t stacked, int64_t d_head)
{
    buffers b = {.query = items};
    b.sum_pv = b.query + stacked * d_head;
    b.score = b.sum_pv + stacked * d_head;
    b.top = b.score + stacked * RF_KEY_BLOCK;
    b.sum = b.top + stacked;
    return b;
}

/* x <- exp(x - top) over whole rows of lanes; returns the sum. */
static rf_real exp_row(rf_real *x, rf_real top, int64_t n)
{
    rf_real lane[RF_SUM_LANES] = {0};
    for (int64_t i = 0; i < n; i += RF_SUM_LANES)
        for (int l = 0; l < RF_SUM_LANES; l++) {
            const rf_real e = rf_exp(x[i + l] - top);
            x[i + l] = e;
            lane[l] += e;
        }
    return rf_sum(lane, RF_SUM_LANES);
}

static void fill(rf_real *x, rf_real value, int64_t begin, int64_t end)
{
    for (int64_t i = begin; i < end; i++) x[i] = value;
}

/* Takes the scores of one query with `keys` more keys, of which it sees `seen`, into its running
 * softmax; returns what its sums so far are to be multiplied with. */
static rf_real soften(rf_real *score, rf_real *top, rf_real *sum, rf_span seen, int64_t keys)
{
    if (seen.begin == seen.end) {
        fill(score, 0, 0, keys);
        return 1;
    }
    const rf_span lanes = rf_whole_lanes(seen);
    fill(score, -(rf_real)INFINITY, lanes.begin, seen.begin);
    fill(score, -(rf_real)INFINITY, seen.end, lanes.end);
    const rf_real most = rf_max(score + lanes.begin, lanes.end - lanes.begin);
    const rf_real higher = most > *top ? most : *top, shrink = rf_exp(*top - higher);
    *sum = *sum * shrink + exp_row(score + lanes.begin, higher, lanes.end - lanes.begin);
    *top = higher;
    fill(score, 0, 0, lanes.begin);
    fill(score, 0, lanes.end, keys);
    return shrink;
}

/* Keys [begin, end) of the sample, whose first key is row `row` of k and v. */
static void take_keys(const rf_attention_pass *f, buffers *b, const rf_query_block *block,
                      int64_t kv_head, int64_t row, rf_span keys, int first)
{
    const int64_t d = f->shape.d_head, stride = f->shape.kv_stride, n = keys.end - keys.begin;
    const int64_t at = (row + keys.begin) * stride + kv_head * d;
    rf_gemm(RF_N, RF_T, block->stacked, n, d, 1, b->query, d, f->k + at, stride, 0, b->score,
            RF_KEY_BLOCK);
    for (int64_t r = 0; r < block->stacked; r++) {
        const int64_t position = block->position + r % block->rows;
        const rf_span seen = rf_visible_part(f->shape.window, position, keys.begin, keys.end);
        const rf_real shrink = soften(b->score + r * RF_KEY_BLOCK, &b->top[r], &b->sum[r], seen, n);
        if (!first) rf_scale(b->sum_pv + r * d, shrink, d);
    }
    rf_gemm(RF_N, RF_N, block->stacked, d, n, 1, b->score, RF_KEY_BLOCK, f->v + at, stride,
            first ? 0 : 1, b->sum_pv, d);
}

static void write_block(const rf_attention_pass *f, const buffers *b, const rf_query_block *block)
{
    const int64_t d = f->shape.d_head, rows = f->shape.q_begin[f->shape.samples];
    for (int64_t r = 0; r < block->stacked; r++) {
        const int64_t head = block->head + r / block->rows, row = block->row + r % block->rows;
        rf_real *o = f->o + row * f->shape.o_stride + head * d;
        for (int64_t i = 0; i < d; i++) o[i] = b->sum_pv[r * d + i] / b->sum[r];
        f->lse[head * rows + row] = b->top[r] + (rf_real)log((double)b->sum[r]);
    }
}

static void run_task(const rf_attention_task *task, rf_real *items)
{
    const rf_attention_pass *f = task->pass;
    const rf_attention *shape = &f->shape;
    const int64_t d = shape->d_head, size = rf_query_rows(shape->group);
    const int64_t begin = task->block * size, queries = rf_sample_queries(shape, task->sample);
    const int64_t end = begin + size < queries ? begin + size : queries;
    const rf_query_block block = rf_query_block_of(shape, task->sample, task->kv_head, begin, end);
    buffers b = cut(items, block.stacked, d);
    rf_query_block_gather(b.query, f->q, shape->q_stride, (rf_real)(1 / sqrt((double)d)), &block,
                          d);
    fill(b.top, -(rf_real)INFINITY, 0, block.stacked);
    fill(b.sum, 0, 0, block.stacked);
    const rf_span seen =
        rf_visible_keys(shape->window, block.position, block.position + block.rows - 1);
    for (int64_t key = seen.begin; key < seen.end; key += RF_KEY_BLOCK) {
        const rf_span keys = {key, key + RF_KEY_BLOCK < seen.end ? key + RF_KEY_BLOCK : seen.end};
        take_keys(f, &b, &block, task->kv_head, shape->k_begin[task->sample], keys,
                  key == seen.begin);
    }
    write_block(f, &b, &block);
}

void rf_attention_forward(const rf_attention_pass *passes, int count,
                          const rf_attention_scratch *scratch, const rf_workspace *workspace)
{
    const int64_t tasks = rf_attention_list(scratch, passes, count, 0);
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = 0; i < tasks; i++) {
        const rf_attention *shape = &scratch->task[i].pass->shape;
        const int64_t items = rf_attention_items(shape->group, shape->d_head);
        run_task(&scratch->task[i], rf_workspace_mine(workspace, items));
    }
}
