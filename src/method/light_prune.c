/* Light-PEFT: the prune. Masks and scores of the whole model, what is kept of it, and its record.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "light_parts.h"
#include "refract/comm/agree.h"

/* Everything that is decided on, and the record of it. */
typedef struct verdict {
    rf_light_row row;
    double *numbers;                               /* all doubles of the record; owned */
    uint8_t *flags;                                /* all of its flags; owned */
    int64_t *order;                                /* scratch of the selections; owned */
    double *head, *group, *neuron, *module, *rank; /* in numbers */
    double *head_threshold, *neuron_threshold, *rank_cells;
    uint8_t *head_kept, *module_kept, *rank_flags; /* in flags */
    rf_real *masks;                                /* [layers, heads + d_ff]; owned */
    int64_t *r;                                    /* [modules]; owned */
} verdict;

static rf_status no_memory(void)
{
    return rf_fail(RF_RESOURCES, "no memory for the prune");
}

static rf_status make(verdict *v, const light *self)
{
    const rf_model_config *c = &self->context.decoder->config;
    const rf_modules *modules = self->context.modules;
    const int64_t heads = c->layers * c->heads, groups = c->layers * c->kv_heads;
    const int64_t neurons = c->layers * c->d_ff, cells = modules->count * modules->most_r;
    int64_t most = neurons > self->ranks ? neurons : self->ranks;
    if (modules->count > most) most = modules->count;
    if (groups > most) most = groups;
    v->numbers = calloc((size_t)(heads + groups + neurons + modules->count + self->ranks +
                                 2 * c->layers + cells + 1),
                        sizeof *v->numbers);
    v->flags = calloc((size_t)(heads + modules->count + cells + 1), 1);
    v->order = calloc((size_t)(4 * most + 4), sizeof *v->order);
    v->masks = calloc((size_t)(heads + neurons), sizeof *v->masks);
    v->r = calloc((size_t)modules->count + 1, sizeof *v->r);
    if (!v->numbers || !v->flags || !v->order || !v->masks || !v->r) return no_memory();
    v->head = v->numbers;
    v->group = v->head + heads;
    v->neuron = v->group + groups;
    v->module = v->neuron + neurons;
    v->rank = v->module + modules->count;
    v->head_threshold = v->rank + self->ranks;
    v->neuron_threshold = v->head_threshold + c->layers;
    v->rank_cells = v->neuron_threshold + c->layers;
    v->head_kept = v->flags;
    v->module_kept = v->head_kept + heads;
    v->rank_flags = v->module_kept + modules->count;
    for (int64_t m = 0; m < modules->count; m++) v->r[m] = modules->item[m].r;
    return RF_OK;
}

static void clear(verdict *v)
{
    free(v->numbers);
    free(v->flags);
    free(v->order);
    free(v->masks);
    free(v->r);
}

/* Masks of the whole model on every rank, then the scores of heads, groups and neurons. */
static void collect_masks(verdict *v, const light *self)
{
    const rf_decoder *m = self->context.decoder;
    const rf_model_config *c = &m->config;
    const rf_grid *grid = self->context.grid;
    const int64_t width = c->heads + c->d_ff, group = c->heads / c->kv_heads;
    for (int64_t layer = 0; layer < c->layers; layer++) {
        const rf_param *head = &m->params.row[m->block[layer].head_mask_row];
        const rf_param *neuron = &m->params.row[m->block[layer].neuron_mask_row];
        rf_shape_gather(v->masks + layer * width, head->data, &head->shape, grid->slice_begin,
                        grid->slice_end, sizeof *v->masks);
        rf_shape_gather(v->masks + layer * width + c->heads, neuron->data, &neuron->shape,
                        grid->slice_begin, grid->slice_end, sizeof *v->masks);
    }
    rf_collect_assemble(grid->tp, v->masks, c->layers * width);
    for (int64_t layer = 0; layer < c->layers; layer++) {
        const rf_real *mask = v->masks + layer * width;
        for (int64_t h = 0; h < c->heads; h++) {
            v->head[layer * c->heads + h] = (double)mask[h];
            v->group[layer * c->kv_heads + h / group] += (double)mask[h] / (double)group;
        }
        for (int64_t j = 0; j < c->d_ff; j++)
            v->neuron[layer * c->d_ff + j] = (double)mask[c->heads + j];
    }
}

