/**
 * Tensor-parallel linear layers with their low-rank updates, forward and backward.
 *
 *   y = x W^T + s (drop(x) A^T) B^T + b          W [d_out, d_in], A [r, d_in], B [d_out, r]
 *
 * An adapter with out_scale [d_out] has y = out_scale z + b, z = x W^T + s (drop(x) A^T) B^T.
 *
 * Column-parallel (RF_ROWS: q, k, v, gate, up): rows of W, B, b are cut, A is replicated; the
 * backward pass reduces dX, with dY B [tokens, r] in the same reduction. Row-parallel (RF_COLS: o,
 * down): columns of W and A are cut, B and b are replicated; the forward pass reduces Y, with x A^T
 * [tokens, r] in the same reduction. Layers that share their input form a group with one reduction.
 *
 * All compute on a cut dimension is slice by slice, with shapes that do not depend on the ranks;
 * partial results of slices and of token chunks are added by the tree. An activation of a cut
 * dimension is one dense [tokens, columns of the slice] array per slice, one after another.
 */
#ifndef RF_NN_LINEAR_H
#define RF_NN_LINEAR_H

#include <stdint.h>

#include "refract/adapter/adapter.h"
#include "refract/base/arena.h"
#include "refract/comm/collect.h"
#include "refract/comm/grid.h"
#include "refract/linalg/bf16.h"
#include "refract/linalg/gemm.h"
#include "refract/linalg/tiles.h"
#include "refract/nn/dropout.h"

/** One linear layer; every array is borrowed and holds this rank's slices. */
typedef struct rf_linear {
    const char *name;
    rf_shape shape; /**< of W: RF_ROWS column-parallel, RF_COLS row-parallel */
    rf_dtype dtype; /**< how W is held */
    const void *w;
    const rf_real *bias;       /**< [d_out], cut with RF_ROWS; NULL = none */
    rf_real *dw, *dbias;       /**< NULL when frozen; written, not added to */
    const rf_lowrank *lowrank; /**< NULL = no adapter */
} rf_linear;

/** What one layer reads and writes in a pass over `tokens` tokens. */
typedef struct rf_linear_pass {
    const rf_linear *linear;
    rf_real *y;        /**< forward, column-parallel: output slices */
    rf_real *xs;       /**< [tokens, r] s (drop(x) A^T), kept for backward; NULL without adapter */
    const rf_real *dy; /**< backward: of y; slices if column-parallel, else [tokens, d_out] */
    rf_real *z;        /**< like dy: y before out_scale and bias, kept for backward; NULL without */
    rf_real *dz;       /**< like dy: of z, working memory with out_scale; may lie where dy does */
    int accumulate;    /**< 1: dw is added to instead of written (column-parallel only) */
} rf_linear_pass;

enum { RF_LINEAR_GROUP = 4 };

/** Working memory that the layers of a model share, and who takes part in their reductions. */
typedef struct rf_linear_context {
    const rf_grid *grid;
    rf_collector *collector; /**< over grid->tp, with parallel.slices leaves */
    rf_workspace workspace;
    rf_real *exchange; /**< [tokens, widest d + ranks that ride along] */
    rf_real *exchange_scratch;
    const rf_dropout *dropout; /**< NULL: no dropout (evaluation) */
    const rf_bf16 *bf16;       /**< products with weights in bf16; NULL: in rf_real */
    uint16_t *rounded;         /**< with bf16: the operands of the pass at work */
    int by_row; /**< 1: forward row by row in reals, each row's bits as if it were alone */
    double reduce_seconds; /**< time in reductions between ranks, summed */
} rf_linear_context;

/** Reals of per-thread scratch that passes of this layer need, with products in bf16 or not. Local.
 */
int64_t rf_linear_scratch(const rf_linear *linear, const rf_grid *grid, int is_bf16);

/** Items of context->rounded that passes of a group of layers over so many tokens need. Local. */
int64_t rf_linear_rounded(const rf_linear *group, int count, const rf_grid *grid, int64_t tokens);

/** Local columns of an activation cut like the rows (or columns) of the layer's weight. Local. */
int64_t rf_linear_width(const rf_linear *linear, const rf_grid *grid);

/** y, xs of every layer of the group <- x [tokens, d_in]. Local. */
void rf_column_forward(rf_linear_context *context, const rf_linear_pass *group, int count,
                       const rf_real *x, int64_t tokens);

/**
 * Gradients of every layer of the group; returns dx [tokens, d_in], replicated, which lies in the
 * context's exchange buffer until the next pass. x [tokens, d_in] as in forward. Collective over
 * tp.
 */
const rf_real *rf_column_backward(rf_linear_context *context, const rf_linear_pass *group,
                                  int count, const rf_real *x, int64_t tokens);

/**
 * Returns y [tokens, d_out], replicated, in the context's exchange buffer until the next pass;
 * fills xs. x: input slices. Collective over tp.
 */
const rf_real *rf_row_forward(rf_linear_context *context, const rf_linear_pass *pass,
                              const rf_real *x, int64_t tokens);

/** dx (input slices) and the layer's gradients <- pass->dy [tokens, d_out], x as in forward. Local.
 */
void rf_row_backward(rf_linear_context *context, const rf_linear_pass *pass, rf_real *dx,
                     const rf_real *x, int64_t tokens);

#endif
