/* Row-parallel layers: input features are cut; the output is reduced. */
#include "linear_parts.h"

#include <string.h>

/* xs [tokens, r] in the exchange buffer: the local node of s drop(x) A^T, slices as leaves. */
static void share_down(const rf_linear_context *context, const rf_linear *linear, rf_real *xs,
                       const rf_real *x, int64_t tokens)
{
    const rf_lowrank *lr = linear->lowrank;
    if (!lr) return;
    const rf_grid *grid = context->grid;
    const int64_t chunks = rf_token_chunks(tokens);
    const int leaves = grid->slice_end - grid->slice_begin;
#pragma omp for schedule(dynamic) nowait
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const int64_t row = chunk * RF_TOKEN_CHUNK, rows = rf_token_chunk_rows(tokens, chunk);
        tile_scratch scratch;
        tile_scratch_mine(&scratch, context, linear, rows * lr->r, leaves);
        rf_tree_start(&scratch.tree, leaves, 0);
        for (int s = grid->slice_begin; s < grid->slice_end; s++) {
            const slice_view view = linear_slice(linear, grid, s);
            if (view.width == 0) {
                rf_tree_skip(&scratch.tree);
                continue;
            }
            const rf_real *in = x + tokens * view.before + row * view.width;
            if (linear_drops(context, linear)) {
                rf_dropout_apply(scratch.mask, view.width, in, view.width, context->dropout,
                                 lr->dropout, lr->stream, row, rows, view.first_col, view.width);
                in = scratch.mask;
            }
            rows_nt(context, rows, lr->r, view.width, lr->scaling, in, view.a, 0,
                    rf_tree_leaf(&scratch.tree), lr->r);
            rf_tree_push(&scratch.tree);
        }
        tile_store(xs + row * lr->r, lr->r, rf_tree_root(&scratch.tree), rows, lr->r);
    }
}

static rf_real *output_node(tile_scratch *scratch, const rf_linear_context *context,
                            const rf_linear *linear, const rf_real *x, int64_t tokens, rf_tile tile)
{
    const rf_grid *grid = context->grid;
    rf_tree_start(&scratch->tree, grid->slice_end - grid->slice_begin, 0);
    for (int s = grid->slice_begin; s < grid->slice_end; s++) {
        const slice_view view = linear_slice(linear, grid, s);
        if (view.width == 0) {
            rf_tree_skip(&scratch->tree);
            continue;
        }
        const int64_t at = tokens * view.before + tile.row * view.width;
        tile_nt(context, rf_tree_leaf(&scratch->tree), tile.cols,
                (tile_rows){.x = x + at, .at = at}, &view.w, tile, scratch->widen);
        rf_tree_push(&scratch->tree);
    }
    return rf_tree_root(&scratch->tree);
}

typedef enum y_part { Y_NODE = 1, Y_REST = 2 } y_part;

/* Y in the exchange buffer: the local node, what is added after the reduction, or both. */
static void share_output(const rf_linear_context *context, const rf_linear *linear, rf_real *z,
                         const rf_real *xs, const rf_real *x, int64_t tokens, int parts)
{
    const rf_grid *grid = context->grid;
    const int64_t d_out = linear->shape.rows;
    const rf_lowrank *lr = linear->lowrank;
    const rf_tiles tiles = linear_tiles(context, tokens, d_out);
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < tiles.count; i++) {
        const rf_tile tile = rf_tile_at(&tiles, i);
        rf_real *y = context->exchange + tile.row * d_out + tile.col;
        tile_scratch scratch;
        tile_scratch_mine(&scratch, context, linear, tile.rows * tile.cols,
                          grid->slice_end - grid->slice_begin);
        if (parts & Y_NODE)
            tile_store(y, d_out, output_node(&scratch, context, linear, x, tokens, tile), tile.rows,
                       tile.cols);
        if (!(parts & Y_REST)) continue;
        if (lr)
            rows_nt(context, tile.rows, tile.cols, lr->r, 1, xs + tile.row * lr->r,
                    lr->b + tile.col * lr->r, 1, y, d_out);
        if (lr && linear_scales(linear))
            tile_scale_output(y, z ? z + (y - context->exchange) : NULL, d_out,
                              lr->out_scale + tile.col, tile.rows, tile.cols);
        if (linear->bias) tile_add_bias(y, d_out, linear->bias + tile.col, tile.rows, tile.cols);
    }
}

const rf_real *rf_row_forward(rf_linear_context *context, const rf_linear_pass *pass,
                              const rf_real *x, int64_t tokens)
{
    const rf_linear *linear = pass->linear;
    const int64_t d_out = linear->shape.rows;
    const int64_t r = linear->lowrank ? linear->lowrank->r : 0;
    rf_real *xs = context->exchange + tokens * d_out;
    const int alone = context->grid->tp_size == 1;
#pragma omp parallel
    {
        share_down(context, linear, xs, x, tokens);
        share_rounded(context, 0, x, tokens * rf_linear_width(linear, context->grid));
#pragma omp barrier
        share_output(context, linear, pass->z, xs, x, tokens, alone ? Y_NODE | Y_REST : Y_NODE);
    }
    if (!alone) {
        reduce_exchange(context, linear, tokens * (d_out + r));
#pragma omp parallel
        share_output(context, linear, pass->z, xs, x, tokens, Y_REST);
    }
    if (linear->lowrank) memcpy(pass->xs, xs, (size_t)(tokens * r) * sizeof *xs);
    return context->exchange;
}