static void select_shapes(verdict *v, const light *self, rf_pruning *pruning)
{
    const rf_model_config *c = &self->context.decoder->config;
    const int64_t group = c->heads / c->kv_heads;
    const rf_light_options *o = &self->options;
    rf_light_select_rows(pruning->group_kept, v->group, c->layers, c->kv_heads, o->heads, 0,
                         v->order, v->head_threshold);
    rf_light_select_rows(pruning->neuron_kept, v->neuron, c->layers, c->d_ff, o->neurons,
                         !o->neurons_by_layer, v->order, v->neuron_threshold);
    for (int64_t i = 0; i < c->layers * c->heads; i++)
        v->head_kept[i] = pruning->group_kept[i / group];
}

/* Ranks left of each module, by its place in the model. */
static void select_adapters(verdict *v, const light *self, rf_pruned *pruned)
{
    const rf_decoder *m = self->context.decoder;
    const rf_modules *modules = self->context.modules;
    const double divisor = (double)rf_light_divisor(self->options.steps);
    double thresholds[2];
    int64_t at = 0, index = 0;
    for (int64_t i = 0; i < modules->count; i++) v->module[i] = self->module_sum[i] / divisor;
    for (int64_t i = 0; i < self->ranks; i++) v->rank[i] = self->rank_sum[i] / divisor;
    rf_light_select_ranks(v->module_kept, pruned->rank_kept, v->module, v->rank, v->r,
                          modules->count, &self->options, v->order, thresholds);
    v->row.module_threshold = thresholds[0];
    v->row.rank_threshold = thresholds[1];
    for (int64_t i = 0; i < modules->count * modules->most_r; i++) v->rank_cells[i] = NAN;
    for (int64_t i = 0; i < m->config.layers * RF_LINEARS; i++) {
        if (m->block[i / RF_LINEARS].adapter_row[i % RF_LINEARS] < 0) continue;
        for (int64_t k = 0; k < v->r[index]; k++, at++) {
            pruned->pruning->rank[i] += pruned->rank_kept[at];
            v->rank_cells[index * modules->most_r + k] = v->rank[at];
            v->rank_flags[index * modules->most_r + k] = pruned->rank_kept[at];
        }
        index++;
    }
}

static int64_t ones(const uint8_t *flag, int64_t count)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < count; i++) sum += flag[i];
    return sum;
}

static void tell(const verdict *v, const light *self, const rf_pruned *pruned)
{
    const rf_model_config *c = &self->context.decoder->config;
    const int64_t heads = c->layers * c->heads, neurons = c->layers * c->d_ff;
    rf_log_info(self->context.log,
                "prune: %" PRId64 " of %" PRId64 " heads, %" PRId64 " of %" PRId64
                " neurons, %" PRId64 " of %" PRId64 " adapters, %" PRId64 " of %" PRId64
                " ranks are kept",
                ones(v->head_kept, heads), heads, ones(pruned->pruning->neuron_kept, neurons),
                neurons, ones(v->module_kept, self->context.modules->count),
                self->context.modules->count, ones(pruned->rank_kept, self->ranks), self->ranks);
}

static rf_status record(verdict *v, const rf_method_step *step, const rf_pruned *pruned,
                        rf_telemetry *telemetry)
{
    v->row.step = step->number;
    v->row.head_score = v->head;
    v->row.neuron_score = v->neuron;
    v->row.module_score = v->module;
    v->row.rank_score = v->rank_cells;
    v->row.head_kept = v->head_kept;
    v->row.neuron_kept = pruned->pruning->neuron_kept;
    v->row.module_kept = v->module_kept;
    v->row.rank_kept = v->rank_flags;
    v->row.head_threshold = v->head_threshold;
    v->row.neuron_threshold = v->neuron_threshold;
    return rf_telemetry_light(telemetry, &v->row);
}

rf_status light_prune(void *opaque, const rf_method_step *step, rf_telemetry *telemetry,
                      rf_pruned *pruned)
{
    const light *self = opaque;
    verdict v = {0};
    *pruned = (rf_pruned){.rank_kept = calloc((size_t)self->ranks + 1, 1)};
    rf_status status = pruned->rank_kept ? make(&v, self) : no_memory();
    if (status == RF_OK)
        status = rf_pruning_create(&pruned->pruning, &self->context.decoder->config);
    status = rf_agree(self->context.grid->world, status);
    if (status == RF_OK) {
        collect_masks(&v, self);
        select_shapes(&v, self, pruned->pruning);
        select_adapters(&v, self, pruned);
        tell(&v, self, pruned);
        status = record(&v, step, pruned, telemetry);
    }
    clear(&v);
    return status;
}
