/*
 * Scaled AdamW (Riemannian preconditioning): dA <- (B^T B + delta)^-1 dA, an AdamW step on A, then
 * dB <- dB (A A^T + delta)^-1 with the new A, a step on B. Moments are those of the preconditioned
 * gradients; as in the released optimizer there is no bias correction and the decay follows the
 * step. Zhang and Pilanci 2024, arXiv:2402.02347.
 */
#include <math.h>
#include <stdlib.h>

#include "factors.h"
#include "hooks.h"
#include "refract/linalg/dense.h"
#include "refract/method/shares.h"

typedef struct preclora {
    rf_method_context context;
    double damping;
    rf_shares shares;
    rf_workspace workspace;
} preclora;

static rf_status create(void **out, const rf_method_context *context)
{
    preclora *self = calloc(1, sizeof *self);
    *out = self;
    if (!self) return rf_fail(RF_RESOURCES, "no memory for preclora");
    self->context = *context;
    self->damping = rf_config_number(context->config, "preclora.damping");
    return rf_shares_create(&self->shares, context->grid, context->modules, rf_triangle_items,
                            rf_triangle_items);
}

static void destroy(void *opaque)
{
    preclora *self = opaque;
    rf_shares_destroy(&self->shares);
    free(self);
}

static void layout(void *opaque, rf_arena *run, rf_arena *scratch)
{
    (void)run;
    preclora *self = opaque;
    const int64_t r = self->context.modules->most_r;
    rf_shares_layout(&self->shares, scratch);
    wide_workspace_layout(&self->workspace, scratch, self->context.threads,
                          r * r + factor_work(r, self->context.grid));
}

static const rf_param *row_of(const preclora *self, int64_t m, rf_side side)
{
    const rf_module *module = &self->context.modules->item[m];
    return &self->context.params->row[side == RF_FACTOR_A ? module->a : module->b];
}

/* The inverse of a module's damped Gram matrix; the identity where it has none. */
static void solve(const preclora *self, int64_t m)
{
    const int64_t r = self->context.modules->item[m].r;
    double *a = wide_workspace_mine(&self->workspace);
    rf_triangle_unpack(a, rf_shares_total(&self->shares, m), r);
    for (int64_t i = 0; i < r; i++) a[i * r + i] += self->damping;
    if (rf_dense_inverse(a, r) != 0)
        for (int64_t i = 0; i < r * r; i++) a[i] = i % (r + 1) == 0;
    rf_triangle_pack(rf_shares_result(&self->shares, m), a, r);
}

/* Inverses of the damped Gram matrices of one factor of every module, on every rank. */
static void invert_grams(preclora *self, rf_side side)
{
    const int64_t count = self->context.modules->count;
    rf_shares_start(&self->shares);
#pragma omp parallel for schedule(dynamic)
    for (int64_t m = 0; m < count; m++) {
        const rf_param *row = row_of(self, m, side);
        if (rf_shares_measures(&self->shares, m) && rf_shares_measures_row(&self->shares, m, row))
            factor_gram(rf_shares_node(&self->shares, m), row->data, row, self->context.grid, side,
                        wide_workspace_mine(&self->workspace));
    }
    rf_shares_sum(&self->shares);
#pragma omp parallel for schedule(dynamic)
    for (int64_t m = 0; m < count; m++)
        if (rf_shares_owns(&self->shares, m)) solve(self, m);
    rf_shares_spread(&self->shares);
}

static void update_row(const preclora *self, const rf_param *row, const rf_method_step *step,
                       const rf_real *gradient)
{
    const rf_adamw *adamw = self->context.adamw;
    const rf_params *params = self->context.params;
    rf_real *p = params->value + row->offset, *first = params->moment1 + row->offset,
            *second = params->moment2 + row->offset;
    const double rate = step->rate * row->lr_scale;
    for (int64_t i = 0; i < row->items; i++) {
        const double g = step->scale * (double)gradient[i];
        const double m = adamw->beta1 * (double)first[i] + (1 - adamw->beta1) * g;
        const double v = adamw->beta2 * (double)second[i] + (1 - adamw->beta2) * g * g;
        const double now = (double)p[i] - rate * m / (sqrt(v) + adamw->epsilon);
        first[i] = (rf_real)m;
        second[i] = (rf_real)v;
        p[i] = (rf_real)(now - rate * adamw->weight_decay * now);
    }
}

/* Every module's factor `side` with the other one's inverse Gram matrices. */
static void update_factors(preclora *self, const rf_method_step *step, rf_real *gradient,
                           rf_side side)
{
    const int64_t count = self->context.modules->count;
    invert_grams(self, side == RF_FACTOR_A ? RF_FACTOR_B : RF_FACTOR_A);
#pragma omp parallel for schedule(dynamic)
    for (int64_t m = 0; m < count; m++) {
        const rf_param *row = row_of(self, m, side);
        const int64_t r = self->context.modules->item[m].r;
        double *inverse = wide_workspace_mine(&self->workspace);
        rf_triangle_unpack(inverse, rf_shares_get(&self->shares, m), r);
        factor_multiply(gradient + row->offset, row, self->context.grid, side, inverse,
                        inverse + r * r);
        update_row(self, row, step, gradient + row->offset);
    }
}

static void update(void *opaque, const rf_method_step *step, rf_real *gradient, unsigned char *done)
{
    preclora *self = opaque;
    update_factors(self, step, gradient, RF_FACTOR_A);
    update_factors(self, step, gradient, RF_FACTOR_B);
    for (int64_t m = 0; m < self->context.modules->count; m++) {
        done[self->context.modules->item[m].a] = 1;
        done[self->context.modules->item[m].b] = 1;
    }
}

const rf_method_hooks preclora_hooks = {
    .create = create, .destroy = destroy, .layout = layout, .update = update};
