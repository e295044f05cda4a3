#include "refract/linalg/tensor.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "refract/comm/agree.h"

int64_t rf_cut_begin(rf_cut cut, int slice)
{
    return cut.units * slice / cut.slices * cut.unit;
}

int64_t rf_cut_size(rf_cut cut, int slice)
{
    return rf_cut_begin(cut, slice + 1) - rf_cut_begin(cut, slice);
}

rf_shape rf_shape_replicated(int64_t rows, int64_t cols)
{
    return (rf_shape){.rows = rows, .cols = cols, .split = RF_REPLICATED};
}

int64_t rf_slice_rows(const rf_shape *shape, int slice)
{
    return shape->split == RF_ROWS ? rf_cut_size(shape->cut, slice) : shape->rows;
}

int64_t rf_slice_cols(const rf_shape *shape, int slice)
{
    return shape->split == RF_COLS ? rf_cut_size(shape->cut, slice) : shape->cols;
}

int64_t rf_slice_items(const rf_shape *shape, int slice)
{
    return rf_slice_rows(shape, slice) * rf_slice_cols(shape, slice);
}

int rf_shape_keeps_blocks(const rf_shape *shape, rf_dtype dtype)
{
    const int64_t block = rf_dtype_block(dtype);
    int keeps = shape->cols % block == 0;
    for (int slice = 0; shape->split == RF_COLS && slice < shape->cut.slices; slice++)
        keeps &= rf_cut_size(shape->cut, slice) % block == 0;
    return keeps;
}

int64_t rf_slice_offset(const rf_shape *shape, int slice_begin, int slice)
{
    if (shape->split == RF_REPLICATED) return 0;
    const int64_t across = shape->split == RF_ROWS ? shape->cols : shape->rows;
    return (rf_cut_begin(shape->cut, slice) - rf_cut_begin(shape->cut, slice_begin)) * across;
}

int64_t rf_local_items(const rf_shape *shape, int slice_begin, int slice_end)
{
    if (shape->split == RF_REPLICATED) return shape->rows * shape->cols;
    return rf_slice_offset(shape, slice_begin, slice_end);
}

int64_t rf_global_index(const rf_shape *shape, int slice, int64_t row, int64_t col)
{
    if (shape->split == RF_ROWS) row += rf_cut_begin(shape->cut, slice);
    if (shape->split == RF_COLS) col += rf_cut_begin(shape->cut, slice);
    return row * shape->cols + col;
}

/* Calls copy(local piece, global piece, bytes) for each contiguous run of this rank's part. */
typedef void copy_run(char *local, char *global, size_t bytes);

static void each_run(char *local, char *global, const rf_shape *shape, int begin, int end,
                     size_t item, copy_run *copy)
{
    if (shape->split == RF_REPLICATED) {
        copy(local, global, (size_t)(shape->rows * shape->cols) * item);
        return;
    }
    if (shape->split == RF_ROWS) {
        const int64_t first = rf_cut_begin(shape->cut, begin) * shape->cols;
        copy(local, global + (size_t)first * item,
             (size_t)rf_local_items(shape, begin, end) * item);
        return;
    }
    for (int slice = begin; slice < end; slice++) {
        const size_t width = (size_t)rf_cut_size(shape->cut, slice) * item;
        const size_t left = (size_t)rf_cut_begin(shape->cut, slice) * item;
        for (int64_t row = 0; row < shape->rows; row++, local += width)
            copy(local, global + (size_t)(row * shape->cols) * item + left, width);
    }
}

static void to_local(char *local, char *global, size_t bytes)
{
    memcpy(local, global, bytes);
}

static void to_global(char *local, char *global, size_t bytes)
{
    memcpy(global, local, bytes);
}

void rf_shape_scatter(void *local, const void *global, const rf_shape *shape, int slice_begin,
                      int slice_end, size_t item)
{
    each_run(local, (char *)(uintptr_t)global, shape, slice_begin, slice_end, item, to_local);
}

void rf_shape_gather(void *global, const void *local, const rf_shape *shape, int slice_begin,
                     int slice_end, size_t item)
{
    each_run((char *)(uintptr_t)local, global, shape, slice_begin, slice_end, item, to_global);
}

/* Point-to-point in pieces below the 2 GiB limit of MPI counts. */
static void send_pieces(const char *data, size_t bytes, int to, MPI_Comm comm)
{
    for (size_t at = 0; at < bytes; at += 1u << 30) {
        const size_t piece = bytes - at < (1u << 30) ? bytes - at : (1u << 30);
        MPI_Send(data + at, (int)piece, MPI_BYTE, to, 0, comm);
    }
}

static void receive_pieces(char *data, size_t bytes, int from, MPI_Comm comm)
{
    for (size_t at = 0; at < bytes; at += 1u << 30) {
        const size_t piece = bytes - at < (1u << 30) ? bytes - at : (1u << 30);
        MPI_Recv(data + at, (int)piece, MPI_BYTE, from, 0, comm, MPI_STATUS_IGNORE);
    }
}

/* Root's half: world ranks 0 .. tp-1 are the first replica; each sends all its slices at once. */
static void collect_on_root(const rf_grid *grid, char *global, const void *local,
                            const rf_shape *shape, size_t item, char *buffer)
{
    const int per_rank = grid->slices / grid->tp_size;
    const int sources = shape->split == RF_REPLICATED ? 1 : grid->tp_size;
    for (int source = 0; source < sources; source++) {
        const int begin = source * per_rank, end = begin + per_rank;
        const size_t bytes = (size_t)rf_local_items(shape, begin, end) * item;
        if (source == grid->rank) {
            rf_shape_gather(global, local, shape, begin, end, item);
        } else {
            receive_pieces(buffer, bytes, source, grid->world);
            rf_shape_gather(global, buffer, shape, begin, end, item);
        }
    }
}

rf_status rf_tensor_collect(const rf_grid *grid, int root, void *global, const void *local,
                            const rf_shape *shape, size_t item)
{
    const int sources = shape->split == RF_REPLICATED ? 1 : grid->tp_size;
    char *buffer = NULL;
    rf_status status = RF_OK;
    if (grid->rank == root) {
        size_t most = 1;
        const int per_rank = grid->slices / grid->tp_size;
        for (int source = 0; source < sources; source++) {
            const size_t bytes =
                (size_t)rf_local_items(shape, source * per_rank, (source + 1) * per_rank) * item;
            if (bytes > most) most = bytes;
        }
        buffer = malloc(most);
        if (!buffer) status = rf_fail(RF_RESOURCES, "no memory to gather %zu bytes", most);
    }
    status = rf_agree(grid->world, status);
    if (status != RF_OK) {
        free(buffer);
        return status;
    }
    if (grid->rank == root)
        collect_on_root(grid, global, local, shape, item, buffer);
    else if (grid->rank < sources)
        send_pieces(local, (size_t)rf_local_items(shape, grid->slice_begin, grid->slice_end) * item,
                    root, grid->world);
    free(buffer);
    return RF_OK;
}
