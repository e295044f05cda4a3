/*
 * AdaLoRA: a budget of ranks that moves to where they matter. After every update each entry w of A,
 * B and E has its sensitivity I = |w dw| smoothed, I' <- b1 I' + (1 - b1) I, and the uncertainty
 * of that, U <- b2 U + (1 - b2) |I - I'|; a rank scores
 *
 *   s_k = (I' U)(E_k) + mean_j (I' U)(A_kj) + mean_i (I' U)(B_ik)
 *
 * and E_k of all but the b(t) best ranks of the whole model become 0; they may come back. The
 * gradient gets that of orthogonality * mean(|A A^T - I|, |B^T B - I|), which the reported loss
 * leaves out. Zhang et al. 2023, arXiv:2303.10512, eqs. 4 to 12; norms not squared, the order of
 * things and the last allocation as in the released code of PEFT.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adalora_budget.h"
#include "factors.h"
#include "hooks.h"
#include "refract/comm/share.h"
#include "refract/linalg/dense.h"
#include "refract/method/shares.h"

enum { TENSORS = 3 }; /* A, B, E of a module */

typedef struct adalora {
    rf_method_context context;
    adalora_budget budget;
    double beta1, beta2, orthogonality;
    rf_shares grams, scores;
    rf_workspace workspace;
    int64_t *begin;                     /* [modules, 3] of a tensor in the two below; owned */
    int64_t *rank_at;                   /* [modules + 1] of a module's ranks; owned */
    rf_real *sensitivity, *uncertainty; /* I', U of every entry */
    int64_t *kept;                      /* [ranks] the last allocation */
    double *score, *sorted;             /* [ranks] */
    const rf_real *gradient;            /* of the step at work; borrowed */
    double scale;                       /* of that gradient */
    int is_fresh;                       /* 1: the step's sensitivities count, 0: scores alone */
} adalora;

static int64_t gram_items(int64_t r)
{
    return 2 * rf_triangle_items(r);
}

static int64_t sum_items(int64_t r)
{
    return 2 * r;
}

static int64_t score_items(int64_t r)
{
    return r;
}

static const rf_param *row_of(const adalora *self, int64_t m, int tensor)
{
    const rf_module *module = &self->context.modules->item[m];
    const int64_t row[TENSORS] = {module->a, module->b, module->e};
    return &self->context.params->row[row[tensor]];
}

static rf_status place(adalora *self)
{
    const rf_modules *modules = self->context.modules;
    const size_t count = (size_t)modules->count;
    self->begin = calloc(TENSORS * count + 1, sizeof *self->begin);
    self->rank_at = calloc(count + 1, sizeof *self->rank_at);
    if (!self->begin || !self->rank_at) return rf_fail(RF_RESOURCES, "no memory for adalora");
    int64_t at = 0;
    for (int64_t m = 0; m < modules->count; m++) {
        for (int i = 0; i < TENSORS; i++) {
            self->begin[TENSORS * m + i] = at;
            at += row_of(self, m, i)->items;
        }
        self->rank_at[m + 1] = self->rank_at[m] + modules->item[m].r;
    }
    self->begin[TENSORS * count] = at;
    return RF_OK;
}

static rf_status create(void **out, const rf_method_context *context)
{
    adalora *self = calloc(1, sizeof *self);
    *out = self;
    if (!self) return rf_fail(RF_RESOURCES, "no memory for adalora");
    const rf_config *c = context->config;
    self->context = *context;
    self->beta1 = rf_config_number(c, "adalora.beta1");
    self->beta2 = rf_config_number(c, "adalora.beta2");
    self->orthogonality = rf_config_number(c, "adalora.orthogonality");
    RF_TRY(place(self));
    RF_TRY(adalora_budget_read(&self->budget, context));
    RF_TRY(rf_shares_create(&self->grams, context->grid, context->modules, gram_items, gram_items));
    return rf_shares_create(&self->scores, context->grid, context->modules, sum_items, score_items);
}

static void destroy(void *opaque)
{
    adalora *self = opaque;
    rf_shares_destroy(&self->grams);
    rf_shares_destroy(&self->scores);
    free(self->begin);
    free(self->rank_at);
    free(self);
}

static int64_t ranks_of(const adalora *self)
{
    return self->rank_at[self->context.modules->count];
}

static int64_t entries_of(const adalora *self)
{
    return self->begin[TENSORS * self->context.modules->count];
}

static void layout(void *opaque, rf_arena *run, rf_arena *scratch)
{
    adalora *self = opaque;
    const int64_t r = self->context.modules->most_r;
    const rf_grid *grid = self->context.grid;
    const int64_t sums = (grid->slice_end - grid->slice_begin + 1) * r;
    const int64_t factor = factor_work(r, grid);
    self->sensitivity = RF_TAKE(run, rf_real, entries_of(self));
    self->uncertainty = RF_TAKE(run, rf_real, entries_of(self));
    self->kept = RF_TAKE(run, int64_t, ranks_of(self));
    self->score = RF_TAKE(scratch, double, ranks_of(self));
    self->sorted = RF_TAKE(scratch, double, ranks_of(self));
    rf_shares_layout(&self->grams, scratch);
    rf_shares_layout(&self->scores, scratch);
    wide_workspace_layout(&self->workspace, scratch, self->context.threads,
                          r * r + (factor > sums ? factor : sums));
}

