/* The base model with what was trained in it, tensor by tensor. */
#include <stdlib.h>
#include <string.h>

#include "export_parts.h"
#include "refract/comm/agree.h"
#include "refract/io/weights.h"
#include "refract/linalg/convert.h"

/* Shards of a model folder are cut here. */
static const int64_t shard_bytes = (int64_t)4 << 30;

static const rf_adapter *adapter_of(const rf_decoder *m, const char *name)
{
    for (int64_t i = 0; i < m->config.layers * RF_LINEARS; i++) {
        const rf_block *block = &m->block[i / RF_LINEARS];
        const int kind = (int)(i % RF_LINEARS);
        if (strcmp(block->linear[kind].name, name) == 0)
            return block->adapter_row[kind] < 0 ? NULL : &block->bound[kind];
    }
    return NULL;
}

static int64_t own_items(const rf_decoder *m, const rf_shape *shape)
{
    return rf_local_items(shape, m->grid->slice_begin, m->grid->slice_end);
}

rf_status export_merging_open(export_merging *g, const rf_decoder *m)
{
    *g = (export_merging){.decoder = m};
    RF_TRY(rf_params_fields(&m->params, RF_ROWS_BASE, &g->fields, &g->count));
    g->row = calloc((size_t)g->count + 1, sizeof *g->row);
    g->adapter = calloc((size_t)g->count + 1, sizeof *g->adapter);
    if (!g->row || !g->adapter) return rf_fail(RF_RESOURCES, "no memory for a list of tensors");
    int64_t most = 1;
    for (int64_t i = 0; i < g->count; i++) {
        const int64_t items = own_items(m, &g->fields[i].shape);
        if (items > most) most = items;
        g->row[i] = rf_params_find(&m->params, g->fields[i].path);
        g->adapter[i] = adapter_of(m, g->fields[i].path);
        g->fields[i].dtype = RF_DTYPE_REAL;
        g->fields[i].data = NULL;
    }
    g->wide = malloc((size_t)most * sizeof *g->wide);
    return g->wide ? RF_OK : rf_fail(RF_RESOURCES, "no memory to merge a tensor");
}

void export_merging_close(export_merging *g)
{
    free(g->fields);
    free(g->row);
    free(g->adapter);
    free(g->wide);
    *g = (export_merging){0};
}

rf_status export_merging_fill(void *merging, int64_t index, const void **data)
{
    const export_merging *g = merging;
    const rf_decoder *m = g->decoder;
    const rf_shape *shape = &g->fields[index].shape;
    const rf_param *row = g->row[index];
    const int first = m->grid->slice_begin;
    rf_convert(g->wide, RF_DTYPE_REAL, row->data, row->dtype, own_items(m, shape));
    for (int s = first; g->adapter[index] && s < m->grid->slice_end; s++)
        if (rf_slice_items(shape, s) > 0)
            rf_adapter_merge(g->adapter[index], s, g->wide + rf_slice_offset(shape, first, s));
    *data = g->wide;
    return RF_OK;
}

rf_status export_write_merged(const rf_session *s, const char *folder, rf_dtype dtype)
{
    export_merging merging;
    const rf_safetensors_options options = {.dtype = &dtype,
                                            .max_shard_bytes = shard_bytes,
                                            .fill = export_merging_fill,
                                            .context = &merging};
    rf_status status = rf_agree(s->world, export_merging_open(&merging, s->decoder));
    if (status == RF_OK)
        status = rf_safetensors_write(&s->grid, folder, merging.fields, merging.count, &options);
    export_merging_close(&merging);
    return status;
}
