#include <math.h>
#include <sched.h>
#include <string.h>

#include "attention_blocks.h"
#include "refract/base/status.h"
#include "refract/linalg/gemm.h"

/* What one task works on. */
typedef struct backward {
    const rf_attention_pass *pass;
    const rf_attention *shape;
    const rf_real *delta; /* [heads of the slice, rows] */
    atomic_int *done;     /* [query blocks of the sample] */
    int64_t rows;         /* of lse and delta */
} backward;

/* One thread's buffers for a block of queries against a block of keys. */
typedef struct buffers {
    rf_real *query;   /* [stacked, d_head] scaled */
    rf_real *d_out;   /* [stacked, d_head] */
    rf_real *d_query; /* [stacked, d_head] before scaling */
    rf_real *p;       /* [stacked, RF_KEY_BLOCK] scores, then probabilities */
    rf_real *ds;      /* [stacked, RF_KEY_BLOCK] gradient of p, then of the scores */
    rf_attention_halves halves;
} buffers;

static buffers cut(const rf_bf16 *bf16, rf_real *items, int64_t group, int64_t d_head)
{
    const int64_t stacked = rf_whole_stacked(group * rf_query_rows(group));
    buffers b = {.query = items};
    b.d_out = b.query + stacked * d_head;
    b.d_query = b.d_out + stacked * d_head;
    b.p = b.d_query + stacked * d_head;
    b.ds = b.p + stacked * RF_KEY_BLOCK;
    b.halves =
        rf_attention_halves_of(bf16, items + rf_attention_reals(group, d_head), group, d_head);
    return b;
}

static rf_real scale_of(int64_t d_head)
{
    return (rf_real)(1 / sqrt((double)d_head));
}

static void clear(rf_real *x, int64_t begin, int64_t end)
{
    if (end > begin) memset(x + begin, 0, (size_t)(end - begin) * sizeof *x);
}

/* p = exp(score - lse) and ds = p (dp - delta) where the query sees the key, else 0. */
static void differentiate(rf_real *restrict p, rf_real *restrict ds, rf_real lse, rf_real delta,
                          rf_span seen, int64_t keys)
{
    for (int64_t i = seen.begin; i < seen.end; i++) {
        const rf_real e = rf_exp(p[i] - lse);
        p[i] = e;
        ds[i] = e * (ds[i] - delta);
    }
    clear(p, 0, seen.begin);
    clear(p, seen.end, keys);
    clear(ds, 0, seen.begin);
    clear(ds, seen.end, keys);
}

/* Rows of p and ds are `width` apart, and filled as far. */
static void differentiate_block(const backward *f, const buffers *b, const rf_query_block *block,
                                rf_span keys, int64_t width)
{
    for (int64_t r = 0; r < block->stacked; r++) {
        const int64_t t = r % block->rows, at = (block->head + r / block->rows) * f->rows;
        const rf_span seen =
            rf_visible_part(f->shape->window, block->position + t, keys.begin, keys.end);
        differentiate(b->p + r * width, b->ds + r * width, f->pass->lse[at + block->row + t],
                      f->delta[at + block->row + t], seen, width);
    }
}

/* dq rows of the block = or += scale * d_query. */
static void give_queries(const backward *f, const buffers *b, const rf_query_block *block,
                         int first)
{
    const int64_t d = f->shape->d_head;
    const rf_real scale = scale_of(d);
    for (int64_t r = 0; r < block->stacked; r++) {
        const int64_t head = block->head + r / block->rows, row = block->row + r % block->rows;
        rf_real *restrict dq = f->pass->dq + row * f->shape->q_stride + head * d;
        const rf_real *restrict part = b->d_query + r * d;
        if (first)
            for (int64_t i = 0; i < d; i++) dq[i] = scale * part[i];
        else
            for (int64_t i = 0; i < d; i++) dq[i] += scale * part[i];
    }
}

/* Key blocks add to a query block's dq in rising order: the one before has to have been here. It is
 * either done or running on another thread, since tasks are handed out in order, and it never waits
 * for a later one. */
static void await(atomic_int *done, int before)
{
    while (atomic_load_explicit(done, memory_order_acquire) != before) sched_yield();
}

/* One block of queries against keys [keys.begin, keys.end) of the sample, at item `at` of k and v.
 */
