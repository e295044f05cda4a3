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
    rf_attention_halves halves;
} buffers;

static buffers cut(const rf_bf16 *bf16, rf_real *items, int64_t group, int64_t d_head)
{
    const int64_t stacked = rf_whole_stacked(group * rf_query_rows(group));
    buffers b = {.query = items};
    b.sum_pv = b.query + stacked * d_head;
    b.score = b.sum_pv + stacked * d_head;
    b.top = b.score + stacked * RF_KEY_BLOCK;
    b.sum = b.top + stacked;
    b.halves =
        rf_attention_halves_of(bf16, items + rf_attention_reals(group, d_head), group, d_head);
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

/* Scores [stacked, keys], rows `width` apart, to exp(score - top). */
static void soften_block(const rf_attention_pass *f, buffers *b, const rf_query_block *block,
                         rf_span keys, int64_t width, int64_t filled, int first)
{
    const int64_t d = f->shape.d_head;
    for (int64_t r = 0; r < block->stacked; r++) {
        const int64_t position = block->position + r % block->rows;
        const rf_span seen = rf_visible_part(f->shape.window, position, keys.begin, keys.end);
        const rf_real shrink = soften(b->score + r * width, &b->top[r], &b->sum[r], seen, filled);
        if (!first) rf_scale(b->sum_pv + r * d, shrink, d);
    }
}

/* Keys [begin, end) of the sample, whose first one is item `at` of k and v. */
static void take_keys(const rf_attention_pass *f, buffers *b, const rf_query_block *block,
                      int64_t at, rf_span keys, int first)
{
    const int64_t d = f->shape.d_head, stride = f->shape.kv_stride, n = keys.end - keys.begin;
    rf_gemm(RF_N, RF_T, block->stacked, n, d, 1, b->query, d, f->k + at, stride, 0, b->score,
            RF_KEY_BLOCK);
    soften_block(f, b, block, keys, RF_KEY_BLOCK, n, first);
    rf_gemm(RF_N, RF_N, block->stacked, d, n, 1, b->score, RF_KEY_BLOCK, f->v + at, stride,
            first ? 0 : 1, b->sum_pv, d);
}

/* The same with bf16 operands: whole blocks of rows and keys, zeros where nothing is. */
static void take_keys_bf16(const rf_attention_pass *f, buffers *b, const rf_query_block *block,
                           int64_t at, rf_span keys, int first)
{
    const rf_attention_halves *h = &b->halves;
    const int64_t d = f->shape.d_head, stride = f->shape.kv_stride, n = keys.end - keys.begin;
    const int64_t m = rf_whole_stacked(block->stacked), whole = rf_whole_keys(n);
    rf_halve_rows(h->key, f->k + at, stride, n, whole, d);
    rf_halve_rows(h->value, f->v + at, stride, n, whole, d);
    rf_bf16_dense(h->bf16, b->score, RF_N, RF_T, m, whole, d, h->query, h->key, h->scratch);
    soften_block(f, b, block, keys, whole, whole, first);
    rf_halve_rows(h->p, b->score, whole, block->stacked, m, whole);
    rf_bf16_dense(h->bf16, first ? b->sum_pv : h->part, RF_N, RF_N, m, d, whole, h->p, h->value,
                  h->scratch);
    if (!first) rf_add(b->sum_pv, h->part, block->stacked * d);
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

static void run_task(const rf_attention_task *task, const rf_bf16 *bf16, rf_real *items)
{
    const rf_attention_pass *f = task->pass;
    const rf_attention *shape = &f->shape;
    const int64_t d = shape->d_head, size = rf_query_rows(shape->group);
    const int64_t begin = task->block * size, queries = rf_sample_queries(shape, task->sample);
    const int64_t end = begin + size < queries ? begin + size : queries;
    const rf_query_block block = rf_query_block_of(shape, task->sample, task->kv_head, begin, end);
    buffers b = cut(bf16, items, shape->group, d);
    rf_query_block_gather(b.query, f->q, shape->q_stride, (rf_real)(1 / sqrt((double)d)), &block,
                          d);
    if (bf16)
        rf_halve_rows(b.halves.query, b.query, d, block.stacked, rf_whole_stacked(block.stacked),
                      d);
    fill(b.top, -(rf_real)INFINITY, 0, block.stacked);
    fill(b.sum, 0, 0, block.stacked);
    const rf_span seen =
        rf_visible_keys(shape->window, block.position, block.position + block.rows - 1);
    for (int64_t key = seen.begin; key < seen.end; key += RF_KEY_BLOCK) {
        const rf_span keys = {key, key + RF_KEY_BLOCK < seen.end ? key + RF_KEY_BLOCK : seen.end};
        const int64_t row = shape->k_begin[task->sample] + key;
        (bf16 ? take_keys_bf16 : take_keys)(
            f, &b, &block, row * shape->kv_stride + task->kv_head * d, keys, key == seen.begin);
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
        run_task(&scratch->task[i], scratch->bf16, rf_workspace_mine(workspace, items));
    }
}
