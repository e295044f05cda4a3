/* Column-parallel layers: output features are cut; the input gradient is reduced. */
#include "linear_parts.h"

/* xs [tokens, r] = s drop(x) A^T, token chunk by token chunk. */
static void share_down(const rf_linear_context *context, const rf_linear_pass *pass,
                       const rf_real *x, int64_t tokens)
{
    const rf_linear *linear = pass->linear;
    const rf_lowrank *lr = linear->lowrank;
    if (!lr) return;
    const int64_t d_in = linear->shape.cols, chunks = rf_token_chunks(tokens);
#pragma omp for schedule(dynamic) nowait
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const int64_t row = chunk * RF_TOKEN_CHUNK, rows = rf_token_chunk_rows(tokens, chunk);
        const rf_real *in = x + row * d_in;
        if (linear_drops(context, linear)) {
            tile_scratch scratch;
            tile_scratch_mine(&scratch, context, linear, 1, 1);
            rf_dropout_apply(scratch.mask, d_in, in, d_in, context->dropout, lr->dropout,
                             lr->stream, row, rows, 0, d_in);
            in = scratch.mask;
        }
        rows_nt(context, rows, lr->r, d_in, lr->scaling, in, lr->a, 0, pass->xs + row * lr->r,
                lr->r);
    }
}

/* y [tokens, width] of one slice = x W^T + xs B^T + bias, tile by tile. */
static void share_forward(const rf_linear_context *context, const rf_linear_pass *pass,
                          const rf_real *x, int64_t tokens, int slice)
{
    const rf_linear *linear = pass->linear;
    const slice_view view = linear_slice(linear, context->grid, slice);
    const int64_t d_in = linear->shape.cols;
    const rf_tiles tiles = linear_tiles(context, tokens, view.width);
#pragma omp for schedule(dynamic) nowait
    for (int64_t i = 0; i < tiles.count; i++) {
        const rf_tile tile = rf_tile_at(&tiles, i);
        rf_real *y = pass->y + tokens * view.before + tile.row * view.width + tile.col;
        tile_scratch scratch;
        tile_scratch_mine(&scratch, context, linear, 1, 1);
        const tile_rows in = {.x = x + tile.row * d_in, .at = tile.row * d_in};
        tile_nt(context, y, view.width, in, &view.w, tile, scratch.widen);
        if (linear->lowrank) {
            const int64_t r = linear->lowrank->r;
            rows_nt(context, tile.rows, tile.cols, r, 1, pass->xs + tile.row * r,
                    view.b + tile.col * r, 1, y, view.width);
        }
        if (view.scale)
            tile_scale_output(y, pass->z ? pass->z + (y - pass->y) : NULL, view.width,
                              view.scale + tile.col, tile.rows, tile.cols);
        if (view.bias) tile_add_bias(y, view.width, view.bias + tile.col, tile.rows, tile.cols);
    }
}

void rf_column_forward(rf_linear_context *context, const rf_linear_pass *group, int count,
                       const rf_real *x, int64_t tokens)
{
    const rf_grid *grid = context->grid;
#pragma omp parallel
    {
        for (int i = 0; i < count; i++) share_down(context, &group[i], x, tokens);
        share_rounded(context, 0, x, tokens * group[0].linear->shape.cols);
#pragma omp barrier
        for (int i = 0; i < count; i++)
            for (int s = grid->slice_begin; s < grid->slice_end; s++)
                share_forward(context, &group[i], x, tokens, s);
    }
}

/* Gradients of scaled outputs, and of the scales and biases. */
static void share_scaled_outputs(const rf_linear_context *context, const rf_linear_pass *pass,
                                 int64_t tokens)
{
    const rf_linear *linear = pass->linear;
    const rf_grid *grid = context->grid;
    if (!linear_scales(linear)) return;
    for (int s = grid->slice_begin; s < grid->slice_end; s++) {
        const slice_view view = linear_slice(linear, grid, s);
        const int64_t at = tokens * view.before;
        if (view.width == 0) continue;
        share_scaled_output(context, linear,
                            &(scaled_output){.dz = pass->dz + at,
                                             .dscale = view.dscale,
                                             .dbias = view.dbias,
                                             .dy = pass->dy + at,
                                             .z = pass->z + at,
                                             .scale = view.scale,
                                             .n = view.width,
                                             .tokens = tokens});
    }
}