static void take_queries(const backward *f, const buffers *b, const rf_query_block *block,
                         int64_t at, rf_span keys)
{
    const int64_t d = f->shape->d_head, stride = f->shape->kv_stride, m = block->stacked;
    const int64_t n = keys.end - keys.begin;
    rf_query_block_gather(b->query, f->pass->q, f->shape->q_stride, scale_of(d), block, d);
    rf_query_block_gather(b->d_out, f->pass->d_o, f->shape->o_stride, 1, block, d);
    rf_gemm(RF_N, RF_T, m, n, d, 1, b->query, d, f->pass->k + at, stride, 0, b->p, RF_KEY_BLOCK);
    rf_gemm(RF_N, RF_T, m, n, d, 1, b->d_out, d, f->pass->v + at, stride, 0, b->ds, RF_KEY_BLOCK);
    differentiate_block(f, b, block, keys, RF_KEY_BLOCK);
    rf_gemm(RF_T, RF_N, n, d, m, 1, b->p, RF_KEY_BLOCK, b->d_out, d, 1, f->pass->dv + at, stride);
    rf_gemm(RF_T, RF_N, n, d, m, 1, b->ds, RF_KEY_BLOCK, b->query, d, 1, f->pass->dk + at, stride);
    rf_gemm(RF_N, RF_N, m, d, n, 1, b->ds, RF_KEY_BLOCK, f->pass->k + at, stride, 0, b->d_query, d);
}

/* rows of out (row stride `stride`) += part [rows, d]. */
static void add_rows(rf_real *out, int64_t stride, const rf_real *part, int64_t rows, int64_t d)
{
    for (int64_t i = 0; i < rows; i++) rf_add(out + i * stride, part + i * d, d);
}

/* The same with bf16 operands; `first` is the first of the keys within the block. */
static void take_queries_bf16(const backward *f, const buffers *b, const rf_query_block *block,
                              int64_t at, rf_span keys, int64_t first)
{
    const rf_attention_halves *h = &b->halves;
    const int64_t d = f->shape->d_head, stride = f->shape->kv_stride, rows = block->stacked;
    const int64_t n = keys.end - keys.begin;
    const int64_t m = rf_whole_stacked(rows), whole = rf_whole_keys(n);
    const uint16_t *key = h->key + first * d, *value = h->value + first * d;
    rf_query_block_gather(b->query, f->pass->q, f->shape->q_stride, scale_of(d), block, d);
    rf_query_block_gather(b->d_out, f->pass->d_o, f->shape->o_stride, 1, block, d);
    rf_halve_rows(h->query, b->query, d, rows, m, d);
    rf_halve_rows(h->d_out, b->d_out, d, rows, m, d);
    rf_bf16_dense(h->bf16, b->p, RF_N, RF_T, m, whole, d, h->query, key, h->scratch);
    rf_bf16_dense(h->bf16, b->ds, RF_N, RF_T, m, whole, d, h->d_out, value, h->scratch);
    differentiate_block(f, b, block, keys, whole);
    rf_halve_rows(h->p, b->p, whole, rows, m, whole);
    rf_halve_rows(h->ds, b->ds, whole, rows, m, whole);
    rf_bf16_dense(h->bf16, h->part, RF_T, RF_N, whole, d, m, h->p, h->d_out, h->scratch);
    add_rows(f->pass->dv + at, stride, h->part, n, d);
    rf_bf16_dense(h->bf16, h->part, RF_T, RF_N, whole, d, m, h->ds, h->query, h->scratch);
    add_rows(f->pass->dk + at, stride, h->part, n, d);
    rf_bf16_dense(h->bf16, b->d_query, RF_N, RF_N, m, d, whole, h->ds, key, h->scratch);
}

static void query_block(const backward *f, const buffers *b, const rf_attention_task *task,
                        int64_t index)
{
    const rf_attention *shape = f->shape;
    const int64_t size = rf_query_rows(shape->group), begin = index * size;
    const int64_t queries = rf_sample_queries(shape, task->sample);
    const rf_query_block block = rf_query_block_of(shape, task->sample, task->kv_head, begin,
                                                   begin + size < queries ? begin + size : queries);
    const rf_span seen =
        rf_visible_keys(shape->window, block.position, block.position + block.rows - 1);
    const int64_t low = task->block * RF_KEY_BLOCK, high = low + RF_KEY_BLOCK;
    const rf_span keys = {seen.begin > low ? seen.begin : low, seen.end < high ? seen.end : high};
    const int64_t row = shape->k_begin[task->sample] + keys.begin;
    const int64_t at = row * shape->kv_stride + task->kv_head * shape->d_head;
    if (b->halves.bf16)
        take_queries_bf16(f, b, &block, at, keys, keys.begin - low);
    else
        take_queries(f, b, &block, at, keys);

    const int before = (int)(task->block - seen.begin / RF_KEY_BLOCK);
    await(&f->done[index], before);
    give_queries(f, b, &block, before == 0);
    atomic_store_explicit(&f->done[index], before + 1, memory_order_release);
}

