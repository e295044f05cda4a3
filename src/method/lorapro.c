/*
 * LoRA-Pro: the factors' gradients become those whose step changes W as full fine-tuning would, as
 * nearly as rank r allows; Adam acts on that change. Wang et al. 2025, arXiv:2407.18242, theorems
 * 2.1 to 2.3 and appendix C. With K = (B^T B + d)^-1 / s^2, L = (A A^T + d)^-1 / s^2, d = 1e-8:
 *
 *   T(dA, dB) = (K dA, dB L - s^2 B K B^T dB L)
 *   g_A, g_B  = T(dA, dB)                         G = s (B g_A + g_B A)
 *   m, v      = Adam's moments of G [d_out, d_in], h = m' / (sqrt(v') + epsilon)
 *   g_A, g_B  = T(s B^T h, s h A^T) + (X A, -B X)  A <- A - lr g_A, B <- B - lr g_B
 *
 * where B^T B X + X A A^T = -K (s B^T h) A^T. While B = 0: T(dA, dB) = (dA, dB L), X = 0. The
 * moments are as large as W, twice. The released optimizer counts its first step as the second and
 * rounds squares to bf16; here is the formula.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "factors.h"
#include "hooks.h"
#include "lorapro_solve.h"
#include "refract/comm/collect.h"
#include "refract/linalg/dense.h"
#include "refract/linalg/tree.h"
#include "refract/method/shares.h"

typedef struct lorapro {
    rf_method_context context;
    rf_shares inverses, balance;
    rf_workspace wide, full;   /* r x r work; one slice of a change of W */
    rf_collector collector;    /* over slices */
    rf_tree tree;              /* gradients of replicated factors */
    rf_real *scratch;          /* of the collector */
    rf_shape *shape;           /* [modules] of W; owned */
    int64_t *whole_at;         /* [modules + 1] first item of the replicated factor; owned */
    rf_real **first, **second; /* [modules] m and v: this rank's slices of W; owned lists */
} lorapro;

static int64_t first_in(int64_t r)
{
    return 2 * rf_triangle_items(r) + r * r;
}

static int64_t first_out(int64_t r)
{
    return 3 * r * r;
}

static int64_t second_in(int64_t r)
{
    return r * r;
}

static int64_t second_out(int64_t r)
{
    return 2 * r * r;
}

static const rf_param *row_of(const lorapro *self, int64_t m, rf_side side)
{
    const rf_module *module = &self->context.modules->item[m];
    return &self->context.params->row[side == RF_FACTOR_A ? module->a : module->b];
}

/* The factor that every rank holds whole. */
static rf_side whole_side(const lorapro *self, int64_t m)
{
    return self->shape[m].split == RF_ROWS ? RF_FACTOR_A : RF_FACTOR_B;
}

static rf_status describe(lorapro *self)
{
    const rf_modules *modules = self->context.modules;
    const size_t count = (size_t)modules->count + 1;
    self->shape = calloc(count, sizeof *self->shape);
    self->whole_at = calloc(count, sizeof *self->whole_at);
    self->first = calloc(count, sizeof *self->first);
    self->second = calloc(count, sizeof *self->second);
    if (!self->shape || !self->whole_at || !self->first || !self->second)
        return rf_fail(RF_RESOURCES, "no memory for lorapro");
    for (int64_t m = 0; m < modules->count; m++) {
        const rf_shape *a = &row_of(self, m, RF_FACTOR_A)->shape;
        const rf_shape *b = &row_of(self, m, RF_FACTOR_B)->shape;
        RF_ASSERT((a->split == RF_COLS) != (b->split == RF_ROWS), "cut of '%s'",
                  modules->item[m].name);
        self->shape[m] = b->split == RF_ROWS ? (rf_shape){b->rows, a->cols, RF_ROWS, b->cut}
                                             : (rf_shape){b->rows, a->cols, RF_COLS, a->cut};
        self->whole_at[m + 1] = self->whole_at[m] + row_of(self, m, whole_side(self, m))->items;
    }
    return RF_OK;
}

static rf_status create(void **out, const rf_method_context *context)
{
    lorapro *self = calloc(1, sizeof *self);
    *out = self;
    if (!self) return rf_fail(RF_RESOURCES, "no memory for lorapro");
    self->context = *context;
    RF_TRY(describe(self));
    RF_TRY(rf_shares_create(&self->inverses, context->grid, context->modules, first_in, first_out));
    return rf_shares_create(&self->balance, context->grid, context->modules, second_in, second_out);
}

static void destroy(void *opaque)
{
    lorapro *self = opaque;
    rf_shares_destroy(&self->inverses);
    rf_shares_destroy(&self->balance);
    free(self->shape);
    free(self->whole_at);
    free(self->first);
    free(self->second);
    free(self);
}

