#include "refract/nn/linear.h"

#include <mpi.h>
#include <string.h>

#include "linear_parts.h"

enum { MAX_SLICES = 256 };

static int64_t cut_cols(const rf_linear *linear, const rf_grid *grid)
{
    const rf_shape *shape = &linear->shape;
    int64_t most = shape->cols;
    if (shape->split == RF_COLS) {
        most = 0;
        for (int s = grid->slice_begin; s < grid->slice_end; s++)
            if (rf_slice_cols(shape, s) > most) most = rf_slice_cols(shape, s);
    }
    return most;
}

static int64_t mask_items(const rf_linear *linear, const rf_grid *grid)
{
    const int64_t chunk = RF_TOKEN_CHUNK * cut_cols(linear, grid);
    const int64_t tile = (int64_t)RF_TILE_ROWS * RF_TILE_COLS;
    return chunk > tile ? chunk : tile;
}

static int64_t widen_items(const rf_linear *linear, const rf_grid *grid, int is_bf16)
{
    int64_t most = 0;
    for (int s = grid->slice_begin; s < grid->slice_end; s++) {
        const rf_weight w = {.dtype = linear->dtype,
                             .rows = rf_slice_rows(&linear->shape, s),
                             .cols = rf_slice_cols(&linear->shape, s)};
        const int64_t items = is_bf16 ? rf_bf16_scratch(&w, RF_TALL_ROWS, RF_TALL_COLS)
                                      : rf_weight_scratch(&w, RF_TILE_COLS);
        if (items > most) most = items;
    }
    return most;
}

static int64_t aligned(int64_t reals)
{
    const int64_t line = RF_ARENA_ALIGN / (int64_t)sizeof(rf_real);
    return (reals + line - 1) / line * line;
}

/* Leaves of a tile's sum: slices of this rank, or token chunks of the longest micro-batch. */
enum { MAX_TILE_SLOTS = 16 };

int64_t rf_linear_scratch(const rf_linear *linear, const rf_grid *grid, int is_bf16)
{
    return MAX_TILE_SLOTS * aligned((int64_t)RF_TILE_ROWS * RF_TILE_COLS) +
           aligned(mask_items(linear, grid)) + aligned(widen_items(linear, grid, is_bf16));
}

int64_t rf_linear_width(const rf_linear *linear, const rf_grid *grid)
{
    const rf_cut cut = linear->shape.cut;
    return rf_cut_begin(cut, grid->slice_end) - rf_cut_begin(cut, grid->slice_begin);
}

/* Column-parallel: x, or the gradients of all outputs; row-parallel: x, or the output's gradient.
 */
int64_t rf_linear_rounded(const rf_linear *group, int count, const rf_grid *grid, int64_t tokens)
{
    int64_t cut = 0, whole = 0, longest = 0;
    for (int i = 0; i < count; i++) {
        const rf_shape *shape = &group[i].shape;
        const int64_t uncut = shape->split == RF_ROWS ? shape->cols : shape->rows;
        cut += rf_linear_width(&group[i], grid);
        if (uncut > whole) whole = uncut;
        if (rf_linear_width(&group[i], grid) > longest) longest = rf_linear_width(&group[i], grid);
    }
    const int64_t behind = RF_BF16_ROWS * (whole > longest ? whole : longest);
    return tokens * (cut > whole ? cut : whole) + behind;
}

slice_view linear_slice(const rf_linear *linear, const rf_grid *grid, int slice)
{
    const rf_shape *shape = &linear->shape;
    const rf_lowrank *lowrank = linear->lowrank;
    const int64_t offset = rf_slice_offset(shape, grid->slice_begin, slice);
    const int64_t before =
        rf_cut_begin(shape->cut, slice) - rf_cut_begin(shape->cut, grid->slice_begin);
    const int column = shape->split == RF_ROWS;
    const int64_t a_at = column || !lowrank ? 0 : lowrank->r * before;
    const int64_t b_at = column && lowrank ? lowrank->r * before : 0;
    slice_view view = {
        .w = {.dtype = linear->dtype,
              .data = (const char *)linear->w + rf_dtype_bytes(linear->dtype, offset),
              .rows = rf_slice_rows(shape, slice),
              .cols = rf_slice_cols(shape, slice)},
        .first_col = column ? 0 : rf_cut_begin(shape->cut, slice),
        .before = before,
        .width = rf_cut_size(shape->cut, slice),
        .bias = linear->bias && column ? linear->bias + before : linear->bias,
        .dbias = linear->dbias && column ? linear->dbias + before : linear->dbias,
        .dw = linear->dw ? linear->dw + offset : NULL,
    };
    if (lowrank) {
        view.a = lowrank->a + a_at;
        view.b = lowrank->b + b_at;
        view.da = lowrank->da ? lowrank->da + a_at : NULL;
        view.db = lowrank->db ? lowrank->db + b_at : NULL;
        view.scale = lowrank->out_scale ? lowrank->out_scale + (column ? before : 0) : NULL;
        view.dscale = lowrank->dout_scale ? lowrank->dout_scale + (column ? before : 0) : NULL;
    }
    return view;
}