static void start(void *opaque)
{
    adalora *self = opaque;
    const size_t bytes = (size_t)entries_of(self) * sizeof(rf_real);
    memset(self->sensitivity, 0, bytes);
    memset(self->uncertainty, 0, bytes);
    for (int64_t i = 0; i < ranks_of(self); i++) self->kept[i] = 1;
}

/* On the owner: gamma / count (X - 1) 2 / |X - 1| of a Gram matrix X, as a triangle. */
static void pull(const adalora *self, int64_t m, int tensor)
{
    const int64_t r = self->context.modules->item[m].r, items = rf_triangle_items(r);
    const double count = 2 * (double)self->context.modules->count;
    double *x = wide_workspace_mine(&self->workspace), norm = 0;
    rf_triangle_unpack(x, rf_shares_total(&self->grams, m) + tensor * items, r);
    for (int64_t i = 0; i < r; i++) x[i * r + i] -= 1;
    for (int64_t i = 0; i < r * r; i++) norm += x[i] * x[i];
    norm = sqrt(norm);
    for (int64_t i = 0; i < r * r; i++)
        x[i] = norm > 0 ? 2 * self->orthogonality / count * x[i] / norm : 0;
    rf_triangle_pack(rf_shares_result(&self->grams, m) + tensor * items, x, r);
}

/* Adds the gradient of the orthogonality penalty. */
static void after_gradient(void *opaque, rf_real *gradient)
{
    adalora *self = opaque;
    const int64_t count = self->context.modules->count;
    if (self->orthogonality <= 0) return;
    rf_shares_start(&self->grams);
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < 2 * count; i++) {
        const int64_t m = i / 2, items = rf_triangle_items(self->context.modules->item[m].r);
        const rf_param *row = row_of(self, m, (int)(i % 2));
        if (rf_shares_measures(&self->grams, m) && rf_shares_measures_row(&self->grams, m, row))
            factor_gram(rf_shares_node(&self->grams, m) + i % 2 * items, row->data, row,
                        self->context.grid, (rf_side)(i % 2),
                        wide_workspace_mine(&self->workspace));
    }
    rf_shares_sum(&self->grams);
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < 2 * count; i++)
        if (rf_shares_owns(&self->grams, i / 2)) pull(self, i / 2, (int)(i % 2));
    rf_shares_spread(&self->grams);
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < 2 * count; i++) {
        const int64_t m = i / 2, r = self->context.modules->item[m].r;
        const rf_param *row = row_of(self, m, (int)(i % 2));
        double *x = wide_workspace_mine(&self->workspace);
        rf_triangle_unpack(x, rf_shares_get(&self->grams, m) + i % 2 * rf_triangle_items(r), r);
        factor_add_product(gradient + row->offset, row->data, row, self->context.grid,
                           (rf_side)(i % 2), x, x + r * r);
    }
}

static void before_update(void *opaque, const rf_method_step *step, rf_real *gradient)
{
    adalora *self = opaque;
    self->gradient = gradient;
    self->scale = step->scale;
}

/* Smoothed sensitivity times uncertainty of entry i of a tensor, after this step's share. */
static double follow(const adalora *self, const rf_param *row, int64_t begin, int64_t i)
{
    const rf_real *w = row->data;
    rf_real *smooth = self->sensitivity + begin + i, *doubt = self->uncertainty + begin + i;
    if (self->is_fresh) {
        const double now =
            fabs((double)w[i] * self->scale * (double)self->gradient[row->offset + i]);
        *smooth = (rf_real)(self->beta1 * (double)*smooth + (1 - self->beta1) * now);
        *doubt = (rf_real)(self->beta2 * (double)*doubt +
                           (1 - self->beta2) * fabs(now - (double)*smooth));
    }
    return (double)*smooth * (double)*doubt;
}

/* All entries of factor `tensor` of module m; its node of the sums, where this rank measures it. */
static void follow_factor(const adalora *self, int64_t m, int tensor)
{
    const rf_param *row = row_of(self, m, tensor);
    const rf_grid *grid = self->context.grid;
    const int64_t r = self->context.modules->item[m].r, begin = self->begin[TENSORS * m + tensor];
    const int whole = row->shape.split == RF_REPLICATED;
    const int first = whole ? 0 : grid->slice_begin, end = whole ? 1 : grid->slice_end;
    double *sums = wide_workspace_mine(&self->workspace);
    memset(sums, 0, (size_t)((end - first) * r) * sizeof *sums);
    for (int s = first; s < end; s++) {
        const int64_t at = rf_slice_offset(&row->shape, grid->slice_begin, s);
        const int64_t rows = rf_slice_rows(&row->shape, s), cols = rf_slice_cols(&row->shape, s);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < cols; j++) /* a rank is a row of A, a column of B */
                sums[(s - first) * r + (tensor == 0 ? i : j)] +=
                    follow(self, row, begin, at + i * cols + j);
    }
    if (!rf_shares_measures(&self->scores, m) || !rf_shares_measures_row(&self->scores, m, row))
        return;
    rf_tree_fold_doubles(sums, end - first, r);
    memcpy(rf_shares_node(&self->scores, m) + tensor * r, sums, (size_t)r * sizeof *sums);
}

