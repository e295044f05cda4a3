#include "refract/nn/head.h"

#include <math.h>
#include <string.h>

#include "refract/linalg/vecmath.h"

/* What one vocabulary slice says of one row. */
typedef struct part {
    double max, sum; /* of the logits; sum of exp(logit - max); an absent slice has sum 0 */
    double target;   /* logit of the target where this slice holds it, else -infinity */
    double most;     /* id of the first largest logit */
} part;

void rf_head_scratch_layout(rf_head_scratch *scratch, rf_arena *arena, const rf_linear *head,
                            const rf_grid *grid)
{
    scratch->logits = RF_TAKE(arena, rf_real, RF_HEAD_ROWS * rf_linear_width(head, grid));
    scratch->parts = RF_TAKE(arena, double, (int64_t)RF_HEAD_ROWS * grid->slices * 4);
    scratch->lse = RF_TAKE(arena, double, RF_HEAD_ROWS);
}

/* Leaves exp(logit - max) where the logits were. */
static part part_of(rf_real *logits, int64_t n, int64_t first_id, int32_t target)
{
    part p = {.max = (double)rf_max(logits, n), .target = -INFINITY};
    const rf_real max = (rf_real)p.max;
    enum { BLOCK = 512 };
    int64_t most = 0;
    while (most < n - 1 && logits[most] != max) most++;
    p.most = (double)(first_id + most);
    if (target >= first_id && target < first_id + n) p.target = (double)logits[target - first_id];
    for (int64_t at = 0; at < n; at += BLOCK) {
        rf_real *power = logits + at;
        const int64_t count = n - at < BLOCK ? n - at : BLOCK;
        for (int64_t i = 0; i < count; i++) power[i] = rf_exp(power[i] - max);
        p.sum += (double)rf_sum(power, count);
    }
    return p;
}

static part merge(part a, part b)
{
    if (a.sum == 0 || b.sum == 0) return a.sum == 0 ? b : a;
    const double max = a.max >= b.max ? a.max : b.max;
    return (part){.max = max,
                  .sum = a.sum * exp(a.max - max) + b.sum * exp(b.max - max),
                  .target = a.target >= b.target ? a.target : b.target,
                  .most = a.max >= b.max ? a.most : b.most};
}

static part merge_slices(const part *parts, int count)
{
    if (count == 1) return parts[0];
    return merge(merge_slices(parts, count / 2), merge_slices(parts + count / 2, count / 2));
}

/* Logits of a chunk, slice by slice, and what each slice says: parts [rank's slices][rows]. */
static void chunk_logits(rf_linear_context *context, const rf_linear *head,
                         rf_head_scratch *scratch, const rf_real *x, int64_t rows)
{
    const rf_linear_pass pass = {.linear = head, .y = scratch->logits};
    rf_column_forward(context, &pass, 1, x, rows);
}

static part *part_at(const rf_head_scratch *scratch, int slice, int64_t row)
{
    return (part *)(void *)scratch->parts + (int64_t)slice * RF_HEAD_ROWS + row;
}

static rf_real *slice_logits(const rf_linear_context *context, const rf_linear *head,
                             const rf_head_scratch *scratch, int slice, int64_t rows)
{
    const rf_cut cut = head->shape.cut;
    const int64_t before = rf_cut_begin(cut, slice) - rf_cut_begin(cut, context->grid->slice_begin);
    return scratch->logits + rows * before;
}

static void gather_parts(rf_linear_context *context, const rf_linear *head,
                         rf_head_scratch *scratch, const int32_t *target, int64_t rows)
{
    const rf_grid *grid = context->grid;
    const rf_cut cut = head->shape.cut;
    for (int s = grid->slice_begin; s < grid->slice_end; s++) {
        const int64_t n = rf_cut_size(cut, s), first = rf_cut_begin(cut, s);
        rf_real *logits = slice_logits(context, head, scratch, s, rows);
#pragma omp parallel for schedule(static)
        for (int64_t row = 0; row < rows; row++)
            *part_at(scratch, s, row) =
                n > 0 ? part_of(logits + row * n, n, first, target[row]) : (part){0};
    }
    if (grid->tp_size == 1) return;
    const int count = (grid->slice_end - grid->slice_begin) * RF_HEAD_ROWS * 4;
    MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, scratch->parts, count, MPI_DOUBLE, grid->tp);
}