static int64_t own_items(const lorapro *self, int64_t m)
{
    const rf_grid *grid = self->context.grid;
    return rf_local_items(&self->shape[m], grid->slice_begin, grid->slice_end);
}

static int64_t whole_items(const lorapro *self)
{
    return self->whole_at[self->context.modules->count];
}

static void layout(void *opaque, rf_arena *run, rf_arena *scratch)
{
    lorapro *self = opaque;
    const rf_grid *grid = self->context.grid;
    const int64_t r = self->context.modules->most_r;
    const int64_t factor = factor_work(r, grid), solve = lorapro_work(r);
    int64_t most = 0;
    for (int64_t m = 0; m < self->context.modules->count; m++) {
        self->first[m] = RF_TAKE(run, rf_real, own_items(self, m));
        self->second[m] = RF_TAKE(run, rf_real, own_items(self, m));
        for (int s = grid->slice_begin; s < grid->slice_end; s++)
            most = rf_slice_items(&self->shape[m], s) > most ? rf_slice_items(&self->shape[m], s)
                                                             : most;
    }
    rf_collector_layout(&self->collector, run, grid->tp, grid->slices);
    rf_tree_layout(&self->tree, scratch, whole_items(self),
                   rf_tree_slots(grid->slices, grid->tp_size == 1));
    self->scratch = RF_TAKE(scratch, rf_real,
                            rf_collect_scratch(&self->collector, whole_items(self), grid->slices));
    rf_shares_layout(&self->inverses, scratch);
    rf_shares_layout(&self->balance, scratch);
    wide_workspace_layout(&self->wide, scratch, self->context.threads,
                          factor > solve ? factor : solve);
    rf_workspace_layout(&self->full, scratch, self->context.threads, most);
}

static void start(void *opaque)
{
    lorapro *self = opaque;
    for (int64_t m = 0; m < self->context.modules->count; m++) {
        memset(self->first[m], 0, (size_t)own_items(self, m) * sizeof(rf_real));
        memset(self->second[m], 0, (size_t)own_items(self, m) * sizeof(rf_real));
    }
}

/* This rank's part of A A^T, B^T B and B^T dB, dB as it comes from clipping. */
static void measure(const lorapro *self, int64_t m, double scale, rf_real *gradient)
{
    const rf_param *a = row_of(self, m, RF_FACTOR_A), *b = row_of(self, m, RF_FACTOR_B);
    const rf_grid *grid = self->context.grid;
    const int64_t items = rf_triangle_items(self->context.modules->item[m].r);
    double *work = wide_workspace_mine(&self->wide);
    factor_scale(gradient + a->offset, a, scale);
    factor_scale(gradient + b->offset, b, scale);
    if (!rf_shares_measures(&self->inverses, m)) return;
    double *node = rf_shares_node(&self->inverses, m);
    if (rf_shares_measures_row(&self->inverses, m, a))
        factor_gram(node, a->data, a, grid, RF_FACTOR_A, work);
    if (!rf_shares_measures_row(&self->inverses, m, b)) return;
    factor_gram(node + items, b->data, b, grid, RF_FACTOR_B, work);
    factor_cross(node + 2 * items, b->data, gradient + b->offset, b, grid, RF_FACTOR_B, work);
}

static int is_zero(const double *triangle, int64_t r)
{
    for (int64_t i = 0; i < rf_triangle_items(r); i++)
        if (triangle[i] != 0) return 0;
    return 1;
}

/* On the owner: K (1 while B = 0), L and the projection of the gradient. */
static void invert(const lorapro *self, int64_t m)
{
    const rf_module *module = &self->context.modules->item[m];
    const int64_t r = module->r, items = rf_triangle_items(r);
    const double *total = rf_shares_total(&self->inverses, m);
    double *k = rf_shares_result(&self->inverses, m), *l = k + r * r, *p = l + r * r;
    lorapro_inverse(l, total, r, module->scaling);
    lorapro_inverse(k, total + items, r, module->scaling);
    lorapro_projection(p, k, total + 2 * items, l, r, module->scaling,
                       wide_workspace_mine(&self->wide));
    if (!is_zero(total + items, r)) return;
    for (int64_t i = 0; i < r * r; i++) k[i] = i % (r + 1) == 0;
    memset(p, 0, (size_t)(r * r) * sizeof *p);
}

/* dA <- k dA + x A, dB <- dB l + B y; k, l, x, y [r, r]; x NULL: without. */
static void combine(const lorapro *self, int64_t m, rf_real *gradient, const double *k,
                    const double *l, const double *x, const double *y)
{
    const rf_param *a = row_of(self, m, RF_FACTOR_A), *b = row_of(self, m, RF_FACTOR_B);
    const rf_grid *grid = self->context.grid;
    double *work = wide_workspace_mine(&self->wide);
    factor_multiply(gradient + a->offset, a, grid, RF_FACTOR_A, k, work);
    if (x) factor_add_product(gradient + a->offset, a->data, a, grid, RF_FACTOR_A, x, work);
    factor_multiply(gradient + b->offset, b, grid, RF_FACTOR_B, l, work);
    factor_add_product(gradient + b->offset, b->data, b, grid, RF_FACTOR_B, y, work);
}

