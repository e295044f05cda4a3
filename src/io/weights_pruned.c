/* Base weights of a model that was cut down: whole tensors are read, what is left of them is kept.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refract/comm/agree.h"
#include "refract/io/model_files.h"
#include "refract/io/weights.h"

/* One cut tensor: `kept` of its `whole` rows (RF_ROWS) or columns (RF_COLS). */
typedef struct cut_tensor {
    const rf_param *row;
    const int64_t *kept;
    int64_t whole;
} cut_tensor;

/* part <- the kept rows or columns of all; blocks lie along rows and are never taken apart. */
static void keep_part(char *part, const char *all, const cut_tensor *t)
{
    const rf_shape *shape = &t->row->shape;
    const int64_t block = rf_dtype_block(t->row->dtype);
    const size_t item = rf_dtype_bytes(t->row->dtype, block);
    if (shape->split == RF_ROWS) {
        const size_t bytes = rf_dtype_bytes(t->row->dtype, shape->cols);
        for (int64_t i = 0; i < shape->rows; i++)
            memcpy(part + (size_t)i * bytes, all + (size_t)t->kept[i] * bytes, bytes);
        return;
    }
    for (int64_t i = 0; i < shape->rows; i++)
        for (int64_t j = 0; j < shape->cols; j += block) {
            memcpy(part, all + (size_t)((i * t->whole + t->kept[j]) / block) * item, item);
            part += item;
        }
}

/* This rank's slices of the global part, in blocks. */
static void scatter(const rf_param *row, const char *part, const rf_grid *grid)
{
    const int64_t block = rf_dtype_block(row->dtype);
    rf_shape shape = row->shape;
    shape.cols /= block;
    if (shape.split == RF_COLS) shape.cut.unit /= block;
    rf_shape_scatter(row->data, part, &shape, grid->slice_begin, grid->slice_end,
                     rf_dtype_bytes(row->dtype, block));
}

static rf_status load_cut(const rf_safetensors *st, const rf_grid *grid, const cut_tensor *t)
{
    const rf_param *row = t->row;
    const int is_rows = row->shape.split == RF_ROWS;
    const int64_t rows = is_rows ? t->whole : row->shape.rows;
    const int64_t cols = is_rows ? row->shape.cols : t->whole;
    rf_field field = {.shape = rf_shape_replicated(rows, cols), .dtype = row->dtype};
    snprintf(field.path, sizeof field.path, "%s", row->name);
    field.data = malloc(rf_dtype_bytes(row->dtype, rows * cols) + 1);
    char *part = malloc(rf_dtype_bytes(row->dtype, row->shape.rows * row->shape.cols) + 1);
    rf_status status =
        field.data && part ? RF_OK : rf_fail(RF_RESOURCES, "no memory for '%s'", row->name);
    if (status == RF_OK) status = rf_safetensors_read_slices(st, &field, 0, grid->slices);
    if (status == RF_OK) {
        keep_part(part, field.data, t);
        scatter(row, part, grid);
    }
    free(field.data);
    free(part);
    return status;
}

static rf_status load_linear(const rf_safetensors *st, const rf_decoder *m,
                             const rf_pruning *pruning, int64_t layer, int kind, int64_t *kept)
{
    const rf_block *block = &m->block[layer];
    const int64_t rows[] = {block->weight_row[kind], block->bias_row[kind]};
    cut_tensor t = {.kept = kept, .whole = rf_pruning_whole(pruning, (rf_linear_kind)kind)};
    rf_pruning_features(pruning, layer, (rf_linear_kind)kind, kept);
    for (int i = 0; i < 2; i++) {
        t.row = rows[i] < 0 ? NULL : &m->params.row[rows[i]];
        if (t.row && t.row->shape.split != RF_REPLICATED) RF_TRY(load_cut(st, m->grid, &t));
    }
    return RF_OK;
}

/* Norms, embeddings and biases that no prune cuts; uncut vocabulary slices too. */
static int is_whole(const rf_decoder *m, int64_t row)
{
    for (int64_t i = 0; i < m->config.layers * RF_LINEARS; i++) {
        const rf_block *block = &m->block[i / RF_LINEARS];
        const int kind = (int)(i % RF_LINEARS);
        if (row == block->weight_row[kind] || row == block->bias_row[kind])
            return m->params.row[row].shape.split == RF_REPLICATED;
    }
    return !m->params.row[row].adapter;
}

static rf_status load_whole(const rf_safetensors *st, const rf_decoder *m)
{
    for (int64_t i = 0; i < m->params.count; i++) {
        const rf_param *row = &m->params.row[i];
        if (!is_whole(m, i)) continue;
        rf_field field = {.shape = row->shape, .dtype = row->dtype, .data = row->data};
        snprintf(field.path, sizeof field.path, "%s", row->name);
        RF_TRY(rf_safetensors_read_slices(st, &field, m->grid->slice_begin, m->grid->slice_end));
    }
    return RF_OK;
}

static rf_status load_all(const rf_safetensors *st, const rf_decoder *m, const rf_pruning *pruning)
{
    int64_t most = 1;
    for (int kind = 0; kind < RF_LINEARS; kind++)
        if (rf_pruning_whole(pruning, (rf_linear_kind)kind) > most)
            most = rf_pruning_whole(pruning, (rf_linear_kind)kind);
    int64_t *kept = malloc((size_t)most * sizeof *kept);
    rf_status status = kept ? load_whole(st, m) : rf_fail(RF_RESOURCES, "no memory for indices");
    for (int64_t i = 0; i < m->config.layers * RF_LINEARS && status == RF_OK; i++)
        status = load_linear(st, m, pruning, i / RF_LINEARS, (int)(i % RF_LINEARS), kept);
    free(kept);
    return status;
}

rf_status rf_weights_load_pruned(const rf_decoder *decoder, const rf_pruning *pruning,
                                 const char *path)
{
    rf_safetensors *st = NULL;
    MPI_Comm world = decoder->grid->world;
    RF_TRY(rf_model_files_open_all(&st, world, path));
    const rf_status status = rf_agree(world, load_all(st, decoder, pruning));
    rf_safetensors_close(&st);
    return status;
}