/* Query blocks of a sample that see at least one of its keys [begin, end). */
static rf_span seeing_blocks(const rf_attention *shape, int64_t sample, int64_t begin, int64_t end)
{
    const int64_t queries = rf_sample_queries(shape, sample), size = rf_query_rows(shape->group);
    const int64_t cached = rf_sample_keys(shape, sample) - queries;
    const int64_t last = shape->window > 0 ? end - 1 + shape->window - cached : queries;
    const int64_t stop = last < queries ? last : queries,
                  start = begin > cached ? begin - cached : 0;
    return (rf_span){start / size, start < stop ? (stop + size - 1) / size : start / size};
}

static void run_task(const backward *f, const rf_attention_task *task, const buffers *b)
{
    const rf_attention *shape = f->shape;
    const int64_t d = shape->d_head;
    const int64_t begin = task->block * RF_KEY_BLOCK, keys = rf_sample_keys(shape, task->sample);
    const int64_t end = begin + RF_KEY_BLOCK < keys ? begin + RF_KEY_BLOCK : keys;
    for (int64_t j = begin; j < end; j++) {
        const int64_t at =
            (shape->k_begin[task->sample] + j) * shape->kv_stride + task->kv_head * d;
        clear(f->pass->dk + at, 0, d);
        clear(f->pass->dv + at, 0, d);
    }
    if (b->halves.bf16) {
        const int64_t at =
            (shape->k_begin[task->sample] + begin) * shape->kv_stride + task->kv_head * d;
        enum { WHOLE = RF_KEY_BLOCK + RF_SUM_LANES };
        rf_halve_rows(b->halves.key, f->pass->k + at, shape->kv_stride, end - begin, WHOLE, d);
        rf_halve_rows(b->halves.value, f->pass->v + at, shape->kv_stride, end - begin, WHOLE, d);
    }
    const rf_span blocks = seeing_blocks(shape, task->sample, begin, end);
    for (int64_t index = blocks.begin; index < blocks.end; index++) query_block(f, b, task, index);
}

/* delta = rowsum(do * o), for every head and row of a slice; shared out over the threads. */
static void share_delta(rf_real *delta, const rf_attention_pass *pass)
{
    const rf_attention *shape = &pass->shape;
    const int64_t d = shape->d_head, heads = shape->kv_heads * shape->group;
    const int64_t rows = shape->q_begin[shape->samples];
#pragma omp for schedule(static) nowait
    for (int64_t row = shape->q_begin[0]; row < rows; row++)
        for (int64_t head = 0; head < heads; head++) {
            const int64_t at = row * shape->o_stride + head * d;
            delta[head * rows + row] = rf_dot(pass->d_o + at, pass->o + at, d);
        }
}

static int64_t rows_of(const rf_attention_scratch *scratch, const rf_attention *shape)
{
    const int64_t rows = shape->q_begin[shape->samples];
    RF_ASSERT(rows <= scratch->most_rows, "%lld rows in attention scratch for %lld",
              (long long)rows, (long long)scratch->most_rows);
    return rows;
}

static void find_deltas(const rf_attention_scratch *scratch, const rf_attention_pass *passes,
                        int count)
{
#pragma omp parallel
    for (int p = 0, heads = 0; p < count; p++) {
        const rf_attention *shape = &passes[p].shape;
        share_delta(scratch->delta + heads * rows_of(scratch, shape), &passes[p]);
        heads += (int)(shape->kv_heads * shape->group);
    }
}

void rf_attention_backward(const rf_attention_pass *passes, int count,
                           const rf_attention_scratch *scratch, const rf_workspace *workspace)
{
    find_deltas(scratch, passes, count);
    const int64_t tasks = rf_attention_list(scratch, passes, count, 1);
    for (int64_t i = 0; i < scratch->most_tasks; i++)
        atomic_store_explicit(&scratch->done[i], 0, memory_order_relaxed);
#pragma omp parallel for schedule(monotonic : dynamic, 1)
    for (int64_t i = 0; i < tasks; i++) {
        const rf_attention_task *task = &scratch->task[i];
        const rf_attention *shape = &task->pass->shape;
        const int64_t rows = rows_of(scratch, shape);
        const backward f = {.pass = task->pass,
                            .shape = shape,
                            .delta = scratch->delta + task->heads * rows,
                            .done = scratch->done + task->first,
                            .rows = rows};
        const int64_t items = rf_attention_items(shape->group, shape->d_head);
        const buffers b =
            cut(scratch->bf16, rf_workspace_mine(workspace, items), shape->group, shape->d_head);
        run_task(&f, task, &b);
    }
}
