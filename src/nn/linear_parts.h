/* What the passes of linear layers share; private to layer nn. */
#ifndef RF_NN_LINEAR_PARTS_H
#define RF_NN_LINEAR_PARTS_H

#include "refract/linalg/tree.h"
#include "refract/linalg/vecmath.h"
#include "refract/nn/linear.h"

/* One slice of a layer: pointers into the local arrays, and where it stands in the whole. */
typedef struct slice_view {
    rf_weight w;       /* [rows, cols] */
    int64_t first_col; /* global column of its first one (row-parallel) */
    int64_t before;    /* local activation columns before it */
    int64_t width;     /* its activation columns: rows (column-parallel) or cols (row-parallel) */
    const rf_real *bias;
    const rf_real *a, *b;
    const rf_real *scale; /* out_scale, NULL = none */
    rf_real *da, *db, *dw, *dbias, *dscale;
} slice_view;

slice_view linear_slice(const rf_linear *linear, const rf_grid *grid, int slice);

/* This thread's scratch for one tile: a tree over `leaves` leaves of `items` reals, then `rest`. */
typedef struct tile_scratch {
    rf_tree tree;
    rf_real *mask;  /* [RF_TOKEN_CHUNK, d_in] or [RF_TILE_ROWS, RF_TILE_COLS] */
    rf_real *widen; /* for weights held in another type than the product's */
} tile_scratch;

void tile_scratch_mine(tile_scratch *scratch, const rf_linear_context *context,
                       const rf_linear *linear, int64_t items, int64_t leaves);

/* The operand of a tile's product: rows of an activation, dense. */
typedef struct tile_rows {
    const rf_real *x;
    int64_t at; /* the same item in context->rounded */
} tile_rows;

/* How outputs and input gradients are cut. */
rf_tiles linear_tiles(const rf_linear_context *context, int64_t rows, int64_t cols);

/* With bf16: items of x rounded into context->rounded from `at` on, shared out (no barrier). */
void share_rounded(const rf_linear_context *context, int64_t at, const rf_real *x, int64_t items);

/* y [tile] = x W[tile.col ..]^T, few rows in reals always; y [tile] = x W[:, tile.col ..], or added
 * where `adds`. */
void tile_nt(const rf_linear_context *context, rf_real *y, int64_t ldy, tile_rows x,
             const rf_weight *w, rf_tile tile, rf_real *scratch);
void tile_nn(const rf_linear_context *context, rf_real *y, int64_t ldy, tile_rows x,
             const rf_weight *w, rf_tile tile, int adds, rf_real *scratch);

/* c [m, n] = alpha a [m, k] b [n, k]^T + beta c; each row apart where the pass goes by rows. */
void rows_nt(const rf_linear_context *context, int64_t m, int64_t n, int64_t k, rf_real alpha,
             const rf_real *a, const rf_real *b, rf_real beta, rf_real *c, int64_t ldc);

/* 1 when this layer's adapter drops inputs in this pass. */
int linear_drops(const rf_linear_context *context, const rf_linear *linear);

/* Copies a dense tile [rows, cols] into a matrix of row stride ldo; zeros when the tile is NULL. */
void tile_store(rf_real *out, int64_t ldo, const rf_real *tile, int64_t rows, int64_t cols);

/* z tile (NULL: not kept) <- y tile; y *= scale [cols], both of row stride ld. */
void tile_scale_output(rf_real *y, rf_real *z, int64_t ld, const rf_real *scale, int64_t rows,
                       int64_t cols);

/* tile [rows, cols] (row stride ld) += bias [cols]. */
void tile_add_bias(rf_real *tile, int64_t ld, const rf_real *bias, int64_t rows, int64_t cols);

/*
 * Gradient loops, called by all threads of a parallel region (work-sharing, no barrier at the end):
 * out [m, n] = alpha a^T drop(b), a [tokens, m] (row stride lda), b [tokens, n] (ldb), token chunks
 * as leaves. first_col >= 0: b is masked by the layer's dropout as global columns from first_col
 * on.
 */
typedef struct token_product {
    rf_real *out;
    rf_real alpha;
    const rf_real *a, *b;
    int64_t lda, m, ldb, n, tokens, first_col;
    int accumulate; /* out is added to */
} token_product;

void share_token_product(const rf_linear_context *context, const rf_linear *linear,
                         const token_product *product);

/* 1 when the layer's outputs are scaled; then the gradient that goes on is dz. */
int linear_scales(const rf_linear *linear);
const rf_real *pass_gradient(const rf_linear_pass *pass);

/*
 * Before all else where outputs are scaled: dscale = sum over tokens of dy z, dbias = that of dy
 * (each unless NULL), then dz = dy scale, which may overwrite dy. All [tokens, n].
 */
typedef struct scaled_output {
    rf_real *dz, *dscale, *dbias;
    const rf_real *dy, *z, *scale;
    int64_t n, tokens;
} scaled_output;

void share_scaled_output(const rf_linear_context *context, const rf_linear *linear,
                         const scaled_output *output);

/* dbias [n] = sum over tokens of dy [tokens, n]. */
void share_bias_gradient(const rf_linear_context *context, const rf_linear *linear, rf_real *dbias,
                         const rf_real *dy, int64_t n, int64_t tokens);

/* Which slices of the layer's cut dimension exist: present [grid->slices]. */
void linear_present(const rf_linear *linear, const rf_grid *grid, unsigned char *present);

/* Sums the exchange buffer over tp where there is more than one rank; keeps the time it took. */
void reduce_exchange(rf_linear_context *context, const rf_linear *linear, int64_t items);

#endif