/* h <- Adam's direction for the change h of n weights. */
static void adam(const lorapro *self, rf_real *h, rf_real *first, rf_real *second, int64_t n,
                 int64_t step)
{
    const rf_adamw *adamw = self->context.adamw;
    const rf_real beta1 = (rf_real)adamw->beta1, beta2 = (rf_real)adamw->beta2;
    const rf_real rest1 = (rf_real)(1 - adamw->beta1), rest2 = (rf_real)(1 - adamw->beta2);
    const rf_real bias1 = (rf_real)(1 / (1 - pow(adamw->beta1, (double)step)));
    const rf_real bias2 = (rf_real)(1 / (1 - pow(adamw->beta2, (double)step)));
    const rf_real epsilon = (rf_real)adamw->epsilon;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        first[i] = beta1 * first[i] + rest1 * h[i];
        second[i] = beta2 * second[i] + rest2 * h[i] * h[i];
        h[i] = first[i] * bias1 / ((rf_real)sqrt((double)(second[i] * bias2)) + epsilon);
    }
}

/*
 * Slice s of W [rows, cols]: h from g_A [r, cols] and g_B [rows, r], and from h the gradients
 * s B^T h and s h A^T. That of the factor which is cut replaces g in place, the other one's part
 * goes to `leaf`.
 */
static void change_slice(const lorapro *self, int64_t m, int s, rf_real *gradient, rf_real *leaf,
                         int64_t step)
{
    const rf_module *module = &self->context.modules->item[m];
    const rf_param *pa = row_of(self, m, RF_FACTOR_A), *pb = row_of(self, m, RF_FACTOR_B);
    const int begin = self->context.grid->slice_begin, by_rows = self->shape[m].split == RF_ROWS;
    const int64_t r = module->r, rows = rf_slice_rows(&self->shape[m], s);
    const int64_t cols = rf_slice_cols(&self->shape[m], s);
    const int64_t at = rf_slice_offset(&self->shape[m], begin, s);
    const int64_t at_a = by_rows ? 0 : rf_slice_offset(&pa->shape, begin, s);
    const int64_t at_b = by_rows ? rf_slice_offset(&pb->shape, begin, s) : 0;
    const rf_real *a = (const rf_real *)pa->data + at_a, *b = (const rf_real *)pb->data + at_b;
    rf_real *ga = gradient + pa->offset + at_a, *gb = gradient + pb->offset + at_b;
    const rf_real scaling = (rf_real)module->scaling;
    rf_real *h = rf_workspace_mine(&self->full, rows * cols);
    if (rows * cols == 0) {
        memset(leaf, 0, (size_t)(self->whole_at[m + 1] - self->whole_at[m]) * sizeof *leaf);
        return;
    }
    rf_gemm(RF_N, RF_N, rows, cols, r, scaling, b, r, ga, cols, 0, h, cols);
    rf_gemm(RF_N, RF_N, rows, cols, r, scaling, gb, r, a, cols, 1, h, cols);
    adam(self, h, self->first[m] + at, self->second[m] + at, rows * cols, step);
    rf_gemm(RF_T, RF_N, r, cols, rows, scaling, b, r, h, cols, 0, by_rows ? leaf : ga, cols);
    rf_gemm(RF_N, RF_T, rows, r, cols, scaling, h, cols, a, cols, 0, by_rows ? gb : leaf, r);
}

/* All slices of all modules; the sums over slices take the replicated factors' places. */
static void change_all(lorapro *self, rf_real *gradient, int64_t step)
{
    const rf_grid *grid = self->context.grid;
    const int64_t count = self->context.modules->count;
    rf_tree_start(&self->tree, grid->slices, grid->slice_begin);
    for (int s = grid->slice_begin; s < grid->slice_end; s++) {
        rf_real *leaf = rf_tree_leaf(&self->tree);
#pragma omp parallel for schedule(dynamic)
        for (int64_t m = 0; m < count; m++)
            change_slice(self, m, s, gradient, leaf + self->whole_at[m], step);
        rf_tree_push(&self->tree);
    }
    rf_real *sum = self->tree.data[0];
    rf_collect_sum(&self->collector, sum, self->tree.data, whole_items(self), grid->slices, NULL,
                   self->scratch);
    for (int64_t m = 0; m < count; m++) {
        const rf_param *row = row_of(self, m, whole_side(self, m));
        memcpy(gradient + row->offset, sum + self->whole_at[m],
               (size_t)row->items * sizeof *gradient);
    }
}

