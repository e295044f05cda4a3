#include <math.h>
#include <sched.h>
#include <string.h>

#include "attention_blocks.h"
#include "refract/base/status.h"
#include "refract/linalg/gemm.h"

typedef struct backward {
    const rf_attention *shape;
    const rf_attention_scratch *scratch;
    rf_real *dq, *dk, *dv;
    const rf_real *d_o, *q, *k, *v, *lse;
    int64_t rows; /* of lse and delta */
} backward;

/* One thread's buffers for a block of queries against a block of keys. */
typedef struct buffers {
    rf_real *query;   /* [stacked, d_head] scaled */
    rf_real *d_out;   /* [stacked, d_head] */
    rf_real *d_query; /* [stacked, d_head] before scaling */
    rf_real *p;       /* [stacked, RF_KEY_BLOCK] scores, then probabilities */
    rf_real *ds;      /* [stacked, RF_KEY_BLOCK] gradient of p, then of the scores */
} buffers;

static buffers cut(rf_real *items, int64_t stacked, int64_t d_head)
{
    buffers b = {.query = items};
    b.d_out = b.query + stacked * d_head;
    b.d_query = b.d_out + stacked * d_head;
    b.p = b.d_query + stacked * d_head;
    b.ds = b.p + stacked * RF_KEY_BLOCK;
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

static void differentiate_block(const backward *f, const buffers *b, const rf_query_block *block,
                                rf_span keys)
{
    for (int64_t r = 0; r < block->stacked; r++) {
        const int64_t t = r % block->rows, at = (block->head + r / block->rows) * f->rows;
        const rf_span seen =
            rf_visible_part(f->shape->window, block->position + t, keys.begin, keys.end);
        differentiate(b->p + r * RF_KEY_BLOCK, b->ds + r * RF_KEY_BLOCK,
                      f->lse[at + block->row + t], f->scratch->delta[at + block->row + t], seen,
                      keys.end - keys.begin);
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
        rf_real *restrict dq = f->dq + row * f->shape->q_stride + head * d;
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
    rf_query_block_gather(b->query, f->q, f->shape->q_stride, scale_of(d), block, d);
    rf_query_block_gather(b->d_out, f->d_o, f->shape->o_stride, 1, block, d);
    rf_gemm(RF_N, RF_T, m, n, d, 1, b->query, d, f->k + at, stride, 0, b->p, RF_KEY_BLOCK);
    rf_gemm(RF_N, RF_T, m, n, d, 1, b->d_out, d, f->v + at, stride, 0, b->ds, RF_KEY_BLOCK);
    differentiate_block(f, b, block, keys);
    rf_gemm(RF_T, RF_N, n, d, m, 1, b->p, RF_KEY_BLOCK, b->d_out, d, 1, f->dv + at, stride);
    rf_gemm(RF_T, RF_N, n, d, m, 1, b->ds, RF_KEY_BLOCK, b->query, d, 1, f->dk + at, stride);
    rf_gemm(RF_N, RF_N, m, d, n, 1, b->ds, RF_KEY_BLOCK, f->k + at, stride, 0, b->d_query, d);
}

static void query_block(const backward *f, const rf_attention_task *task, int64_t index,
                        rf_real *items)
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
    const buffers b = cut(items, block.stacked, shape->d_head);
    const int64_t row = shape->k_begin[task->sample] + keys.begin;
    take_queries(f, &b, &block, row * shape->kv_stride + task->kv_head * shape->d_head, keys);

    atomic_int *done = &f->scratch->done[(task->first + index) * shape->kv_heads + task->kv_head];
    const int before = (int)(task->block - seen.begin / RF_KEY_BLOCK);
    await(done, before);
    give_queries(f, &b, &block, before == 0);
    atomic_store_explicit(done, before + 1, memory_order_release);
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

static void run_task(const backward *f, const rf_attention_task *task, rf_real *items)
{
    const rf_attention *shape = f->shape;
    const int64_t begin = task->block * RF_KEY_BLOCK, keys = rf_sample_keys(shape, task->sample);
    const int64_t end = begin + RF_KEY_BLOCK < keys ? begin + RF_KEY_BLOCK : keys;
    for (int64_t j = begin; j < end; j++) {
        const int64_t at =
            (shape->k_begin[task->sample] + j) * shape->kv_stride + task->kv_head * shape->d_head;
        clear(f->dk + at, 0, shape->d_head);
        clear(f->dv + at, 0, shape->d_head);
    }
    const rf_span blocks = seeing_blocks(shape, task->sample, begin, end);
    for (int64_t index = blocks.begin; index < blocks.end; index++)
        query_block(f, task, index, items);
}

/* delta = rowsum(do * o), for every head and row. */
static void find_delta(const backward *f, const rf_real *o)
{
    const int64_t d = f->shape->d_head, heads = f->shape->kv_heads * f->shape->group;
#pragma omp parallel for schedule(static)
    for (int64_t row = f->shape->q_begin[0]; row < f->rows; row++)
        for (int64_t head = 0; head < heads; head++) {
            const int64_t at = row * f->shape->o_stride + head * d;
            f->scratch->delta[head * f->rows + row] = rf_dot(f->d_o + at, o + at, d);
        }
}

void rf_attention_backward(rf_real *dq, rf_real *dk, rf_real *dv, const rf_real *d_o,
                           const rf_real *q, const rf_real *k, const rf_real *v, const rf_real *o,
                           const rf_real *lse, const rf_attention *shape,
                           const rf_attention_scratch *scratch, const rf_workspace *workspace)
{
    const backward f = {.shape = shape,
                        .scratch = scratch,
                        .dq = dq,
                        .dk = dk,
                        .dv = dv,
                        .d_o = d_o,
                        .q = q,
                        .k = k,
                        .v = v,
                        .lse = lse,
                        .rows = shape->q_begin[shape->samples]};
    RF_ASSERT(f.rows <= scratch->most_rows, "%lld rows in attention scratch for %lld",
              (long long)f.rows, (long long)scratch->most_rows);
    find_delta(&f, o);
    const int64_t tasks = rf_attention_list(scratch, shape, 1);
    const int64_t items = rf_attention_items(shape->group, shape->d_head);
    for (int64_t i = 0; i < scratch->most_tasks; i++)
        atomic_store_explicit(&scratch->done[i], 0, memory_order_relaxed);
#pragma omp parallel for schedule(monotonic : dynamic, 1)
    for (int64_t i = 0; i < tasks; i++)
        run_task(&f, &scratch->task[i], rf_workspace_mine(workspace, items));
}
