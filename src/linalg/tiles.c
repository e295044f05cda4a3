#include "refract/linalg/tiles.h"

#include <omp.h>

static int64_t even_size(int64_t n, int64_t limit)
{
    const int64_t blocks = (n + limit - 1) / limit;
    const int64_t size = (n + blocks - 1) / blocks;
    return (size + 15) / 16 * 16;
}

static rf_tiles cut(int64_t rows, int64_t cols, int64_t most_rows, int64_t most_cols)
{
    rf_tiles tiles = {.rows = rows, .cols = cols};
    if (rows == 0 || cols == 0) return tiles;
    tiles.tile_rows = even_size(rows, most_rows);
    tiles.tile_cols = even_size(cols, most_cols);
    tiles.row_blocks = (rows + tiles.tile_rows - 1) / tiles.tile_rows;
    tiles.col_blocks = (cols + tiles.tile_cols - 1) / tiles.tile_cols;
    tiles.count = tiles.row_blocks * tiles.col_blocks;
    return tiles;
}

rf_tiles rf_tiles_of(int64_t rows, int64_t cols)
{
    return cut(rows, cols, RF_TILE_ROWS, RF_TILE_COLS);
}

rf_tiles rf_tall_tiles_of(int64_t rows, int64_t cols)
{
    return cut(rows, cols, RF_TALL_ROWS, RF_TALL_COLS);
}

rf_tiles rf_flat_tiles_of(int64_t rows, int64_t cols)
{
    return cut(rows, cols, RF_TILE_ROWS, RF_FLAT_COLS);
}

rf_tile rf_tile_at(const rf_tiles *tiles, int64_t i)
{
    rf_tile tile = {.row = i / tiles->col_blocks * tiles->tile_rows,
                    .col = i % tiles->col_blocks * tiles->tile_cols};
    const int64_t rows_left = tiles->rows - tile.row, cols_left = tiles->cols - tile.col;
    tile.rows = rows_left < tiles->tile_rows ? rows_left : tiles->tile_rows;
    tile.cols = cols_left < tiles->tile_cols ? cols_left : tiles->tile_cols;
    return tile;
}

int64_t rf_token_chunk_rows(int64_t tokens, int64_t chunk)
{
    const int64_t left = tokens - chunk * RF_TOKEN_CHUNK;
    return left < RF_TOKEN_CHUNK ? left : RF_TOKEN_CHUNK;
}

void rf_workspace_layout(rf_workspace *workspace, rf_arena *arena, int threads, int64_t items)
{
    workspace->threads = threads;
    workspace->items = (items + 15) / 16 * 16; /* threads do not share cache lines */
    workspace->base = RF_TAKE(arena, rf_real, threads * workspace->items);
}

rf_real *rf_workspace_mine(const rf_workspace *workspace, int64_t items)
{
    const int thread = omp_get_thread_num();
    RF_ASSERT(thread < workspace->threads && items <= workspace->items,
              "thread %d of %d wants %lld of %lld reals", thread, workspace->threads,
              (long long)items, (long long)workspace->items);
    return workspace->base + thread * workspace->items;
}
