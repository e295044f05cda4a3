/* Rows of a stage whose steps and modules are counted anew, put where the file counts them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "telemetry_private.h"

rf_status rf_telemetry_enter(rf_telemetry *t, const rf_telemetry_stage *stage)
{
    if (!t) return RF_OK;
    const size_t rows = (size_t)stage->module_count + 1;
    int64_t *row = malloc(rows * sizeof *row);
    double *spread = malloc((size_t)(t->modules * t->rank_r + 1) * sizeof *spread);
    if (!row || !spread) {
        free(row);
        free(spread);
        return rf_fail(RF_RESOURCES, "no memory for telemetry");
    }
    free(t->row);
    free(t->spread);
    memcpy(row, stage->row, (size_t)stage->module_count * sizeof *row);
    t->stage = *stage;
    t->stage.row = t->row = row;
    t->spread = spread;
    return RF_OK;
}

int64_t rf_telemetry_step_of(const rf_telemetry *t, int64_t step)
{
    return t->stage.first_step + step;
}

int64_t rf_telemetry_module_of(const rf_telemetry *t, int64_t module)
{
    return t->row ? t->row[module] : module;
}

/* What a module has that the stage does not know. */
static void fill_unknown(void *cells, rf_dtype dtype, int64_t count)
{
    if (dtype != RF_F64) {
        memset(cells, 0, (size_t)count * rf_dtype_size(dtype));
        return;
    }
    for (int64_t i = 0; i < count; i++) ((double *)cells)[i] = NAN;
}

const void *rf_telemetry_spread(rf_telemetry *t, const rf_column *column, const void *values)
{
    const int is_rank = column->extent == RF_PER_RANK;
    if (!t->row || column->table == RF_TABLE_LIGHT || (!is_rank && column->extent != RF_PER_MODULE))
        return values;
    const size_t item = rf_dtype_size(column->dtype);
    const int64_t cells = is_rank ? t->rank_r : 1, own = is_rank ? t->stage.rank_r : 1;
    fill_unknown(t->spread, column->dtype, t->modules * cells);
    for (int64_t m = 0; m < t->stage.module_count; m++)
        memcpy((char *)t->spread + (size_t)(t->row[m] * cells) * item,
               (const char *)values + (size_t)(m * own) * item, (size_t)own * item);
    return t->spread;
}
