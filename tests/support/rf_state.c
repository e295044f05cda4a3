#include "rf_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refract/base/rng.h"

static const struct {
    const char *path;
    int64_t rows, cols;
    rf_split split;
    int64_t unit;
    rf_dtype dtype;
} table[RF_STATE_FIELDS] = {
    {"/adapter/layers.0.q_proj/A", 4, 12, RF_REPLICATED, 1, RF_F32},
    {"/adapter/layers.0.q_proj/B", 24, 4, RF_ROWS, 8, RF_F32}, /* 3 units: an empty slice */
    {"/adapter/layers.0.o_proj/A", 4, 20, RF_COLS, 4, RF_F64},
    {"/model/embed", 400, 400, RF_ROWS, 1, RF_F64}, /* 1.3 MB: more than one block */
    {"/optimizer/layers.0.q_proj/B/m", 24, 4, RF_ROWS, 8, RF_BF16},
    {"/data/position", 1, 1, RF_REPLICATED, 1, RF_I64},
    {"/method/beam/alive", 6, 1, RF_REPLICATED, 1, RF_U8},
};

static size_t local_bytes(const rf_field *field, const rf_grid *grid)
{
    return (size_t)rf_local_items(&field->shape, grid->slice_begin, grid->slice_end) *
           rf_dtype_size(field->dtype);
}

static void make_field(rf_state *state, int i, const rf_grid *grid, int64_t step)
{
    rf_field *field = &state->fields[i];
    const int64_t n = table[i].split == RF_COLS ? table[i].cols : table[i].rows;
    field->shape = (rf_shape){
        .rows = table[i].rows,
        .cols = table[i].cols,
        .split = table[i].split,
        .cut = {.units = n / table[i].unit, .unit = table[i].unit, .slices = grid->slices}};
    field->dtype = table[i].dtype;
    snprintf(field->path, sizeof field->path, "%s", table[i].path);
    const size_t item = rf_dtype_size(field->dtype);
    const size_t bytes = (size_t)(table[i].rows * table[i].cols) * item;
    unsigned char *global = malloc(bytes);
    RF_ASSERT(global, "no memory");
    for (size_t at = 0; at < bytes; at++)
        global[at] =
            (unsigned char)(256 * rf_random_uniform((uint64_t)step, (uint64_t)i, (uint64_t)at));
    state->globals[i] = global;
    field->data = malloc(local_bytes(field, grid) + 1);
    RF_ASSERT(field->data, "no memory");
    rf_shape_scatter(field->data, global, &field->shape, grid->slice_begin, grid->slice_end, item);
}

void rf_state_make(rf_state *state, const rf_grid *grid, int64_t step)
{
    *state = (rf_state){.attributes = {{.name = "config", .text = "train: {steps: 3}\n"},
                                       {.name = "ranks", .number = 2},
                                       {.name = "data_digest", .text = "0123"}}};
    for (int i = 0; i < RF_STATE_FIELDS; i++) make_field(state, i, grid, step);
}

void rf_state_clear(rf_state *state, const rf_grid *grid)
{
    for (int i = 0; i < RF_STATE_FIELDS; i++)
        memset(state->fields[i].data, 0xAB, local_bytes(&state->fields[i], grid));
}

int rf_state_holds(const rf_state *state, const rf_grid *grid)
{
    int same = 1;
    for (int i = 0; i < RF_STATE_FIELDS; i++) {
        const rf_field *field = &state->fields[i];
        const size_t bytes = local_bytes(field, grid);
        char *wanted = malloc(bytes + 1);
        RF_ASSERT(wanted, "no memory");
        rf_shape_scatter(wanted, state->globals[i], &field->shape, grid->slice_begin,
                         grid->slice_end, rf_dtype_size(field->dtype));
        same = same && memcmp(wanted, field->data, bytes) == 0;
        free(wanted);
    }
    return same;
}

void rf_state_free(rf_state *state)
{
    for (int i = 0; i < RF_STATE_FIELDS; i++) {
        free(state->fields[i].data);
        free(state->globals[i]);
    }
}
