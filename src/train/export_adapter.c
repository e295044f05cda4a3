/* The adapters of the final state as a PEFT folder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export_parts.h"
#include "refract/comm/agree.h"
#include "refract/io/weights.h"

static const rf_dtype single = RF_F32;

static int64_t linears(const rf_decoder *m)
{
    return m->config.layers * RF_LINEARS;
}

/* Every linear of the model with its r and alpha; names are cut from the tensors' names. */
static rf_status list_modules(const rf_decoder *m, export_outgoing *out)
{
    const size_t count = (size_t)linears(m);
    out->modules = calloc(count, sizeof *out->modules);
    out->names = calloc(count, sizeof *out->names);
    out->made = calloc(count, sizeof *out->made);
    out->recovered = calloc(count, sizeof *out->recovered);
    if (!out->modules || !out->names || !out->made || !out->recovered)
        return rf_fail(RF_RESOURCES, "no memory for the adapter's modules");
    for (size_t i = 0; i < count; i++) {
        const rf_block *block = &m->block[i / RF_LINEARS];
        const int kind = (int)(i % RF_LINEARS);
        const char *tensor = block->linear[kind].name;
        snprintf(out->names[i], RF_NAME_BYTES, "%.*s", (int)(strlen(tensor) - strlen(".weight")),
                 tensor);
        out->modules[i].path = out->names[i];
        if (block->adapter_row[kind] < 0) continue;
        const rf_adapter_options options = rf_adapter_export_options(&block->adapter[kind]);
        out->modules[i].r = options.r;
        out->modules[i].alpha = options.alpha;
    }
    return RF_OK;
}

static rf_field *find_field(const export_outgoing *out, const rf_param *row)
{
    for (int64_t i = 0; i < out->count; i++)
        if (strcmp(out->fields[i].path, row->name) == 0) return &out->fields[i];
    return NULL;
}

/* Replaces A and B of a module by what its update is over the base of the files. */
static rf_status replace_factors(const rf_decoder *m, export_outgoing *out, int64_t i)
{
    const rf_block *block = &m->block[i / RF_LINEARS];
    const int64_t first = block->adapter_row[i % RF_LINEARS];
    const rf_adapter *adapter = &block->bound[i % RF_LINEARS];
    if (first < 0 || rf_adapter_is_plain(adapter)) return RF_OK;
    const rf_adapter_options options = rf_adapter_export_options(adapter->options);
    rf_adapter_tensor tensors[RF_ADAPTER_TENSORS];
    int64_t items[2];
    adapter->kind->tensors(&adapter->shape, &options, tensors);
    for (int k = 0; k < 2; k++)
        items[k] = rf_local_items(&tensors[k].shape, m->grid->slice_begin, m->grid->slice_end);
    out->made[i] = malloc((size_t)(items[0] + items[1] + 1) * sizeof(rf_real));
    if (!out->made[i]) return rf_fail(RF_RESOURCES, "no memory to export an adapter");
    rf_real *factor[2] = {out->made[i], out->made[i] + items[0]};
    rf_adapter_export(adapter, factor[0], factor[1]);
    for (int k = 0; k < 2; k++) {
        rf_field *field = find_field(out, &m->params.row[first + k]);
        RF_ASSERT(field, "no field for '%s'", m->params.row[first + k].name);
        field->shape = tensors[k].shape;
        field->data = factor[k];
    }
    return RF_OK;
}

/* A saved embedding that is the head as well: PEFT wants to find it under both names. */
static void add_tied_head(const rf_decoder *m, export_outgoing *out)
{
    const rf_field *embedding = find_field(out, &m->params.row[m->embed_row]);
    if (!m->config.tied || !embedding) return;
    rf_field *head = &out->fields[out->count++]; /* the table has room for every row */
    *head = *embedding;
    snprintf(head->path, sizeof head->path, "lm_head.weight");
}

static rf_status prepare(const rf_decoder *m, export_outgoing *out)
{
    RF_TRY(list_modules(m, out));
    RF_TRY(rf_params_fields(&m->params, RF_ROWS_PEFT, &out->fields, &out->count));
    add_tied_head(m, out);
    for (int64_t i = 0; i < linears(m); i++) RF_TRY(replace_factors(m, out, i));
    return RF_OK;
}

/* Factors of a pruned model for the whole base. Collective over world. */
static rf_status recover(const rf_session *s, export_outgoing *out)
{
    const rf_decoder *m = s->decoder;
    for (int64_t i = 0; s->pruning && i < linears(m); i++) {
        const int64_t first = m->block[i / RF_LINEARS].adapter_row[i % RF_LINEARS];
        if (first < 0) continue;
        rf_field *const factor[2] = {find_field(out, &m->params.row[first]),
                                     find_field(out, &m->params.row[first + 1])};
        RF_TRY(export_recover_factors(m, s->pruning, i, factor, out->recovered[i]));
    }
    return RF_OK;
}

/* r and alpha of modules without a pattern. */
rf_adapter_options export_common_options(const rf_session *s)
{
    rf_adapter_options options = rf_adapter_options_read(s->trained);
    if (s->start) {
        options.r = s->start->r;
        options.alpha = s->start->alpha;
        options.use_rslora = s->start->use_rslora;
        options.init = RF_ADAPTER_DEFAULT;
    }
    return rf_adapter_export_options(&options);
}

static rf_status check_adapted(const rf_session *s)
{
    if (s->kind && s->decoder->adapted) return RF_OK;
    return rf_fail(RF_USAGE,
                   "method '%s' trains the base model's own tensors, which an adapter cannot hold "
                   "(--format). Use --format merged",
                   rf_config_string(s->trained, "method"));
}

rf_status export_outgoing_open(export_outgoing *out, const rf_session *s)
{
    *out = (export_outgoing){.count_linears = linears(s->decoder)};
    RF_TRY_ALL(s->world, check_adapted(s));
    rf_decoder_prepare(s->decoder);
    RF_TRY_ALL(s->world, prepare(s->decoder, out));
    return recover(s, out);
}

void export_outgoing_close(export_outgoing *out)
{
    for (int64_t i = 0; out->made && i < out->count_linears; i++) free(out->made[i]);
    for (int64_t i = 0; out->recovered && i < out->count_linears; i++) {
        free(out->recovered[i][0]);
        free(out->recovered[i][1]);
    }
    free(out->recovered);
    free(out->made);
    free(out->modules);
    free(out->names);
    free(out->fields);
}

rf_status rf_export_adapter(const rf_session *s, const char *folder)
{
    export_outgoing out;
    rf_status status = export_outgoing_open(&out, s);
    if (status == RF_OK) {
        const rf_adapter_options common = export_common_options(s);
        const rf_peft_options options = {.modules = out.modules,
                                         .module_count = out.count_linears,
                                         .r = common.r,
                                         .alpha = common.alpha,
                                         .dropout = common.dropout,
                                         .use_rslora = common.use_rslora,
                                         .use_dora = s->kind->is_dora,
                                         .modules_to_save = s->saved,
                                         .is_tied = s->model.tied,
                                         .base_model = rf_config_string(s->config, "model.path"),
                                         .dtype = &single};
        status = rf_peft_write(&s->grid, folder, out.fields, out.count, &options);
    }
    export_outgoing_close(&out);
    return status;
}
