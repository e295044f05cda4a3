/* The model that a prune has left, as a folder of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refract/comm/agree.h"
#include "refract/io/safetensors.h"
#include "refract/io/weights.h"
#include "refract/linalg/convert.h"
#include "refract/train/export.h"

static const rf_dtype single = RF_F32;

int rf_export_fits_pruned(const rf_session *s)
{
    return s->pruning && rf_pruning_is_uniform(s->pruning);
}

/* The sizes that are left. */
static rf_model_config model_left(const rf_session *s)
{
    rf_model_config model = s->model;
    model.kv_heads = rf_layer_kv_heads(&s->model, s->pruning, 0);
    model.heads = model.kv_heads * s->pruning->group;
    model.d_ff = rf_layer_d_ff(&s->model, s->pruning, 0);
    snprintf(model.dtype, sizeof model.dtype, "float32");
    return model;
}

/* One weight of this rank, widened, its adapter merged in. */
static rf_status merge_linear(rf_field *field, const rf_decoder *m, const rf_adapter *adapter)
{
    const rf_shape *shape = &field->shape;
    const int64_t items = rf_local_items(shape, m->grid->slice_begin, m->grid->slice_end);
    rf_real *wide = malloc((size_t)(items + 1) * sizeof *wide);
    if (!wide) return rf_fail(RF_RESOURCES, "no memory to merge '%s'", field->path);
    rf_convert(wide, RF_DTYPE_REAL, field->data, field->dtype, items);
    field->dtype = RF_DTYPE_REAL;
    field->data = wide;
    for (int s = m->grid->slice_begin; adapter && s < m->grid->slice_end; s++)
        if (rf_slice_items(shape, s) > 0)
            rf_adapter_merge(adapter, s, wide + rf_slice_offset(shape, m->grid->slice_begin, s));
    return RF_OK;
}

static rf_field *field_of(rf_field *fields, int64_t count, const char *name)
{
    for (int64_t i = 0; i < count; i++)
        if (strcmp(fields[i].path, name) == 0) return &fields[i];
    return NULL;
}

/* Every linear weight of the table; made [layers * RF_LINEARS] takes what is to be freed. */
static rf_status merge_all(const rf_decoder *m, rf_field *fields, int64_t count, void **made)
{
    for (int64_t i = 0; i < m->config.layers * RF_LINEARS; i++) {
        const rf_block *block = &m->block[i / RF_LINEARS];
        const int kind = (int)(i % RF_LINEARS);
        rf_field *field = field_of(fields, count, block->linear[kind].name);
        RF_ASSERT(field, "no field for '%s'", block->linear[kind].name);
        RF_TRY(merge_linear(field, m, block->adapter_row[kind] < 0 ? NULL : &block->bound[kind]));
        made[i] = field->data;
    }
    return RF_OK;
}

static rf_status write_model(const rf_session *s, const char *folder)
{
    const rf_decoder *m = s->decoder;
    const int64_t linears = m->config.layers * RF_LINEARS;
    const rf_safetensors_options options = {.dtype = &single};
    rf_field *fields = NULL;
    int64_t count = 0;
    void **made = calloc((size_t)linears + 1, sizeof *made);
    rf_status status = made ? rf_params_fields(&m->params, RF_ROWS_BASE, &fields, &count)
                            : rf_fail(RF_RESOURCES, "no memory to write '%s'", folder);
    if (status == RF_OK) status = merge_all(m, fields, count, made);
    status = rf_agree(s->world, status);
    if (status == RF_OK) status = rf_safetensors_write(&s->grid, folder, fields, count, &options);
    for (int64_t i = 0; made && i < linears; i++) free(made[i]);
    free(made);
    free(fields);
    return status;
}

rf_status rf_export_pruned(const rf_session *s, const char *folder)
{
    if (!s->pruning)
        return rf_fail(RF_USAGE,
                       "there is no pruned model to write to '%s': nothing was pruned. "
                       "Train with method light first",
                       folder);
    if (!rf_pruning_is_uniform(s->pruning))
        return rf_fail(RF_USAGE,
                       "the pruned layers differ in size, which a model folder cannot say (%s). "
                       "Use light.neuron_scope: layer, or the adapter for the whole model",
                       folder);
    const rf_model_config model = model_left(s);
    rf_decoder_prepare(s->decoder);
    RF_TRY_ALL(s->world, s->grid.rank == 0 ? rf_export_side_files(s, &model, folder) : RF_OK);
    return write_model(s, folder);
}
