#include "refract/io/weights.h"

#include <stdio.h>
#include <stdlib.h>

#include "refract/comm/agree.h"
#include "refract/io/model_files.h"

static int wanted(const rf_param *row, rf_rows rows)
{
    switch (rows) {
    case RF_ROWS_BASE:
        return !row->adapter;
    case RF_ROWS_ADAPTER:
        return row->adapter;
    case RF_ROWS_TRAINED:
        return row->trained;
    case RF_ROWS_PEFT:
        return row->trained && !row->internal;
    }
    return 0;
}

rf_status rf_params_fields(const rf_params *params, rf_rows rows, rf_field **fields, int64_t *count)
{
    *count = 0;
    *fields = calloc((size_t)params->count + 1, sizeof **fields);
    if (!*fields) return rf_fail(RF_RESOURCES, "no memory for a table of tensors");
    for (int64_t i = 0; i < params->count; i++) {
        const rf_param *row = &params->row[i];
        if (!wanted(row, rows)) continue;
        rf_field *field = &(*fields)[(*count)++];
        snprintf(field->path, sizeof field->path, "%s", row->name);
        field->shape = row->shape;
        field->dtype = row->dtype;
        field->data = row->data;
    }
    return RF_OK;
}

rf_status rf_weights_load(const rf_grid *grid, const rf_params *params, const char *path, int tied)
{
    static const char *const head[] = {"lm_head.weight"};
    rf_safetensors *st = NULL;
    rf_field *fields = NULL;
    int64_t count = 0;
    RF_TRY(rf_model_files_open_all(&st, grid->world, path));
    rf_status status =
        rf_agree(grid->world, rf_params_fields(params, RF_ROWS_BASE, &fields, &count));
    for (int64_t i = 0, at = 0; status == RF_OK && i < params->count; i++) {
        if (!wanted(&params->row[i], RF_ROWS_BASE)) continue;
        if (params->row[i].is_filled) fields[at].data = NULL;
        at++;
    }
    if (status == RF_OK) status = rf_safetensors_read(st, grid, fields, count, head, tied ? 1 : 0);
    free(fields);
    rf_safetensors_close(&st);
    return status;
}
