#include "factors.h"

#include <string.h>

#include "refract/comm/share.h"
#include "refract/linalg/dense.h"
#include "refract/linalg/vecmath.h"

enum { BLOCK = 256 }; /* rank vectors' entries widened at a time */

static int leaves_of(const rf_grid *grid)
{
    return grid->slice_end - grid->slice_begin;
}

int64_t factor_work(int64_t r, const rf_grid *grid)
{
    const int64_t gram = leaves_of(grid) * r * r + r * r + 2 * BLOCK * r;
    const int64_t product = 2 * BLOCK * r;
    return (gram > product ? gram : product) + leaves_of(grid);
}

/* Block [at, at + n) of a slice's n_all entries per rank, as [r, n] (A) or [n, r] (B). */
static void widen(double *wide, const rf_real *x, rf_side side, int64_t r, int64_t n_all,
                  int64_t at, int64_t n)
{
    if (side == RF_FACTOR_B) {
        for (int64_t i = 0; i < n * r; i++) wide[i] = (double)x[at * r + i];
        return;
    }
    for (int64_t k = 0; k < r; k++)
        for (int64_t i = 0; i < n; i++) wide[k * n + i] = (double)x[k * n_all + at + i];
}

/* is_sum: x <- x + wide. */
static void narrow(rf_real *x, const double *wide, rf_side side, int64_t r, int64_t n_all,
                   int64_t at, int64_t n, int is_sum)
{
    if (side == RF_FACTOR_B) {
        for (int64_t i = at * r; i < (at + n) * r; i++)
            x[i] = (rf_real)((is_sum ? (double)x[i] : 0) + wide[i - at * r]);
        return;
    }
    for (int64_t k = 0; k < r; k++)
        for (int64_t i = 0; i < n; i++) {
            rf_real *item = x + k * n_all + at + i;
            *item = (rf_real)((is_sum ? (double)*item : 0) + wide[k * n + i]);
        }
}

static int64_t rank_of(const rf_param *row, rf_side side)
{
    return side == RF_FACTOR_A ? row->shape.rows : row->shape.cols;
}

static int64_t entries_of(const rf_param *row, rf_side side, int slice)
{
    return side == RF_FACTOR_A ? rf_slice_cols(&row->shape, slice)
                               : rf_slice_rows(&row->shape, slice);
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* x y^T (A) or x^T y (B) of one slice, [r, r]; y = x: its Gram matrix. */
static void slice_cross(double *gram, const rf_real *x, const rf_real *y, rf_side side, int64_t r,
                        int64_t n_all, double *wide)
{
    double *other = x == y ? wide : wide + BLOCK * r;
    const rf_trans first = side == RF_FACTOR_A ? RF_N : RF_T;
    memset(gram, 0, (size_t)(r * r) * sizeof *gram);
    for (int64_t at = 0; at < n_all; at += BLOCK) {
        const int64_t n = smaller(n_all - at, BLOCK), ld = side == RF_FACTOR_A ? n : r;
        widen(wide, x, side, r, n_all, at, n);
        if (x != y) widen(other, y, side, r, n_all, at, n);
        rf_dense_gemm(first, first == RF_N ? RF_T : RF_N, r, r, n, 1, wide, ld, other, ld, 1, gram,
                      r);
    }
}

/* Slices of this rank: all of them, or the whole where every rank holds it. */
static void own_slices(const rf_param *row, const rf_grid *grid, int *begin, int *end)
{
    *begin = row->shape.split == RF_REPLICATED ? 0 : grid->slice_begin;
    *end = row->shape.split == RF_REPLICATED ? 1 : grid->slice_end;
}

void factor_gram(double *triangle, const rf_real *x, const rf_param *row, const rf_grid *grid,
                 rf_side side, double *work)
{
    int begin, end;
    own_slices(row, grid, &begin, &end);
    const int64_t r = rank_of(row, side), items = rf_triangle_items(r);
    double *gram = work + (end - begin) * items;
    for (int s = begin; s < end; s++) {
        const rf_real *slice = x + rf_slice_offset(&row->shape, grid->slice_begin, s);
        slice_cross(gram, slice, slice, side, r, entries_of(row, side, s), gram + r * r);
        rf_triangle_pack(work + (s - begin) * items, gram, r);
    }
    rf_tree_fold_doubles(work, end - begin, items);
    memcpy(triangle, work, (size_t)items * sizeof *triangle);
}

void factor_cross(double *square, const rf_real *x, const rf_real *y, const rf_param *row,
                  const rf_grid *grid, rf_side side, double *work)
{
    int begin, end;
    own_slices(row, grid, &begin, &end);
    const int64_t r = rank_of(row, side), items = r * r;
    for (int s = begin; s < end; s++) {
        const int64_t at = rf_slice_offset(&row->shape, grid->slice_begin, s);
        slice_cross(work + (s - begin) * items, x + at, y + at, side, r, entries_of(row, side, s),
                    work + (end - begin) * items);
    }
    rf_tree_fold_doubles(work, end - begin, items);
    memcpy(square, work, (size_t)items * sizeof *square);
}

double factor_squares(const rf_real *x, const rf_param *row, const rf_grid *grid, double *work)
{
    int begin, end;
    own_slices(row, grid, &begin, &end);
    for (int s = begin; s < end; s++)
        work[s - begin] = rf_sum_squares_wide(
            x + rf_slice_offset(&row->shape, grid->slice_begin, s), rf_slice_items(&row->shape, s));
    rf_tree_fold_doubles(work, end - begin, 1);
    return work[0];
}

/* y <- m x or x m, or that added to y; y may be x. */
static void multiply(rf_real *y, const rf_real *x, const rf_param *row, const rf_grid *grid,
                     rf_side side, const double *m, int is_sum, double *work)
{
    int begin, end;
    own_slices(row, grid, &begin, &end);
    const int64_t r = rank_of(row, side);
    double *out = work + BLOCK * r;
    for (int s = begin; s < end; s++) {
        const int64_t first = rf_slice_offset(&row->shape, grid->slice_begin, s);
        const int64_t n_all = entries_of(row, side, s);
        for (int64_t at = 0; at < n_all; at += BLOCK) {
            const int64_t n = smaller(n_all - at, BLOCK);
            widen(work, x + first, side, r, n_all, at, n);
            if (side == RF_FACTOR_A)
                rf_dense_gemm(RF_N, RF_N, r, n, r, 1, m, r, work, n, 0, out, n);
            else
                rf_dense_gemm(RF_N, RF_N, n, r, r, 1, work, r, m, r, 0, out, r);
            narrow(y + first, out, side, r, n_all, at, n, is_sum);
        }
    }
}

void factor_multiply(rf_real *x, const rf_param *row, const rf_grid *grid, rf_side side,
                     const double *m, double *work)
{
    multiply(x, x, row, grid, side, m, 0, work);
}

void factor_add_product(rf_real *y, const rf_real *x, const rf_param *row, const rf_grid *grid,
                        rf_side side, const double *m, double *work)
{
    multiply(y, x, row, grid, side, m, 1, work);
}

void factor_scale(rf_real *x, const rf_param *row, double factor)
{
    for (int64_t i = 0; i < row->items; i++) x[i] = (rf_real)((double)x[i] * factor);
}

void wide_workspace_layout(rf_workspace *workspace, rf_arena *arena, int threads, int64_t items)
{
    rf_workspace_layout(workspace, arena, threads,
                        items * (int64_t)(sizeof(double) / sizeof(rf_real)));
}

double *wide_workspace_mine(const rf_workspace *workspace)
{
    return (double *)(void *)rf_workspace_mine(workspace, workspace->items);
}
