/* Low-rank factors as this rank holds them: Gram matrices and products with r x r matrices, in
 * double; private to layer method. A factor's rank index is its row (A [r, n]) or column (B [n,
 * r]).
 */
#ifndef RF_METHOD_FACTORS_H
#define RF_METHOD_FACTORS_H

#include "refract/linalg/tiles.h"
#include "refract/method/method.h"

typedef enum rf_side { RF_FACTOR_A, RF_FACTOR_B } rf_side;

/* Doubles of work that any function below needs for rank r. */
int64_t factor_work(int64_t r, const rf_grid *grid);

/* This rank's node of x x^T (A) or x^T x (B): triangle [r (r + 1) / 2]; x as row's slices. */
void factor_gram(double *triangle, const rf_real *x, const rf_param *row, const rf_grid *grid,
                 rf_side side, double *work);
/* This rank's node of x y^T (A) or x^T y (B), [r, r], for two factors of one shape. */
void factor_cross(double *square, const rf_real *x, const rf_real *y, const rf_param *row,
                  const rf_grid *grid, rf_side side, double *work);
/* This rank's node of the sum of squares. */
double factor_squares(const rf_real *x, const rf_param *row, const rf_grid *grid, double *work);

/* x <- m x (A) or x m (B), m [r, r]. */
void factor_multiply(rf_real *x, const rf_param *row, const rf_grid *grid, rf_side side,
                     const double *m, double *work);
/* y <- y + m x (A) or y + x m (B). */
void factor_add_product(rf_real *y, const rf_real *x, const rf_param *row, const rf_grid *grid,
                        rf_side side, const double *m, double *work);
/* x <- factor x. */
void factor_scale(rf_real *x, const rf_param *row, double factor);

/* Scratch of every thread, in doubles. */
void wide_workspace_layout(rf_workspace *workspace, rf_arena *arena, int threads, int64_t items);
double *wide_workspace_mine(const rf_workspace *workspace);

#endif