/* On the owner: X, and what B is multiplied by; total = s B^T h A^T. */
static void solve(const lorapro *self, int64_t m)
{
    const rf_module *module = &self->context.modules->item[m];
    const int64_t r = module->r, items = rf_triangle_items(r);
    const double *grams = rf_shares_total(&self->inverses, m);
    const double *k = rf_shares_get(&self->inverses, m), *l = k + r * r;
    const double *h = rf_shares_total(&self->balance, m);
    double *x = rf_shares_result(&self->balance, m), *y = x + r * r;
    double *work = wide_workspace_mine(&self->wide);
    memset(x, 0, (size_t)(2 * r * r) * sizeof *x);
    if (is_zero(grams + items, r)) return;
    if (lorapro_balance(x, grams + items, grams, k, h, r, work) != 0) return;
    lorapro_projection(y, k, h, l, r, module->scaling, work);
    for (int64_t i = 0; i < r * r; i++) y[i] -= x[i];
}

/* X of every module from what h gives the factors. */
static void balance_all(lorapro *self, const rf_real *gradient)
{
    const int64_t count = self->context.modules->count;
    rf_shares_start(&self->balance);
#pragma omp parallel for schedule(dynamic)
    for (int64_t m = 0; m < count; m++) {
        const rf_param *a = row_of(self, m, RF_FACTOR_A);
        if (rf_shares_measures(&self->balance, m) && rf_shares_measures_row(&self->balance, m, a))
            factor_cross(rf_shares_node(&self->balance, m), gradient + a->offset, a->data, a,
                         self->context.grid, RF_FACTOR_A, wide_workspace_mine(&self->wide));
    }
    rf_shares_sum(&self->balance);
#pragma omp parallel for schedule(dynamic)
    for (int64_t m = 0; m < count; m++)
        if (rf_shares_owns(&self->balance, m)) solve(self, m);
    rf_shares_spread(&self->balance);
}

static void descend(const lorapro *self, const rf_param *row, const rf_method_step *step,
                    const rf_real *gradient)
{
    const double rate = step->rate * row->lr_scale;
    const double keep = 1 - rate * self->context.adamw->weight_decay;
    rf_real *value = row->data;
    for (int64_t i = 0; i < row->items; i++)
        value[i] = (rf_real)(keep * (double)value[i] - rate * (double)gradient[row->offset + i]);
}

static void update(void *opaque, const rf_method_step *step, rf_real *gradient, unsigned char *done)
{
    lorapro *self = opaque;
    const int64_t count = self->context.modules->count;
    rf_shares_start(&self->inverses);
#pragma omp parallel for schedule(dynamic)
    for (int64_t m = 0; m < count; m++) measure(self, m, step->scale, gradient);
    rf_shares_sum(&self->inverses);
#pragma omp parallel for schedule(dynamic)
    for (int64_t m = 0; m < count; m++)
        if (rf_shares_owns(&self->inverses, m)) invert(self, m);
    rf_shares_spread(&self->inverses);
#pragma omp parallel for schedule(dynamic)
    for (int64_t m = 0; m < count; m++) {
        const int64_t square = self->context.modules->item[m].r * self->context.modules->item[m].r;
        const double *k = rf_shares_get(&self->inverses, m);
        combine(self, m, gradient, k, k + square, NULL, k + 2 * square);
    }
    change_all(self, gradient, step->number);
    balance_all(self, gradient);
#pragma omp parallel for schedule(dynamic)
    for (int64_t m = 0; m < count; m++) {
        const rf_module *module = &self->context.modules->item[m];
        const int64_t square = module->r * module->r;
        const double *k = rf_shares_get(&self->inverses, m), *x = rf_shares_get(&self->balance, m);
        combine(self, m, gradient, k, k + square, x, x + square);
        descend(self, row_of(self, m, RF_FACTOR_A), step, gradient);
        descend(self, row_of(self, m, RF_FACTOR_B), step, gradient);
        done[module->a] = done[module->b] = 1;
    }
}

static rf_status fields(void *opaque, int64_t step, rf_fields *table)
{
    (void)step;
    lorapro *self = opaque;
    for (int64_t m = 0; m < self->context.modules->count; m++) {
        const char *name = self->context.modules->item[m].name;
        RF_TRY(rf_fields_add(table, self->shape[m], RF_DTYPE_REAL, self->first[m],
                             "/method/lorapro/%.150s/m", name));
        RF_TRY(rf_fields_add(table, self->shape[m], RF_DTYPE_REAL, self->second[m],
                             "/method/lorapro/%.150s/v", name));
    }
    return RF_OK;
}

const rf_method_hooks lorapro_hooks = {.create = create,
                                       .destroy = destroy,
                                       .layout = layout,
                                       .start = start,
                                       .update = update,
                                       .fields = fields};