void tile_scratch_mine(tile_scratch *scratch, const rf_linear_context *context,
                       const rf_linear *linear, int64_t items, int64_t leaves)
{
    const int slots = rf_tree_slots(leaves, 1);
    RF_ASSERT(slots <= MAX_TILE_SLOTS, "%lld leaves in one tile", (long long)leaves);
    const int is_bf16 = context->bf16 != NULL;
    const int64_t need = rf_linear_scratch(linear, context->grid, is_bf16);
    rf_arena arena = {.name = "tile",
                      .base = (char *)rf_workspace_mine(&context->workspace, need),
                      .size = (size_t)need * sizeof(rf_real)};
    rf_tree_layout(&scratch->tree, &arena, items, slots);
    scratch->mask = RF_TAKE(&arena, rf_real, mask_items(linear, context->grid));
    scratch->widen = RF_TAKE(&arena, rf_real, widen_items(linear, context->grid, is_bf16));
}

void share_rounded(const rf_linear_context *context, int64_t at, const rf_real *x, int64_t items)
{
    enum { PIECE = 16384 };
    if (!context->bf16 || context->by_row) return;
#pragma omp for schedule(static) nowait
    for (int64_t i = 0; i < items; i += PIECE)
        rf_bf16_take(context->rounded + at + i, x + i, items - i < PIECE ? items - i : PIECE);
}

rf_tiles linear_tiles(const rf_linear_context *context, int64_t rows, int64_t cols)
{
    if (context->by_row) return rf_flat_tiles_of(rows, cols);
    return context->bf16 ? rf_tall_tiles_of(rows, cols) : rf_tiles_of(rows, cols);
}

void rows_nt(const rf_linear_context *context, int64_t m, int64_t n, int64_t k, rf_real alpha,
             const rf_real *a, const rf_real *b, rf_real beta, rf_real *c, int64_t ldc)
{
    const int64_t step = context->by_row ? 1 : m;
    for (int64_t i = 0; i < m; i += step)
        rf_gemm(RF_N, RF_T, step, n, k, alpha, a + i * k, k, b, k, beta, c + i * ldc, ldc);
}

void tile_nt(const rf_linear_context *context, rf_real *y, int64_t ldy, tile_rows x,
             const rf_weight *w, rf_tile tile, rf_real *scratch)
{
    if (context->by_row)
        rf_weight_by_row(y, ldy, x.x, w->cols, tile.rows, w, tile.col, tile.cols, 0, scratch);
    else if (context->bf16 && tile.rows > RF_FEW_ROWS)
        rf_bf16_nt(context->bf16, y, ldy, context->rounded + x.at, tile.rows, w, tile.col,
                   tile.cols, 0, scratch);
    else
        rf_weight_nt(y, ldy, x.x, w->cols, tile.rows, w, tile.col, tile.cols, 0, scratch);
}

void tile_nn(const rf_linear_context *context, rf_real *y, int64_t ldy, tile_rows x,
             const rf_weight *w, rf_tile tile, int adds, rf_real *scratch)
{
    if (context->bf16)
        rf_bf16_nn(context->bf16, y, ldy, context->rounded + x.at, tile.rows, w, tile.col,
                   tile.cols, adds, scratch);
    else
        rf_weight_nn(y, ldy, x.x, w->rows, tile.rows, w, tile.col, tile.cols, adds ? 1 : 0,
                     scratch);
}

int linear_drops(const rf_linear_context *context, const rf_linear *linear)
{
    return context->dropout && linear->lowrank && linear->lowrank->dropout > 0;
}

void tile_store(rf_real *out, int64_t ldo, const rf_real *tile, int64_t rows, int64_t cols)
{
    for (int64_t i = 0; i < rows; i++) {
        if (tile)
            memcpy(out + i * ldo, tile + i * cols, (size_t)cols * sizeof *out);
        else
            memset(out + i * ldo, 0, (size_t)cols * sizeof *out);
    }
}

void tile_scale_output(rf_real *y, rf_real *z, int64_t ld, const rf_real *scale, int64_t rows,
                       int64_t cols)
{
    for (int64_t i = 0; i < rows; i++) {
        rf_real *row = y + i * ld;
        if (z) memcpy(z + i * ld, row, (size_t)cols * sizeof *z);
        for (int64_t j = 0; j < cols; j++) row[j] *= scale[j];
    }
}

int linear_scales(const rf_linear *linear)
{
    return linear->lowrank && linear->lowrank->out_scale;
}

const rf_real *pass_gradient(const rf_linear_pass *pass)
{
    return linear_scales(pass->linear) ? pass->dz : pass->dy;
}

void tile_add_bias(rf_real *tile, int64_t ld, const rf_real *bias, int64_t rows, int64_t cols)
{
    for (int64_t i = 0; i < rows; i++) rf_add(tile + i * ld, bias, cols);
}

void linear_present(const rf_linear *linear, const rf_grid *grid, unsigned char *present)
{
    for (int s = 0; s < grid->slices; s++) present[s] = rf_cut_size(linear->shape.cut, s) > 0;
}

void reduce_exchange(rf_linear_context *context, const rf_linear *linear, int64_t items)
{
    if (context->grid->tp_size == 1) return;
    unsigned char present[MAX_SLICES];
    RF_ASSERT(context->grid->slices <= MAX_SLICES, "%d slices", context->grid->slices);
    const double start = MPI_Wtime();
    linear_present(linear, context->grid, present);
    rf_collect_sum(context->collector, context->exchange, &context->exchange, items,
                   context->grid->slices, present, context->exchange_scratch);
    context->reduce_seconds += MPI_Wtime() - start;
}