/* dxs [tokens, r] = dY B, replicated. */
static void share_down_gradient(const rf_linear_pass *pass, rf_real *dxs, int64_t tokens)
{
    const rf_lowrank *lr = pass->linear->lowrank;
    if (!lr) return;
    const int64_t d_out = pass->linear->shape.rows, chunks = rf_token_chunks(tokens);
#pragma omp for schedule(dynamic) nowait
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const int64_t row = chunk * RF_TOKEN_CHUNK, rows = rf_token_chunk_rows(tokens, chunk);
        rf_gemm(RF_N, RF_N, rows, lr->r, d_out, 1, pass_gradient(pass) + row * d_out, d_out, lr->b,
                lr->r, 0, dxs + row * lr->r, lr->r);
    }
}

/* dx [tokens, width] of one slice = dY W + s drop'(dxs A). */
static void share_input_gradient(const rf_linear_context *context, const rf_linear_pass *pass,
                                 rf_real *dx, const rf_real *dxs, int64_t tokens, int slice)
{
    const rf_linear *linear = pass->linear;
    const rf_lowrank *lr = linear->lowrank;
    const slice_view view = linear_slice(linear, context->grid, slice);
    const int64_t d_out = linear->shape.rows;
    const rf_tiles tiles = linear_tiles(context, tokens, view.width);
    const int drops = linear_drops(context, linear);
#pragma omp for schedule(dynamic) nowait
    for (int64_t i = 0; i < tiles.count; i++) {
        const rf_tile tile = rf_tile_at(&tiles, i);
        rf_real *out = dx + tokens * view.before + tile.row * view.width + tile.col;
        tile_scratch scratch;
        tile_scratch_mine(&scratch, context, linear, 1, 1);
        const tile_rows dy = {.x = pass_gradient(pass) + tile.row * d_out, .at = tile.row * d_out};
        tile_nn(context, out, view.width, dy, &view.w, tile, 0, scratch.widen);
        if (!lr) continue;
        rf_gemm(RF_N, RF_N, tile.rows, tile.cols, lr->r, lr->scaling, dxs + tile.row * lr->r, lr->r,
                view.a + tile.col, view.width, drops ? 0 : 1, drops ? scratch.mask : out,
                drops ? tile.cols : view.width);
        if (!drops) continue;
        rf_dropout_apply(scratch.mask, tile.cols, scratch.mask, tile.cols, context->dropout,
                         lr->dropout, lr->stream, tile.row, tile.rows, view.first_col + tile.col,
                         tile.cols);
        for (int64_t t = 0; t < tile.rows; t++)
            rf_add(out + t * view.width, scratch.mask + t * tile.cols, tile.cols);
    }
}

/* Gradients of one slice of A and W. */
static void share_slice_gradients(const rf_linear_context *context, const rf_linear_pass *pass,
                                  const rf_real *dxs, const rf_real *x, int64_t tokens, int slice)
{
    const rf_linear *linear = pass->linear;
    const rf_lowrank *lr = linear->lowrank;
    const slice_view view = linear_slice(linear, context->grid, slice);
    const int64_t d_out = linear->shape.rows;
    const rf_real *in = x + tokens * view.before;
    if (view.width == 0) return;
    if (view.da)
        share_token_product(
            context, linear,
            &(token_product){.out = view.da,
                             .alpha = lr->scaling,
                             .a = dxs,
                             .lda = lr->r,
                             .m = lr->r,
                             .b = in,
                             .ldb = view.width,
                             .n = view.width,
                             .tokens = tokens,
                             .first_col = linear_drops(context, linear) ? view.first_col : -1});
    if (view.dw)
        share_token_product(context, linear,
                            &(token_product){.out = view.dw,
                                             .alpha = 1,
                                             .a = pass_gradient(pass),
                                             .lda = d_out,
                                             .m = d_out,
                                             .b = in,
                                             .ldb = view.width,
                                             .n = view.width,
                                             .tokens = tokens,
                                             .first_col = -1});
}

void rf_row_backward(rf_linear_context *context, const rf_linear_pass *pass, rf_real *dx,
                     const rf_real *x, int64_t tokens)
{
    const rf_linear *linear = pass->linear;
    const rf_lowrank *lr = linear->lowrank;
    const rf_grid *grid = context->grid;
    const int64_t d_out = linear->shape.rows;
    rf_real *dxs = context->exchange;
#pragma omp parallel
    {
        if (linear_scales(linear))
            share_scaled_output(context, linear,
                                &(scaled_output){.dz = pass->dz,
                                                 .dscale = lr->dout_scale,
                                                 .dbias = linear->dbias,
                                                 .dy = pass->dy,
                                                 .z = pass->z,
                                                 .scale = lr->out_scale,
                                                 .n = d_out,
                                                 .tokens = tokens});
#pragma omp barrier
        share_down_gradient(pass, dxs, tokens);
        share_rounded(context, 0, pass_gradient(pass), tokens * d_out);
#pragma omp barrier
        for (int s = grid->slice_begin; s < grid->slice_end; s++) {
            share_input_gradient(context, pass, dx, dxs, tokens, s);
            share_slice_gradients(context, pass, dxs, x, tokens, s);
        }
        if (lr && lr->db)
            share_token_product(context, linear,
                                &(token_product){.out = lr->db,
                                                 .alpha = 1,
                                                 .a = pass_gradient(pass),
                                                 .lda = d_out,
                                                 .m = d_out,
                                                 .b = pass->xs,
                                                 .ldb = lr->r,
                                                 .n = lr->r,
                                                 .tokens = tokens,
                                                 .first_col = -1});
        if (linear->dbias && !linear_scales(linear))
            share_bias_gradient(context, linear, linear->dbias, pass->dy, d_out, tokens);
    }
}
