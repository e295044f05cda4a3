/**
 * Tensors of the model as the whole job sees them (global) and as a rank holds them (its slices).
 *
 * A sharded dimension of `units` units is cut once into S slices: slice i = units
 * [floor(i n / S), floor((i+1) n / S)), possibly empty. A rank holds one dense row-major array per
 * slice, its slices one after another in memory; a replicated tensor is one dense array. Nothing
 * here depends on the number of ranks except which slices a rank holds.
 */
#ifndef RF_LINALG_TENSOR_H
#define RF_LINALG_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "refract/base/dtype.h"
#include "refract/base/real.h"
#include "refract/base/status.h"
#include "refract/comm/grid.h"

/** How one dimension is cut: `units` units of `unit` items each, into `slices` slices. */
typedef struct rf_cut {
    int64_t units, unit;
    int slices;
} rf_cut;

/** First item of slice i, and its number of items; rf_cut_begin(cut, slices) is all. Local. */
int64_t rf_cut_begin(rf_cut cut, int slice);
int64_t rf_cut_size(rf_cut cut, int slice);

typedef enum rf_split {
    RF_REPLICATED, /**< every rank holds all of it */
    RF_ROWS,       /**< rows are cut: output features of a column-parallel layer, vocabulary */
    RF_COLS        /**< columns are cut: input features of a row-parallel layer */
} rf_split;

/** Shape of a global tensor and how it is cut; a vector is [rows, 1] (cut by RF_ROWS if at all). */
typedef struct rf_shape {
    int64_t rows, cols;
    rf_split split;
    rf_cut cut; /**< of the split dimension; ignored when replicated */
} rf_shape;

/** A replicated shape. Local. */
rf_shape rf_shape_replicated(int64_t rows, int64_t cols);

/** Rows, columns and items of one slice, and of all slices in [begin, end). Local. */
int64_t rf_slice_rows(const rf_shape *shape, int slice);
int64_t rf_slice_cols(const rf_shape *shape, int slice);
int64_t rf_slice_items(const rf_shape *shape, int slice);
int64_t rf_local_items(const rf_shape *shape, int slice_begin, int slice_end);

/** 1 when no slice cuts a block of that type: blocks lie along rows. Local. */
int rf_shape_keeps_blocks(const rf_shape *shape, rf_dtype dtype);

/** Items before `slice` in the local array of a rank whose first slice is slice_begin. Local. */
int64_t rf_slice_offset(const rf_shape *shape, int slice_begin, int slice);

/**
 * Global row-major index of item (row, col) of a slice: initial values are a function of it. Local.
 */
int64_t rf_global_index(const rf_shape *shape, int slice, int64_t row, int64_t col);

/**
 * Copies between the global row-major array and the local array of slices [begin, end), items of
 * `item` bytes. scatter: local <- its part of global. gather: its part of global <- local. Local.
 */
void rf_shape_scatter(void *local, const void *global, const rf_shape *shape, int slice_begin,
                      int slice_end, size_t item);
void rf_shape_gather(void *global, const void *local, const rf_shape *shape, int slice_begin,
                     int slice_end, size_t item);

/**
 * Collects the global row-major array of `shape` on world rank `root` from the first replica's
 * shards. global [rows, cols] is written on root only (NULL elsewhere); local holds this rank's
 * slices, items of `item` bytes. Collective over the grid's world; RF_RESOURCES.
 */
rf_status rf_tensor_collect(const rf_grid *grid, int root, void *global, const void *local,
                            const rf_shape *shape, size_t item);

#endif
