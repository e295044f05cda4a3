#include "refract/nn/ratio.h"

#include <math.h>
#include <string.h>

#include "linear_parts.h"
#include "refract/linalg/vecmath.h"

int64_t rf_ratio_items(const rf_linear *linear)
{
    return RF_TOKEN_CHUNK * linear->shape.rows;
}

/* Token chunks of one slice [tokens, width] of an output. */
static void slice_squares(const rf_linear_context *context, const rf_linear_pass *pass,
                          const rf_real *y, const rf_real *b, int64_t width, int64_t tokens,
                          double *squares)
{
    const rf_lowrank *lr = pass->linear->lowrank;
    const int64_t chunks = rf_token_chunks(tokens);
#pragma omp parallel for schedule(dynamic)
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const int64_t first = chunk * RF_TOKEN_CHUNK, rows = rf_token_chunk_rows(tokens, chunk);
        rf_real *update = rf_workspace_mine(&context->workspace, rf_ratio_items(pass->linear));
        rf_gemm(RF_N, RF_T, rows, width, lr->r, 1, pass->xs + first * lr->r, lr->r, b, lr->r, 0,
                update, width);
        for (int64_t t = 0; t < rows; t++) {
            rf_real *own = update + t * width;
            const rf_real *all = y + (first + t) * width;
            squares[first + t] = rf_sum_squares_wide(own, width);
            for (int64_t i = 0; i < width; i++) own[i] = all[i] - own[i];
            squares[tokens + first + t] = rf_sum_squares_wide(own, width);
        }
    }
}

void rf_ratio_squares(const rf_linear_context *context, const rf_linear_pass *pass,
                      const rf_real *y, int64_t tokens, double *squares, int64_t stride)
{
    const rf_linear *linear = pass->linear;
    const rf_grid *grid = context->grid;
    const int is_row = linear->shape.split == RF_COLS;
    for (int s = grid->slice_begin; s < grid->slice_end; s++) {
        const slice_view view = linear_slice(linear, grid, s);
        const int64_t width = is_row ? linear->shape.rows : view.width;
        double *own = squares + (s - grid->slice_begin) * stride;
        if (is_row ? s > 0 : width == 0)
            memset(own, 0, (size_t)(2 * tokens) * sizeof *own);
        else
            slice_squares(context, pass, is_row ? y : y + tokens * view.before, view.b, width,
                          tokens, own);
    }
}

double rf_ratio_sum(const double *squares, int64_t tokens)
{
    double sum = 0;
    for (int64_t t = 0; t < tokens; t++)
        if (squares[tokens + t] > 0) sum += sqrt(squares[t] / squares[tokens + t]);
    return sum;
}
