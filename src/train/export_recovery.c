/*
 * Recovery: adapters of a pruned model for the whole base. What was cut off their factors is zero,
 * so that the update is the trained one where something was kept and nothing elsewhere; the base
 * then computes with all its heads and neurons again.
 */
#include <stdlib.h>
#include <string.h>

#include "export_parts.h"
#include "refract/comm/agree.h"

/* whole [rows, cols] <- part [field's shape] at the kept rows or columns, zero elsewhere. */
static void spread(rf_real *whole, int64_t cols, const rf_real *part, const rf_shape *shape,
                   const int64_t *kept)
{
    for (int64_t i = 0; i < shape->rows; i++)
        for (int64_t j = 0; j < shape->cols; j++)
            whole[(shape->split == RF_ROWS ? kept[i] : i) * cols +
                  (shape->split == RF_COLS ? kept[j] : j)] = part[i * shape->cols + j];
}

/* A factor on root in the whole model's shape; *made is to be freed. Collective over world. */
static rf_status recover(const rf_grid *grid, rf_field *field, const int64_t *kept,
                         int64_t features, rf_real **made)
{
    const rf_shape shape = field->shape;
    const int64_t rows = shape.split == RF_ROWS ? features : shape.rows;
    const int64_t cols = shape.split == RF_COLS ? features : shape.cols;
    const int is_root = grid->rank == 0;
    if (shape.split == RF_REPLICATED) return RF_OK;
    rf_real *part = is_root ? malloc((size_t)(shape.rows * shape.cols + 1) * sizeof *part) : NULL;
    *made = is_root ? calloc((size_t)(rows * cols + 1), sizeof **made) : NULL;
    rf_status status =
        rf_agree(grid->world, !is_root || (part && *made)
                                  ? RF_OK
                                  : rf_fail(RF_RESOURCES, "no memory to export '%s'", field->path));
    if (status == RF_OK)
        status = rf_tensor_collect(grid, 0, part, field->data, &shape, sizeof *part);
    if (status == RF_OK && is_root) spread(*made, cols, part, &shape, kept);
    free(part);
    field->shape = rf_shape_replicated(rows, cols);
    field->data = *made;
    return status;
}

rf_status export_recover_factors(const rf_decoder *m, const rf_pruning *pruning, int64_t i,
                                 rf_field *const factor[2], rf_real *made[2])
{
    const rf_linear_kind kind = (rf_linear_kind)(i % RF_LINEARS);
    const int64_t features = rf_pruning_whole(pruning, kind);
    int64_t *kept = malloc((size_t)(features + 1) * sizeof *kept);
    rf_status status =
        rf_agree(m->grid->world, kept ? RF_OK : rf_fail(RF_RESOURCES, "no memory for indices"));
    if (status == RF_OK) rf_pruning_features(pruning, i / RF_LINEARS, kind, kept);
    for (int k = 0; k < 2 && status == RF_OK; k++)
        status = recover(m->grid, factor[k], kept, features, &made[k]);
    free(kept);
    return status;
}
