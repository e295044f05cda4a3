/**
 * Tiles and per-thread scratch. OpenMP threads share out fixed tiles whose shape comes from the
 * problem, never from the number of threads.
 */
#ifndef RF_LINALG_TILES_H
#define RF_LINALG_TILES_H

#include <stdint.h>

#include "refract/base/arena.h"
#include "refract/base/real.h"
#include "refract/linalg/tree.h"

enum {
    RF_TILE_ROWS = 256, /**< tokens of a tile, at most */
    RF_TILE_COLS = 384, /**< features of a tile, at most */
    RF_TALL_ROWS = 256, /**< the same of a narrow tile: bf16 kernels want many rows for each row */
    RF_TALL_COLS = 192, /**< of the weight, threads more tiles than one or two each */
    RF_FLAT_COLS = 96   /**< of a flat tile: few rows, work for all threads */
};

/** A matrix [rows, cols] cut into row_blocks x col_blocks tiles. */
typedef struct rf_tiles {
    int64_t rows, cols;
    int64_t tile_rows, tile_cols;
    int64_t row_blocks, col_blocks;
    int64_t count; /**< row_blocks * col_blocks */
} rf_tiles;

typedef struct rf_tile {
    int64_t row, col, rows, cols;
} rf_tile;

/** The one way to cut: blocks of equal size up to the limits above, multiples of 16. Local. */
rf_tiles rf_tiles_of(int64_t rows, int64_t cols);
/** The same into tall tiles. Local. */
rf_tiles rf_tall_tiles_of(int64_t rows, int64_t cols);
/** The same into flat tiles. Local. */
rf_tiles rf_flat_tiles_of(int64_t rows, int64_t cols);
/** Tile i of the matrix, column blocks first. Local. */
rf_tile rf_tile_at(const rf_tiles *tiles, int64_t i);

/** Rows of one token chunk (leaf of a sum over tokens, see tree.h). Local. */
int64_t rf_token_chunk_rows(int64_t tokens, int64_t chunk);

/** Scratch of every OpenMP thread of this rank. */
typedef struct rf_workspace {
    int threads;
    int64_t items; /**< reals of each thread */
    rf_real *base; /**< [threads, items] */
} rf_workspace;

/** Cuts the scratch out of an arena. Local. */
void rf_workspace_layout(rf_workspace *workspace, rf_arena *arena, int threads, int64_t items);
/** The calling thread's scratch; asking for more than there is is a bug. Local. */
rf_real *rf_workspace_mine(const rf_workspace *workspace, int64_t items);

#endif
