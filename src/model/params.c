#include "refract/model/params.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refract/base/rng.h"
#include "refract/linalg/convert.h"

int64_t rf_params_add(rf_params *params, const rf_grid *grid, const char *name, rf_shape shape,
                      rf_dtype dtype, int trained, rf_init init)
{
    if (params->count == params->capacity) {
        const int64_t capacity = params->capacity ? 2 * params->capacity : 64;
        rf_param *row = realloc(params->row, (size_t)capacity * sizeof *row);
        if (!row) return -1;
        params->row = row;
        params->capacity = capacity;
    }
    rf_param *row = &params->row[params->count];
    *row = (rf_param){.shape = shape,
                      .dtype = trained ? RF_DTYPE_REAL : dtype,
                      .trained = trained,
                      .lr_scale = 1,
                      .init = init,
                      .items = rf_local_items(&shape, grid->slice_begin, grid->slice_end)};
    snprintf(row->name, sizeof row->name, "%s", name);
    snprintf(row->path, sizeof row->path, "/model/%s", name);
    if (trained) {
        const int64_t line = RF_ARENA_ALIGN / (int64_t)sizeof(rf_real);
        row->offset = params->trained_items;
        params->trained_items += (row->items + line - 1) / line * line;
    }
    return params->count++;
}

void rf_params_layout(rf_params *params, rf_arena *arena, int training)
{
    params->value = RF_TAKE(arena, rf_real, params->trained_items);
    if (training) {
        params->moment1 = RF_TAKE(arena, rf_real, params->trained_items);
        params->moment2 = RF_TAKE(arena, rf_real, params->trained_items);
    }
    for (int64_t i = 0; i < params->count; i++) {
        rf_param *row = &params->row[i];
        if (row->lent)
            row->data = row->lent;
        else if (!row->trained)
            row->data = rf_arena_take(arena, 1, rf_dtype_bytes(row->dtype, row->items));
        else
            row->data = params->value ? params->value + row->offset : NULL;
    }
}

size_t rf_param_bytes(const rf_param *row)
{
    const size_t bytes = rf_dtype_bytes(row->dtype, row->items);
    return (bytes + RF_ARENA_ALIGN - 1) / RF_ARENA_ALIGN * RF_ARENA_ALIGN;
}

rf_param *rf_params_find(const rf_params *params, const char *name)
{
    for (int64_t i = 0; i < params->count; i++)
        if (strcmp(params->row[i].name, name) == 0) return &params->row[i];
    return NULL;
}

static void init_row(rf_param *row, const rf_grid *grid, uint64_t seed)
{
    const uint64_t stream = rf_stream(row->name, 0, 0);
    if (row->dtype == RF_DTYPE_REAL) {
        rf_init_fill(row->data, &row->shape, grid->slice_begin, grid->slice_end, row->init, seed,
                     stream);
        return;
    }
    rf_real *wide = malloc((size_t)(row->items + 1) * sizeof *wide);
    RF_ASSERT(wide, "no memory for %lld reals", (long long)row->items);
    rf_init_fill(wide, &row->shape, grid->slice_begin, grid->slice_end, row->init, seed, stream);
    rf_convert(row->data, row->dtype, wide, RF_DTYPE_REAL, row->items);
    free(wide);
}

void rf_params_init(rf_params *params, const rf_grid *grid, uint64_t seed, int adapters, int base)
{
    for (int64_t i = 0; i < params->count; i++)
        if (params->row[i].adapter ? adapters : base) init_row(&params->row[i], grid, seed);
}

int64_t rf_params_trained_global(const rf_params *params)
{
    int64_t items = 0;
    for (int64_t i = 0; i < params->count; i++)
        if (params->row[i].trained) items += params->row[i].shape.rows * params->row[i].shape.cols;
    return items;
}

int64_t rf_params_total_global(const rf_params *params)
{
    int64_t items = 0;
    for (int64_t i = 0; i < params->count; i++)
        items += params->row[i].shape.rows * params->row[i].shape.cols;
    return items;
}

void rf_params_destroy(rf_params *params)
{
    free(params->row);
    *params = (rf_params){0};
}
