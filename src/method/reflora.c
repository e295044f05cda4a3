/*
 * RefLoRA: gradients are refactored just before the update; factors and moments stay as they are.
 * Zhang, Li, Giannakis, NeurIPS 2025, arXiv:2505.18877.
 *
 * With gates D = diag(sigma) between the factors, S is that of A and B D, dA <- S^-1 dA and
 * dB <- (s G A^T) S D. The adapter leaves dB without its gate (rf_adapter_options.is_ungated), so
 * that D is never inverted; it is put on here, before the norm is taken.
 */
#include "refract/method/reflora.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "factors.h"
#include "hooks.h"
#include "reflora_keys.h"
#include "refract/adapter/gate.h"
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
    int has_gates;
    double temperature; /* of gates */
    int64_t *rank_at;   /* [modules] first of a module's ranks; owned */
    int64_t *b_at;      /* [modules] its B in `ungated`; owned, behind rank_at */
    int64_t ranks, b_items;
    double *sigma;    /* [ranks] */
    rf_real *ungated; /* gradients of B without their gates */
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

/* Places of the modules' scores and of their gradients without gates. */
static rf_status place_gates(reflora *self)
{
    const rf_modules *modules = self->context.modules;
    const size_t count = (size_t)modules->count;
    self->rank_at = calloc(2 * count + 1, sizeof *self->rank_at);
    if (!self->rank_at) return rf_fail(RF_RESOURCES, "no memory for reflora");
    self->b_at = self->rank_at + count;
    for (int64_t m = 0; m < modules->count; m++) {
        const rf_module *module = &modules->item[m];
        if (module->gate < 0) continue;
        self->has_gates = 1;
        self->rank_at[m] = self->ranks;
        self->b_at[m] = self->b_items;
        self->ranks += module->r;
        self->b_items += self->context.params->row[module->b].items;
    }
    return RF_OK;
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
    self->temperature = rf_adapter_options_read(c).temperature;
    RF_TRY(reflora_clock_read(&self->clock, context));
    RF_TRY(place_gates(self));
    return rf_shares_create(&self->shares, context->grid, context->modules, measured_items,
                            result_items);
}

static void destroy(void *opaque)
{
    reflora *self = opaque;
    rf_shares_destroy(&self->shares);
    free(self->rank_at);
    free(self);
}

static void layout(void *opaque, rf_arena *run, rf_arena *scratch)
{
    reflora *self = opaque;
    rf_shares_layout(&self->shares, scratch);
    wide_workspace_layout(&self->workspace, scratch, self->context.threads, work_items(self));
    reflora_record_layout(&self->record, run, self->context.modules->count);
    self->sigma = RF_TAKE(scratch, double, self->ranks);
    self->ungated = RF_TAKE(scratch, rf_real, self->b_items);
}

static const rf_param *row_of(const reflora *self, int64_t row)
{
    return &self->context.params->row[row];
}

/* Keeps the gradient of B of module m without its gate, and puts the gate on. */
static void gate_gradient(const reflora *self, int64_t m, rf_real *gradient)
{
    const rf_module *module = &self->context.modules->item[m];
    const rf_param *b = row_of(self, module->b), *gate = row_of(self, module->gate);
    double *sigma = self->sigma + self->rank_at[m];
    rf_real *db = gradient + b->offset;
    rf_gate_scores(sigma, gate->data, module->r, self->temperature);
    memcpy(self->ungated + self->b_at[m], db, (size_t)b->items * sizeof *db);
    for (int64_t i = 0; i < b->items; i++) db[i] *= (rf_real)sigma[i % module->r];
}

static void after_gradient(void *opaque, rf_real *gradient)
{
    reflora *self = opaque;
    if (!self->has_gates) return;
#pragma omp parallel for schedule(dynamic)
    for (int64_t m = 0; m < self->context.modules->count; m++)
        if (self->context.modules->item[m].gate >= 0) gate_gradient(self, m, gradient);
}

/* Column j of a [r, r] times sigma[j]; with rows, also row i times sigma[i]. */
static void put_gates(const reflora *self, int64_t m, double *a, int rows)
{
    const rf_module *module = &self->context.modules->item[m];
    const int64_t r = module->r;
    const double *sigma = self->sigma + self->rank_at[m];
    if (module->gate < 0) return;
    for (int64_t i = 0; i < r; i++)
        for (int64_t j = 0; j < r; j++) a[i * r + j] *= rows ? sigma[i] * sigma[j] : sigma[j];
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
    put_gates(self, m, y, 1);
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

/* dA <- S^-1 dA, dB <- dB S, or s G A^T S D; the module's row of the record. */
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
    put_gates(self, m, s, 0);
    if (module->gate >= 0)
        memcpy(gradient + b->offset, self->ungated + self->b_at[m],
               (size_t)b->items * sizeof *gradient);
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
                                       .after_gradient = after_gradient,
                                       .before_update = before_update,
                                       .fields = fields,
                                       .report = report,
                                       .summarise = summarise};
