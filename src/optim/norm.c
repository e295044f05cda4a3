/* The global gradient norm: the same bits on every layout. */
#include "refract/optim/adamw.h"

#include <math.h>
#include <string.h>

#include "refract/linalg/vecmath.h"

void rf_norm_parts_layout(rf_norm_parts *parts, rf_arena *arena, const rf_params *params,
                          int slices)
{
    parts->tensors = 0;
    for (int64_t r = 0; r < params->count; r++) parts->tensors += params->row[r].trained;
    parts->part = RF_TAKE(arena, double, parts->tensors *slices);
}

/* Squares of one tensor's slices on this rank. */
static void tensor_parts(double *part, const rf_grid *grid, const rf_param *row,
                         const rf_real *gradient)
{
    if (row->shape.split == RF_REPLICATED) {
        part[0] = rf_sum_squares_wide(gradient, row->items);
        return;
    }
    for (int s = grid->slice_begin; s < grid->slice_end; s++)
        part[s] = rf_sum_squares_wide(gradient + rf_slice_offset(&row->shape, grid->slice_begin, s),
                                      rf_slice_items(&row->shape, s));
}

double rf_gradient_norm(const rf_grid *grid, const rf_params *params, const rf_real *gradient,
                        rf_norm_parts *parts)
{
    const int64_t count = parts->tensors * grid->slices;
    memset(parts->part, 0, (size_t)count * sizeof *parts->part);
    int64_t tensor = 0;
#pragma omp parallel
#pragma omp single
    for (int64_t r = 0; r < params->count; r++) {
        if (!params->row[r].trained) continue;
        double *part = parts->part + tensor++ * grid->slices;
        const rf_param *row = &params->row[r];
#pragma omp task firstprivate(part, row)
        tensor_parts(part, grid, row, gradient + row->offset);
    }
    /* each part is non-zero on one rank, or equal on all: or-ing the bits puts them together */
    if (grid->tp_size > 1)
        MPI_Allreduce(MPI_IN_PLACE, parts->part, (int)count, MPI_UINT64_T, MPI_BOR, grid->tp);
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += parts->part[i];
    return sqrt(sum);
}

const char *rf_gradient_blame(const rf_params *params, const rf_norm_parts *parts, int slices)
{
    int64_t tensor = 0;
    for (int64_t r = 0; r < params->count; r++) {
        if (!params->row[r].trained) continue;
        for (int s = 0; s < slices; s++)
            if (!isfinite(parts->part[tensor * slices + s])) return params->row[r].name;
        tensor++;
    }
    return NULL;
}

double rf_clip_scale(double norm, double limit)
{
    if (limit <= 0) return 1;
    const double scale = limit / (norm + 1e-6);
    return scale < 1 ? scale : 1;
}
