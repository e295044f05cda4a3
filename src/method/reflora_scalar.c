/* RefLoRA-S: after the update A and B are given the same Frobenius norm, and the moments what
 * follows from it: with s = |B| / |A|, A <- sqrt(s) A, B <- B / sqrt(s), and moments as gradients
 * scale, inversely. Zhang, Li, Giannakis, NeurIPS 2025, arXiv:2505.18877. */
#include <math.h>
#include <stdlib.h>

#include "factors.h"
#include "hooks.h"
#include "reflora_keys.h"
#include "refract/method/shares.h"

enum { SQUARES_A, SQUARES_B, SQUARES };

typedef struct scalar {
    rf_method_context context;
    reflora_clock clock;
    rf_shares shares;
    rf_workspace workspace;
    reflora_record record;
} scalar;

static int64_t two_numbers(int64_t r)
{
    (void)r;
    return SQUARES;
}

static rf_status create(void **out, const rf_method_context *context)
{
    scalar *self = calloc(1, sizeof *self);
    *out = self;
    if (!self) return rf_fail(RF_RESOURCES, "no memory for reflora-s");
    self->context = *context;
    RF_TRY(reflora_clock_read(&self->clock, context));
    return rf_shares_create(&self->shares, context->grid, context->modules, two_numbers,
                            two_numbers);
}

static void destroy(void *opaque)
{
    scalar *self = opaque;
    rf_shares_destroy(&self->shares);
    free(self);
}

static void layout(void *opaque, rf_arena *run, rf_arena *scratch)
{
    scalar *self = opaque;
    rf_shares_layout(&self->shares, scratch);
    wide_workspace_layout(&self->workspace, scratch, self->context.threads,
                          factor_work(1, self->context.grid));
    reflora_record_layout(&self->record, run, self->context.modules->count);
}

static void measure(const scalar *self, int64_t m)
{
    const rf_module *module = &self->context.modules->item[m];
    const int64_t rows[SQUARES] = {module->a, module->b};
    double *node = rf_shares_node(&self->shares, m), *work = wide_workspace_mine(&self->workspace);
    for (int i = 0; i < SQUARES; i++) {
        const rf_param *row = &self->context.params->row[rows[i]];
        if (rf_shares_measures_row(&self->shares, m, row))
            node[i] = factor_squares(row->data, row, self->context.grid, work);
    }
}

/* Values and moments of one factor that is multiplied by `factor`. */
static void rescale_factor(const scalar *self, int64_t row_index, double factor)
{
    const rf_params *params = self->context.params;
    const rf_param *row = &params->row[row_index];
    factor_scale(params->value + row->offset, row, factor);
    factor_scale(params->moment1 + row->offset, row, 1 / factor);
    factor_scale(params->moment2 + row->offset, row, 1 / (factor * factor));
}

static void rescale_module(scalar *self, int64_t m)
{
    const rf_module *module = &self->context.modules->item[m];
    const double *squares = rf_shares_get(&self->shares, m);
    const double norm_a = sqrt(squares[SQUARES_A]), norm_b = sqrt(squares[SQUARES_B]);
    const double root = sqrt(norm_b / norm_a);
    const int is_applied = isfinite(root) && root > 0;
    reflora_record_note(&self->record, m, NAN, norm_a, norm_b, !is_applied);
    if (!is_applied) return; /* a factor that is zero */
    rescale_factor(self, module->a, root);
    rescale_factor(self, module->b, 1 / root);
}

static void rescale(scalar *self, int64_t step)
{
    const int64_t count = self->context.modules->count;
    rf_shares_start(&self->shares);
#pragma omp parallel for schedule(dynamic)
    for (int64_t m = 0; m < count; m++)
        if (rf_shares_measures(&self->shares, m)) measure(self, m);
    rf_shares_sum(&self->shares);
    for (int64_t m = 0; m < count; m++)
        if (rf_shares_owns(&self->shares, m))
            for (int i = 0; i < SQUARES; i++)
                rf_shares_result(&self->shares, m)[i] = rf_shares_total(&self->shares, m)[i];
    rf_shares_spread(&self->shares);
#pragma omp parallel for schedule(dynamic)
    for (int64_t m = 0; m < count; m++) rescale_module(self, m);
    reflora_record_end(&self->record, step);
}

static void start(void *opaque)
{
    scalar *self = opaque;
    if (reflora_clock_rescales(&self->clock, 0)) rescale(self, 0);
}

static void after_update(void *opaque, const rf_method_step *step)
{
    scalar *self = opaque;
    if (reflora_clock_rescales(&self->clock, step->number)) rescale(self, step->number);
}

static rf_status fields(void *opaque, int64_t step, rf_fields *table)
{
    (void)step;
    scalar *self = opaque;
    return reflora_record_fields(&self->record, "reflora-s", table);
}

static rf_status report(const void *opaque, const rf_method_step *step, rf_telemetry *telemetry)
{
    const scalar *self = opaque;
    return reflora_record_report(&self->record, step->number, telemetry);
}

static void summarise(const void *opaque, rf_log *log)
{
    const scalar *self = opaque;
    reflora_record_summarise(&self->record, "reflora-s", log);
}

const rf_method_hooks reflora_scalar_hooks = {.create = create,
                                              .destroy = destroy,
                                              .layout = layout,
                                              .start = start,
                                              .after_update = after_update,
                                              .fields = fields,
                                              .report = report,
                                              .summarise = summarise};