/* dxs [tokens, r]: the local node of dY B, slices as leaves. */
static void share_down_gradient(const rf_linear_context *context, const rf_linear_pass *pass,
                                rf_real *dxs, int64_t tokens)
{
    const rf_linear *linear = pass->linear;
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
            rf_gemm(RF_N, RF_N, rows, lr->r, view.width, 1,
                    pass_gradient(pass) + tokens * view.before + row * view.width, view.width,
                    view.b, lr->r, 0, rf_tree_leaf(&scratch.tree), lr->r);
            rf_tree_push(&scratch.tree);
        }
        tile_store(dxs + row * lr->r, lr->r, rf_tree_root(&scratch.tree), rows, lr->r);
    }
}

/* The local node of one tile of dX: q + k + v (gate + up) within a slice, then over slices. */
static rf_real *input_gradient_node(tile_scratch *scratch, const rf_linear_context *context,
                                    const rf_linear_pass *group, int count, int64_t tokens,
                                    rf_tile tile)
{
    const rf_grid *grid = context->grid;
    rf_tree_start(&scratch->tree, grid->slice_end - grid->slice_begin, 0);
    for (int s = grid->slice_begin; s < grid->slice_end; s++) {
        if (rf_cut_size(group[0].linear->shape.cut, s) == 0) {
            rf_tree_skip(&scratch->tree);
            continue;
        }
        rf_real *leaf = rf_tree_leaf(&scratch->tree);
        int64_t before = 0; /* gradients of the layers before this one */
        for (int i = 0; i < count; i++) {
            const slice_view view = linear_slice(group[i].linear, grid, s);
            const int64_t at = tokens * view.before + tile.row * view.width;
            const tile_rows dy = {.x = pass_gradient(&group[i]) + at, .at = before + at};
            tile_nn(context, leaf, tile.cols, dy, &view.w, tile, i > 0, scratch->widen);
            before += tokens * rf_linear_width(group[i].linear, grid);
        }
        rf_tree_push(&scratch->tree);
    }
    return rf_tree_root(&scratch->tree);
}

/* dx tile += s drop'(dxs A) of every layer of the group, in order. */
static void add_lowrank_gradient(rf_real *dx, int64_t ld, tile_scratch *scratch,
                                 const rf_linear_context *context, const rf_linear_pass *group,
                                 int count, const rf_real *dxs, int64_t tokens, rf_tile tile)
{
    for (int i = 0; i < count; i++) {
        const rf_linear *linear = group[i].linear;
        const rf_lowrank *lr = linear->lowrank;
        if (!lr) continue;
        const int64_t d_in = linear->shape.cols;
        const int drops = linear_drops(context, linear);
        rf_gemm(RF_N, RF_N, tile.rows, tile.cols, lr->r, lr->scaling, dxs + tile.row * lr->r, lr->r,
                lr->a + tile.col, d_in, drops ? 0 : 1, drops ? scratch->mask : dx,
                drops ? tile.cols : ld);
        if (drops) {
            rf_dropout_apply(scratch->mask, tile.cols, scratch->mask, tile.cols, context->dropout,
                             lr->dropout, lr->stream, tile.row, tile.rows, tile.col, tile.cols);
            for (int64_t t = 0; t < tile.rows; t++)
                rf_add(dx + t * ld, scratch->mask + t * tile.cols, tile.cols);
        }
        dxs += tokens * lr->r;
    }
}

/* Widest scratch of a group: layers that share an input may be held in different types. */
static const rf_linear *widest(const rf_linear_context *context, const rf_linear_pass *group,
                               int count)
{
    const rf_grid *grid = context->grid;
    const int is_bf16 = context->bf16 != NULL;
    const rf_linear *most = group[0].linear;
    for (int i = 1; i < count; i++)
        if (rf_linear_scratch(group[i].linear, grid, is_bf16) >
            rf_linear_scratch(most, grid, is_bf16))
            most = group[i].linear;
    return most;
}

typedef enum dx_part { DX_NODE = 1, DX_LOWRANK = 2 } dx_part;

/* dX in the exchange buffer: the local node, what the adapters add after the reduction, or both. */
static void share_input_gradient(const rf_linear_context *context, const rf_linear_pass *group,
                                 int count, const rf_real *dxs, int64_t tokens, int parts)
{
    const rf_grid *grid = context->grid;
    const int64_t d_in = group[0].linear->shape.cols;
    const rf_tiles tiles = linear_tiles(context, tokens, d_in);
    const rf_linear *most = widest(context, group, count);
#pragma omp for schedule(dynamic) nowait
    for (int64_t i = 0; i < tiles.count; i++) {
        const rf_tile tile = rf_tile_at(&tiles, i);
        rf_real *dx = context->exchange + tile.row * d_in + tile.col;
        tile_scratch scratch;
        tile_scratch_mine(&scratch, context, most, tile.rows * tile.cols,
                          grid->slice_end - grid->slice_begin);
        if (parts & DX_NODE)
            tile_store(dx, d_in, input_gradient_node(&scratch, context, group, count, tokens, tile),
                       tile.rows, tile.cols);
        if (parts & DX_LOWRANK)
            add_lowrank_gradient(dx, d_in, &scratch, context, group, count, dxs, tokens, tile);
    }
}

