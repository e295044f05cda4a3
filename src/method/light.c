/* Light-PEFT: the estimation stage and what it decides. Gu et al. 2024, Findings of ACL 2024.447.
 */
#include "refract/method/light.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "light_parts.h"
#include "refract/linalg/vecmath.h"

int64_t rf_light_steps(const rf_config *config)
{
    return rf_config_has_method(config, "light") ? rf_config_int(config, "light.steps") : 0;
}

rf_status rf_light_options_read(rf_light_options *options, const rf_config *c)
{
    *options = (rf_light_options){
        .steps = rf_config_int(c, "light.steps"),
        .penalty = rf_config_number(c, "light.penalty"),
        .heads = rf_config_number(c, "light.heads"),
        .neurons = rf_config_number(c, "light.neurons"),
        .modules = rf_config_number(c, "light.modules"),
        .ranks = rf_config_number(c, "light.ranks"),
        .neurons_by_layer = strcmp(rf_config_string(c, "light.neuron_scope"), "layer") == 0,
        .ranks_by_module = strcmp(rf_config_string(c, "light.rank_scope"), "layer") == 0};
    if (options->steps < 2)
        return rf_fail(RF_USAGE,
                       "'light.steps' must be at least 2, not %lld (%s). Scores are averaged over "
                       "the second half of the estimation, and B is zero in its first step",
                       (long long)options->steps, rf_config_where(c, "light.steps"));
    const char *init = rf_config_string(c, "lora.init");
    if (strcmp(init, "pissa") == 0 || strcmp(init, "random") == 0)
        return rf_fail(RF_USAGE,
                       "method 'light' cannot start from lora.init: %s (%s), which moves base "
                       "weights that the prune then cuts. Use default or gaussian",
                       init, rf_config_where(c, "lora.init"));
    return RF_OK;
}

/* Weights that a prune cuts cannot be trained beside the adapters. */
static rf_status check_saved(const rf_method_context *context)
{
    const rf_decoder *m = context->decoder;
    for (int64_t i = 0; i < m->config.layers * RF_LINEARS; i++) {
        const rf_block *block = &m->block[i / RF_LINEARS];
        const rf_param *row = &m->params.row[block->weight_row[i % RF_LINEARS]];
        if (row->trained)
            return rf_fail(RF_USAGE,
                           "lora.modules_to_save trains '%s' (%s), which method 'light' cuts. Name "
                           "modules outside of attention and MLP, such as lm_head",
                           row->name, rf_config_where(context->config, "lora.modules_to_save"));
    }
    return RF_OK;
}

/* Shares that this model's few heads turn into something else than asked. */
static void note_shapes(const light *self)
{
    const rf_model_config *model = &self->context.decoder->config;
    if (self->options.heads > 0 && rf_light_keep_count(model->kv_heads, self->options.heads) < 1)
        rf_log_info(self->context.log,
                    "note: of %lld key/value heads 'light.heads' %g leaves none: every layer keeps "
                    "its best one",
                    (long long)model->kv_heads, self->options.heads);
}

static rf_status create(void **out, const rf_method_context *context)
{
    light *self = calloc(1, sizeof *self);
    *out = self;
    if (!self) return rf_fail(RF_RESOURCES, "no memory for light");
    self->context = *context;
    RF_TRY(rf_light_options_read(&self->options, context->config));
    RF_TRY(check_saved(context));
    for (int64_t m = 0; m < context->modules->count; m++)
        self->ranks += context->modules->item[m].r;
    note_shapes(self);
    return RF_OK;
}

static void destroy(void *self)
{
    free(self);
}

static void layout(void *opaque, rf_arena *run, rf_arena *scratch)
{
    light *self = opaque;
    const rf_grid *grid = self->context.grid;
    rf_collector_layout(&self->collector, run, grid->tp, grid->slices);
    self->module_sum = RF_TAKE(run, double, self->context.modules->count);
    self->rank_sum = RF_TAKE(run, double, self->ranks);
    self->own_sums =
        RF_TAKE(scratch, double, (grid->slice_end - grid->slice_begin) * 2 * self->ranks);
    self->all_sums = RF_TAKE(scratch, double, grid->slices * 2 * self->ranks);
    self->score = RF_TAKE(scratch, double, self->ranks);
}

