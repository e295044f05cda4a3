/* RefLoRA: gradients are refactored just before the update; factors and moments stay as they are.
 * Zhang, Li, Giannakis, NeurIPS 2025, arXiv:2505.18877. */
#include "refract/method/reflora.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "factors.h"
#include "hooks.h"
#include "reflora_keys.h"
#include "refract/linalg/dense.h"
#include "refract/method/shares.h"

/* Behind the triangles of S and S^-1 in a module's result. */
enum { CONDITION, NORM_A, NORM_B, IS_SINGULAR, IS_APPLIED, NOTES };

typedef struct reflora {
    rf_method_context context;
    reflora_clock clock;
    rf_reflora_options options;
    rf_shares shares;
    rf_workspace workspace;
    reflora_record record;
} reflora;

static int64_t measured_items(int64_t r)
{
    return 2 * rf_triangle_items(r);
}

static int64_t result_items(int64_t r)
{
    return 2 * rf_triangle_items(r) + NOTES;
}

static int64_t work_items(const reflora *self)
{
    const int64_t r = self->context.modules->most_r;
    const int64_t factor = factor_work(r, self->context.grid), solve = rf_reflora_work(r);
    return 4 * r * r + (factor > solve ? factor : solve);
}

static rf_status create(void **out, const rf_method_context *context)
{
    reflora *self = calloc(1, sizeof *self);
    *out = self;
    if (!self) return rf_fail(RF_RESOURCES, "no memory for reflora");
    const rf_config *c = context->config;
    self->context = *context;
    self->options = (rf_reflora_options){
        .released = strcmp(rf_config_string(c, "reflora.solver"), "released") == 0,
        .skip = strcmp(rf_config_string(c, "reflora.singular"), "skip") == 0,
        .max_condition = rf_config_number(c, "reflora.max_condition"),
        .epsilon = sizeof(rf_real) == sizeof(double) ? DBL_EPSILON : FLT_EPSILON};
    RF_TRY(reflora_clock_read(&self->clock, context));
    return rf_shares_create(&self->shares, context->grid, context->modules, measured_items,
                            result_items);
}

static void destroy(void *opaque)
{
    reflora *self = opaque;
    rf_shares_destroy(&self->shares);
    free(self);
}

static void layout(void *opaque, rf_arena *run, rf_arena *scratch)
{
    reflora *self = opaque;
    rf_shares_layout(&self->shares, scratch);
    wide_workspace_layout(&self->workspace, scratch, self->context.threads, work_items(self));
    reflora_record_layout(&self->record, run, self->context.modules->count);
}

static const rf_param *row_of(const reflora *self, int64_t row)
{
    return &self->context.params->row[row];
}

/* This rank's part of the Gram matrices of module m. */
static void measure(const reflora *self, int64_t m)
{
    const rf_module *module = &self->context.modules->item[m];
    const rf_param *a = row_of(self, module->a), *b = row_of(self, module->b);
    double *node = rf_shares_node(&self->shares, m), *work = wide_workspace_mine(&self->workspace);
    if (rf_shares_measures_row(&self->shares, m, a))
        factor_gram(node, a->data, a, self->context.grid, RF_FACTOR_A, work);
    if (rf_shares_measures_row(&self->shares, m, b))
        factor_gram(node + rf_triangle_items(module->r), b->data, b, self->context.grid,
                    RF_FACTOR_B, work);
}

/* S, S^-1 and notes of module m from its Gram matrices. */
static void solve(const reflora *self, int64_t m)
{
    const int64_t r = self->context.modules->item[m].r, items = rf_triangle_items(r);
    const double *total = rf_shares_total(&self->shares, m);
    double *result = rf_shares_result(&self->shares, m), *notes = result + 2 * items;
    double *x = wide_workspace_mine(&self->workspace), *y = x + r * r;
    double *s = y + r * r, *s_inverse = s + r * r;
    rf_triangle_unpack(x, total, r);
    rf_triangle_unpack(y, total + items, r);
    const rf_refactoring done =
        rf_reflora_refactor(s, s_inverse, x, y, r, &self->options, s_inverse + r * r);
    rf_triangle_pack(result, s, r);
    rf_triangle_pack(result + items, s_inverse, r);
    notes[CONDITION] = done.condition;
    notes[NORM_A] = done.norm_a;
    notes[NORM_B] = done.norm_b;
    notes[IS_SINGULAR] = done.is_singular;
    notes[IS_APPLIED] = done.is_applied;
}

/* dA <- S^-1 dA, dB <- dB S; the module's row of the record. */
static void apply(reflora *self, int64_t m, rf_real *gradient)
{
    const rf_module *module = &self->context.modules->item[m];
    const int64_t r = module->r, items = rf_triangle_items(r);
    const double *result = rf_shares_get(&self->shares, m), *notes = result + 2 * items;
    reflora_record_note(&self->record, m, notes[CONDITION], notes[NORM_A], notes[NORM_B],
                        notes[IS_SINGULAR] != 0);
    if (notes[IS_APPLIED] == 0) return;
    const rf_param *a = row_of(self, module->a), *b = row_of(self, module->b);
    double *s = wide_workspace_mine(&self->workspace), *work = s + r * r;
    rf_triangle_unpack(s, result + items, r);
    factor_multiply(gradient + a->offset, a, self->context.grid, RF_FACTOR_A, s, work);
    rf_triangle_unpack(s, result, r);
    factor_multiply(gradient + b->offset, b, self->context.grid, RF_FACTOR_B, s, work);
}

static void before_update(void *opaque, const rf_method_step *step, rf_real *gradient)
{
    reflora *self = opaque;
    const int64_t count = self->context.modules->count;
    if (!reflora_clock_refactors(&self->clock, step->number)) return;
    rf_shares_start(&self->shares);
#pragma omp parallel for schedule(dynamic)
    for (int64_t m = 0; m < count; m++)
        if (rf_shares_measures(&self->shares, m)) measure(self, m);
    rf_shares_sum(&self->shares);
#pragma omp parallel for schedule(dynamic)
    for (int64_t m = 0; m < count; m++)
        if (rf_shares_owns(&self->shares, m)) solve(self, m);
    rf_shares_spread(&self->shares);
#pragma omp parallel for schedule(dynamic)
    for (int64_t m = 0; m < count; m++) apply(self, m, gradient);
    reflora_record_end(&self->record, step->number);
}

static rf_status fields(void *opaque, int64_t step, rf_fields *table)
{
    (void)step;
    reflora *self = opaque;
    return reflora_record_fields(&self->record, "reflora", table);
}

static rf_status report(const void *opaque, const rf_method_step *step, rf_telemetry *telemetry)
{
    const reflora *self = opaque;
    return reflora_record_report(&self->record, step->number, telemetry);
}

static void summarise(const void *opaque, rf_log *log)
{
    const reflora *self = opaque;
    reflora_record_summarise(&self->record, "reflora", log);
}

const rf_method_hooks reflora_hooks = {.create = create,
                                       .destroy = destroy,
                                       .layout = layout,
                                       .before_update = before_update,
                                       .fields = fields,
                                       .report = report,
                                       .summarise = summarise};
