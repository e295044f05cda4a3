/* Gradients of weights, factors and biases: sums over tokens, with chunks of tokens as leaves. */
#include "linear_parts.h"

#include <string.h>

static void product_tile(tile_scratch *scratch, const rf_linear_context *context,
                         const rf_linear *linear, const token_product *p, rf_tile tile)
{
    const int64_t chunks = rf_token_chunks(p->tokens);
    rf_tree_start(&scratch->tree, chunks, 0);
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const int64_t row = chunk * RF_TOKEN_CHUNK, rows = rf_token_chunk_rows(p->tokens, chunk);
        const rf_real *b = p->b + row * p->ldb + tile.col;
        int64_t ldb = p->ldb;
        if (p->first_col >= 0) {
            rf_dropout_apply(scratch->mask, tile.cols, b, ldb, context->dropout,
                             linear->lowrank->dropout, linear->lowrank->stream, row, rows,
                             p->first_col + tile.col, tile.cols);
            b = scratch->mask;
            ldb = tile.cols;
        }
        rf_gemm(RF_T, RF_N, tile.rows, tile.cols, rows, p->alpha, p->a + row * p->lda + tile.row,
                p->lda, b, ldb, 0, rf_tree_leaf(&scratch->tree), tile.cols);
        rf_tree_push(&scratch->tree);
    }
    rf_real *out = p->out + tile.row * p->n + tile.col;
    const rf_real *sum = rf_tree_root(&scratch->tree);
    if (!p->accumulate)
        tile_store(out, p->n, sum, tile.rows, tile.cols);
    else
        for (int64_t i = 0; i < tile.rows; i++)
            rf_add(out + i * p->n, sum + i * tile.cols, tile.cols);
}

void share_token_product(const rf_linear_context *context, const rf_linear *linear,
                         const token_product *product)
{
    const rf_tiles tiles = rf_tiles_of(product->m, product->n);
#pragma omp for schedule(dynamic) nowait
    for (int64_t i = 0; i < tiles.count; i++) {
        const rf_tile tile = rf_tile_at(&tiles, i);
        tile_scratch scratch;
        tile_scratch_mine(&scratch, context, linear, tile.rows * tile.cols,
                          rf_token_chunks(product->tokens));
        product_tile(&scratch, context, linear, product, tile);
    }
}

/* Sum over tokens of dy, or of dy z, for the columns of a tile; both [tokens, n]. */
static const rf_real *column_sum(tile_scratch *scratch, const rf_real *dy, const rf_real *z,
                                 int64_t n, int64_t tokens, rf_tile tile)
{
    const int64_t chunks = rf_token_chunks(tokens);
    rf_tree_start(&scratch->tree, chunks, 0);
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        rf_real *leaf = rf_tree_leaf(&scratch->tree);
        memset(leaf, 0, (size_t)tile.cols * sizeof *leaf);
        for (int64_t t = 0; t < rf_token_chunk_rows(tokens, chunk); t++) {
            const int64_t at = (chunk * RF_TOKEN_CHUNK + t) * n + tile.col;
            if (!z)
                rf_add(leaf, dy + at, tile.cols);
            else
                for (int64_t j = 0; j < tile.cols; j++) leaf[j] += dy[at + j] * z[at + j];
        }
        rf_tree_push(&scratch->tree);
    }
    return rf_tree_root(&scratch->tree);
}

void share_bias_gradient(const rf_linear_context *context, const rf_linear *linear, rf_real *dbias,
                         const rf_real *dy, int64_t n, int64_t tokens)
{
    const rf_tiles tiles = rf_tiles_of(1, n);
#pragma omp for schedule(dynamic) nowait
    for (int64_t i = 0; i < tiles.count; i++) {
        const rf_tile tile = rf_tile_at(&tiles, i);
        tile_scratch scratch;
        tile_scratch_mine(&scratch, context, linear, tile.cols, rf_token_chunks(tokens));
        memcpy(dbias + tile.col, column_sum(&scratch, dy, NULL, n, tokens, tile),
               (size_t)tile.cols * sizeof *dbias);
    }
}

void share_scaled_output(const rf_linear_context *context, const rf_linear *linear,
                         const scaled_output *o)
{
    const rf_tiles tiles = rf_tiles_of(1, o->n);
#pragma omp for schedule(dynamic) nowait
    for (int64_t i = 0; i < tiles.count; i++) {
        const rf_tile tile = rf_tile_at(&tiles, i);
        const size_t bytes = (size_t)tile.cols * sizeof *o->dz;
        tile_scratch scratch;
        tile_scratch_mine(&scratch, context, linear, tile.cols, rf_token_chunks(o->tokens));
        if (o->dscale)
            memcpy(o->dscale + tile.col, column_sum(&scratch, o->dy, o->z, o->n, o->tokens, tile),
                   bytes);
        if (o->dbias)
            memcpy(o->dbias + tile.col, column_sum(&scratch, o->dy, NULL, o->n, o->tokens, tile),
                   bytes);
        for (int64_t t = 0; t < o->tokens; t++) {
            const int64_t at = t * o->n + tile.col;
            for (int64_t j = 0; j < tile.cols; j++)
                o->dz[at + j] = o->dy[at + j] * o->scale[tile.col + j];
        }
    }
}