void rf_light_penalise(const rf_decoder *m, double penalty, rf_real *gradient)
{
    const rf_real by = (rf_real)penalty;
    for (int64_t i = 0; i < 2 * m->config.layers; i++) {
        const rf_block *block = &m->block[i / 2];
        const rf_param *row =
            &m->params.row[i % 2 == 0 ? block->head_mask_row : block->neuron_mask_row];
        const rf_real *mask = row->data;
        rf_real *d = gradient + row->offset;
        for (int64_t k = 0; k < row->items; k++) d[k] += mask[k] > 0 ? by : mask[k] < 0 ? -by : 0;
    }
}

static void after_gradient(void *opaque, rf_real *gradient)
{
    const light *self = opaque;
    rf_light_penalise(self->context.decoder, self->options.penalty, gradient);
}

/* sums [r] <- sum over one slice of a factor times its gradient, rank by rank; rank vectors are
 * rows of A, columns of B. */
static void slice_sums(double *sums, const rf_param *row, const rf_grid *grid, int slice, int is_a,
                       const rf_real *gradient)
{
    const int64_t at = rf_slice_offset(&row->shape, grid->slice_begin, slice);
    const int64_t rows = rf_slice_rows(&row->shape, slice),
                  cols = rf_slice_cols(&row->shape, slice);
    const rf_real *x = (const rf_real *)row->data + at, *d = gradient + row->offset + at;
    for (int64_t k = 0; k < (is_a ? rows : cols); k++)
        sums[k] = is_a ? rf_dot_wide(x + k * cols, d + k * cols, cols) : 0;
    for (int64_t i = 0; !is_a && i < rows; i++)
        for (int64_t k = 0; k < cols; k++)
            sums[k] += (double)x[i * cols + k] * (double)d[i * cols + k];
}

/* What this rank's slices add; of a replicated factor slice 0 has it all. */
static void factor_sums(light *self, int64_t r, int64_t at, const rf_param *row, int is_a,
                        const rf_real *gradient)
{
    const rf_grid *grid = self->context.grid;
    for (int s = grid->slice_begin; s < grid->slice_end; s++) {
        double *sums = self->own_sums + (s - grid->slice_begin) * 2 * self->ranks + at;
        if (row->shape.split == RF_REPLICATED && s > 0)
            memset(sums, 0, (size_t)r * sizeof *sums);
        else
            slice_sums(sums, row, grid, s, is_a, gradient);
    }
}

/* Taylor scores of all ranks from the gradient as it is before clipping. */
static void score_ranks(light *self, const rf_real *gradient)
{
    const rf_modules *modules = self->context.modules;
    const rf_param *rows = self->context.params->row;
    int64_t at = 0;
    for (int64_t m = 0; m < modules->count; m++) {
        const rf_module *module = &modules->item[m];
        factor_sums(self, module->r, at, &rows[module->a], 1, gradient);
        factor_sums(self, module->r, self->ranks + at, &rows[module->b], 0, gradient);
        at += module->r;
    }
    rf_collect_sum_wide(&self->collector, self->all_sums, self->own_sums, 2 * self->ranks,
                        self->context.grid->slices);
    at = 0;
    for (int64_t m = 0; m < modules->count; m++)
        for (int64_t k = 0; k < modules->item[m].r; k++, at++)
            self->score[at] =
                rf_light_rank_score(self->all_sums[at], self->all_sums[self->ranks + at],
                                    modules->item[m].d_in, modules->item[m].d_out);
}

static void before_update(void *opaque, const rf_method_step *step, rf_real *gradient)
{
    light *self = opaque;
    if (!rf_light_counts(step->number, self->options.steps)) return;
    score_ranks(self, gradient);
    rf_light_add(self->rank_sum, self->score, self->ranks);
    rf_light_add(self->module_sum, self->context.decoder->ratio, self->context.modules->count);
}

static rf_status fields(void *opaque, int64_t step, rf_fields *table)
{
    light *self = opaque;
    (void)step;
    RF_TRY(rf_fields_add(table, rf_shape_replicated(self->context.modules->count, 1), RF_F64,
                         self->module_sum, "/method/light/module_sum"));
    return rf_fields_add(table, rf_shape_replicated(self->ranks, 1), RF_F64, self->rank_sum,
                         "/method/light/rank_sum");
}

const rf_method_hooks light_hooks = {.estimates = 1,
                                     .create = create,
                                     .destroy = destroy,
                                     .layout = layout,
                                     .after_gradient = after_gradient,
                                     .before_update = before_update,
                                     .fields = fields,
                                     .prune = light_prune};