/* Loss of the chunk in row order; the log-sum-exp of each row. */
static void chunk_loss(const rf_linear_context *context, rf_head_scratch *scratch,
                       rf_head_result *result, const int32_t *target, int64_t first, int64_t rows)
{
    const int slices = context->grid->slices;
    for (int64_t row = 0; row < rows; row++) {
        part all[256];
        RF_ASSERT(slices <= 256, "%d slices", slices);
        for (int s = 0; s < slices; s++) all[s] = *part_at(scratch, s, row);
        const part whole = merge_slices(all, slices);
        scratch->lse[row] = whole.max + log(whole.sum);
        result->loss += scratch->lse[row] - whole.target;
        if (result->correct) result->correct[first + row] = (int32_t)whole.most == target[row];
    }
}

/* scale (softmax(logits) - onehot(target)), in place of the slices' powers. */
static void chunk_gradient(const rf_linear_context *context, const rf_linear *head,
                           rf_head_scratch *scratch, const int32_t *target, int64_t rows,
                           rf_real scale)
{
    const rf_grid *grid = context->grid;
    const rf_cut cut = head->shape.cut;
    for (int s = grid->slice_begin; s < grid->slice_end; s++) {
        const int64_t n = rf_cut_size(cut, s), first = rf_cut_begin(cut, s);
        rf_real *logits = slice_logits(context, head, scratch, s, rows);
#pragma omp parallel for schedule(static)
        for (int64_t row = 0; row < rows; row++) {
            rf_real *p = logits + row * n;
            const double below = part_at(scratch, s, row)->max - scratch->lse[row];
            rf_scale(p, (rf_real)(exp(below) * (double)scale), n);
            if (target[row] >= first && target[row] < first + n) p[target[row] - first] -= scale;
        }
    }
}

void rf_head_loss(rf_linear_context *context, const rf_linear *head, rf_head_scratch *scratch,
                  rf_head_result *result, const rf_real *x, const int32_t *target, int64_t rows,
                  rf_real scale, rf_real *dx)
{
    const int64_t d = head->shape.cols;
    result->loss = 0;
    for (int64_t first = 0; first < rows; first += RF_HEAD_ROWS) {
        const int64_t count = rows - first < RF_HEAD_ROWS ? rows - first : RF_HEAD_ROWS;
        chunk_logits(context, head, scratch, x + first * d, count);
        gather_parts(context, head, scratch, target + first, count);
        chunk_loss(context, scratch, result, target + first, first, count);
        if (!dx) continue;
        chunk_gradient(context, head, scratch, target + first, count, scale);
        const rf_linear_pass pass = {
            .linear = head, .dy = scratch->logits, .accumulate = first > 0};
        const rf_real *chunk = rf_column_backward(context, &pass, 1, x + first * d, count);
        memcpy(dx + first * d, chunk, (size_t)(count * d) * sizeof *dx);
    }
    if (rows == 0 && dx && head->dw)
        memset(head->dw, 0, (size_t)(rf_linear_width(head, context->grid) * d) * sizeof *dx);
}

void rf_head_logits(rf_linear_context *context, const rf_linear *head, rf_head_scratch *scratch,
                    rf_real *logits, const rf_real *x, int64_t rows)
{
    const rf_grid *grid = context->grid;
    const rf_cut cut = head->shape.cut;
    const int64_t vocab = head->shape.rows;
    RF_ASSERT(rows <= RF_HEAD_ROWS, "%lld rows", (long long)rows);
    chunk_logits(context, head, scratch, x, rows);
    memset(logits, 0, (size_t)(rows * vocab) * sizeof *logits);
    for (int s = grid->slice_begin; s < grid->slice_end; s++) {
        const int64_t n = rf_cut_size(cut, s);
        const rf_real *from = slice_logits(context, head, scratch, s, rows);
        for (int64_t row = 0; row < rows; row++)
            memcpy(logits + row * vocab + rf_cut_begin(cut, s), from + row * n,
                   (size_t)n * sizeof *logits);
    }
    rf_collect_assemble(grid->tp, logits, rows * vocab);
}