/* Gradients of one layer's own tensors. */
static void share_own_gradients(const rf_linear_context *context, const rf_linear_pass *pass,
                                const rf_real *dxs, const rf_real *x, int64_t tokens)
{
    const rf_linear *linear = pass->linear;
    const rf_grid *grid = context->grid;
    const rf_lowrank *lr = linear->lowrank;
    const int64_t d_in = linear->shape.cols;
    for (int s = grid->slice_begin; s < grid->slice_end; s++) {
        const slice_view view = linear_slice(linear, grid, s);
        const rf_real *dy = pass_gradient(pass) + tokens * view.before;
        if (view.width == 0) continue;
        if (view.db)
            share_token_product(context, linear,
                                &(token_product){.out = view.db,
                                                 .alpha = 1,
                                                 .a = dy,
                                                 .lda = view.width,
                                                 .m = view.width,
                                                 .b = pass->xs,
                                                 .ldb = lr->r,
                                                 .n = lr->r,
                                                 .tokens = tokens,
                                                 .first_col = -1});
        if (view.dw)
            share_token_product(context, linear,
                                &(token_product){.out = view.dw,
                                                 .alpha = 1,
                                                 .a = dy,
                                                 .lda = view.width,
                                                 .m = view.width,
                                                 .b = x,
                                                 .ldb = d_in,
                                                 .n = d_in,
                                                 .tokens = tokens,
                                                 .first_col = -1,
                                                 .accumulate = pass->accumulate});
        if (view.dbias && !view.scale)
            share_bias_gradient(context, linear, view.dbias, dy, view.width, tokens);
    }
    if (lr && lr->da)
        share_token_product(context, linear,
                            &(token_product){.out = lr->da,
                                             .alpha = lr->scaling,
                                             .a = dxs,
                                             .lda = lr->r,
                                             .m = lr->r,
                                             .b = x,
                                             .ldb = d_in,
                                             .n = d_in,
                                             .tokens = tokens,
                                             .first_col = linear_drops(context, linear) ? 0 : -1});
}

static void share_group_gradients(const rf_linear_context *context, const rf_linear_pass *group,
                                  int count, const rf_real *dxs, const rf_real *x, int64_t tokens)
{
    for (int i = 0; i < count; i++) {
        share_own_gradients(context, &group[i], dxs, x, tokens);
        if (group[i].linear->lowrank) dxs += tokens * group[i].linear->lowrank->r;
    }
}

const rf_real *rf_column_backward(rf_linear_context *context, const rf_linear_pass *group,
                                  int count, const rf_real *x, int64_t tokens)
{
    const int64_t d_in = group[0].linear->shape.cols;
    rf_real *dxs = context->exchange + tokens * d_in;
    int64_t ranks = 0;
    const int alone = context->grid->tp_size == 1;
#pragma omp parallel
    {
        rf_real *at = dxs;
        int64_t rounded = 0;
        for (int i = 0; i < count; i++) share_scaled_outputs(context, &group[i], tokens);
#pragma omp barrier
        for (int i = 0; i < count; i++) {
            const int64_t items = tokens * rf_linear_width(group[i].linear, context->grid);
            share_down_gradient(context, &group[i], at, tokens);
            share_rounded(context, rounded, pass_gradient(&group[i]), items);
            rounded += items;
            if (group[i].linear->lowrank) at += tokens * group[i].linear->lowrank->r;
        }
#pragma omp barrier
        share_input_gradient(context, group, count, dxs, tokens,
                             alone ? DX_NODE | DX_LOWRANK : DX_NODE);
        if (alone) share_group_gradients(context, group, count, dxs, x, tokens);
    }
    if (alone) return context->exchange;
    for (int i = 0; i < count; i++)
        if (group[i].linear->lowrank) ranks += group[i].linear->lowrank->r;
    reduce_exchange(context, group[0].linear, tokens * (d_in + ranks));
#pragma omp parallel
    {
        share_input_gradient(context, group, count, dxs, tokens, DX_LOWRANK);
        share_group_gradients(context, group, count, dxs, x, tokens);
    }
    return context->exchange;
}