/* On the owner: the means of both factors. */
static void average(const adalora *self, int64_t m)
{
    const rf_module *module = &self->context.modules->item[m];
    const double *sums = rf_shares_total(&self->scores, m);
    double *result = rf_shares_result(&self->scores, m);
    for (int64_t k = 0; k < module->r; k++)
        result[k] = sums[k] / (double)module->d_in + sums[module->r + k] / (double)module->d_out;
}

/* The scores of all ranks of the model, on every rank. */
static void score_all(adalora *self, int is_fresh)
{
    const rf_modules *modules = self->context.modules;
    self->is_fresh = is_fresh;
    rf_shares_start(&self->scores);
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < 2 * modules->count; i++) follow_factor(self, i / 2, (int)(i % 2));
    rf_shares_sum(&self->scores);
    for (int64_t m = 0; m < modules->count; m++)
        if (rf_shares_owns(&self->scores, m)) average(self, m);
    rf_shares_spread(&self->scores);
    for (int64_t m = 0; m < modules->count; m++)
        for (int64_t k = 0; k < modules->item[m].r; k++)
            self->score[self->rank_at[m] + k] =
                rf_shares_get(&self->scores, m)[k] +
                follow(self, row_of(self, m, 2), self->begin[TENSORS * m + 2], k);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Keeps the `budget` ranks of highest score; of equal ones at the limit none. */
static void allocate(adalora *self, int64_t budget)
{
    const int64_t ranks = ranks_of(self), out = ranks - budget;
    memcpy(self->sorted, self->score, (size_t)ranks * sizeof *self->sorted);
    qsort(self->sorted, (size_t)ranks, sizeof *self->sorted, ascending);
    for (int64_t i = 0; i < ranks; i++)
        self->kept[i] = out <= 0 || self->score[i] > self->sorted[out - 1];
}

static void mask(const adalora *self)
{
    for (int64_t m = 0; m < self->context.modules->count; m++) {
        rf_real *e = row_of(self, m, 2)->data;
        for (int64_t k = 0; k < self->context.modules->item[m].r; k++)
            if (!self->kept[self->rank_at[m] + k]) e[k] = 0;
    }
}

static void after_update(void *opaque, const rf_method_step *step)
{
    adalora *self = opaque;
    const int64_t last = adalora_budget_last(&self->budget);
    if (step->number < last) score_all(self, 1);
    if (adalora_budget_allocates(&self->budget, step->number)) {
        if (step->number == last) score_all(self, 0); /* by what was known a step before */
        allocate(self, adalora_budget_at(&self->budget, step->number));
        mask(self);
    } else if (step->number > last) {
        mask(self);
    }
}

/* What a rank of W's change weighs: |E_k| beside |a_k| and |b_k|. */
static void importance(const void *opaque, double *table, int64_t rank_r)
{
    const adalora *self = opaque;
    for (int64_t m = 0; m < self->context.modules->count; m++) {
        const rf_real *e = row_of(self, m, 2)->data;
        for (int64_t k = 0; k < self->context.modules->item[m].r; k++)
            table[m * rank_r + k] *= fabs((double)e[k]);
    }
}

static rf_status fields(void *opaque, int64_t step, rf_fields *table)
{
    (void)step;
    static const char *const names[TENSORS] = {"A", "B", "E"};
    adalora *self = opaque;
    for (int64_t i = 0; i < TENSORS * self->context.modules->count; i++) {
        const rf_param *row = row_of(self, i / TENSORS, (int)(i % TENSORS));
        const char *module = self->context.modules->item[i / TENSORS].name;
        RF_TRY(rf_fields_add(table, row->shape, RF_DTYPE_REAL, self->sensitivity + self->begin[i],
                             "/method/adalora/%.150s/%s/sensitivity", module, names[i % TENSORS]));
        RF_TRY(rf_fields_add(table, row->shape, RF_DTYPE_REAL, self->uncertainty + self->begin[i],
                             "/method/adalora/%.150s/%s/uncertainty", module, names[i % TENSORS]));
    }
    return rf_fields_add(table, rf_shape_replicated(ranks_of(self), 1), RF_I64, self->kept,
                         "/method/adalora/kept");
}

static void summarise(const void *opaque, rf_log *log)
{
    const adalora *self = opaque;
    int64_t kept = 0, ranks = ranks_of(self);
    for (int64_t i = 0; i < ranks; i++) kept += self->kept[i] != 0;
    rf_log_info(log, "adalora: %lld of %lld ranks kept", (long long)kept, (long long)ranks);
}

const rf_method_hooks adalora_hooks = {.create = create,
                                       .destroy = destroy,
                                       .layout = layout,
                                       .start = start,
                                       .after_gradient = after_gradient,
                                       .before_update = before_update,
                                       .after_update = after_update,
                                       .importance = importance,
                                       .fields = fields,
                                       .summarise = summarise};
