#include <stdlib.h>
#include <string.h>

#include "telemetry_private.h"

/* An earlier file and the one that goes on from it. */
typedef struct copying {
    rf_h5 *from; /* owned */
    rf_telemetry *to;
    const rf_telemetry_options *options;
} copying;

/* The earlier job had the same columns with the same extents, or its rows cannot go on here. */
static rf_status check_column(const copying *copy, const rf_column *column, rf_h5_set *from,
                              rf_h5_set *to)
{
    const rf_h5_layout *old = rf_h5_set_layout(from), *new = rf_h5_set_layout(to);
    if (old->dims == new->dims && old->dtype == new->dtype &&
        old->text == new->text &&memcmp(&old->size[1], &new->size[1], 2 * sizeof old->size[1]) == 0)
        return RF_OK;
    return rf_fail(RF_INPUT, "dataset '%s' of '%s' has another shape than this run's", column->path,
                   rf_h5_path(copy->from));
}

/* Rows that all columns of the table have: a killed job may have written some of them only. */
static rf_status count_rows(const copying *copy, const rf_column *columns, int count, int64_t *rows)
{
    *rows = INT64_MAX;
    for (int i = 0; i < count; i++) {
        rf_h5_set *from = NULL;
        RF_TRY(rf_h5_set_open(&from, copy->from, columns[i].path));
        const rf_status status =
            check_column(copy, &columns[i], from, copy->to->sets[&columns[i] - rf_columns]);
        if (rf_h5_set_layout(from)->size[0] < *rows) *rows = rf_h5_set_layout(from)->size[0];
        rf_h5_set_close(&from);
        RF_TRY(status);
    }
    return RF_OK;
}

/* Cuts rows to those whose step does not exceed the checkpoint's; steps never fall. An evaluation
   that was made after the checkpoint of its step comes again. */
static rf_status cut_rows(const copying *copy, const rf_column *key, int64_t *rows)
{
    const int64_t begin = 0, count = *rows;
    const int64_t last =
        key->table == RF_TABLE_EVALS ? copy->options->evaluated_step : copy->options->resume_step;
    if (count == 0) return RF_OK;
    int64_t *steps = malloc((size_t)count * sizeof *steps);
    if (!steps) return rf_fail(RF_RESOURCES, "no memory to read '%s'", rf_h5_path(copy->from));
    const rf_status status = rf_h5_read(copy->from, key->path, RF_I64, &begin, &count, steps);
    while (status == RF_OK && *rows > 0 && steps[*rows - 1] > last) (*rows)--;
    free(steps);
    return status;
}

static rf_status copy_rows(rf_h5_set *from, rf_h5_set *to, rf_dtype dtype, int64_t rows)
{
    const rf_h5_layout *layout = rf_h5_set_layout(from);
    const int64_t step = layout->chunk > 0 ? layout->chunk : 1;
    size_t row = rf_dtype_size(dtype);
    for (int i = 1; i < layout->dims; i++) row *= (size_t)layout->size[i];
    char *block = malloc(row * (size_t)step);
    rf_status status = block ? RF_OK : rf_fail(RF_RESOURCES, "no memory to copy telemetry");
    for (int64_t at = 0; at < rows && status == RF_OK; at += step) {
        const int64_t many = rows - at < step ? rows - at : step;
        const int64_t begin[RF_H5_DIMS] = {at, 0, 0};
        const int64_t count[RF_H5_DIMS] = {many, layout->size[1], layout->size[2]};
        status = rf_h5_set_read(from, dtype, begin, count, block);
        if (status == RF_OK) status = rf_h5_set_append(to, dtype, many, block);
    }
    free(block);
    return status;
}

static rf_status copy_table(const copying *copy, rf_table table)
{
    int count = 0;
    int64_t rows = 0;
    const rf_column *columns = rf_table_columns(table, &count);
    RF_TRY(count_rows(copy, columns, count, &rows));
    RF_TRY(cut_rows(copy, &columns[0], &rows));
    for (int i = 0; i < count; i++) {
        rf_h5_set *from = NULL;
        RF_TRY(rf_h5_set_open(&from, copy->from, columns[i].path));
        const rf_status status =
            copy_rows(from, copy->to->sets[&columns[i] - rf_columns], columns[i].dtype, rows);
        rf_h5_set_close(&from);
        RF_TRY(status);
    }
    return RF_OK;
}

static rf_status check_schema(rf_h5 *file)
{
    char *schema = NULL;
    int64_t version = 0;
    RF_TRY(rf_h5_get_text(file, "/", "schema", &schema));
    const int right = strcmp(schema, "refract/telemetry") == 0;
    free(schema);
    RF_TRY(rf_h5_get_int(file, "/", "schema_version", &version));
    if (right && version == 1) return RF_OK;
    return rf_fail(RF_INPUT, "'%s' is no telemetry of version 1", rf_h5_path(file));
}

rf_status rf_telemetry_copy(rf_telemetry *telemetry, const rf_telemetry_options *options)
{
    copying copy = {.to = telemetry, .options = options};
    RF_TRY(rf_h5_open(&copy.from, options->path, RF_H5_READ_LIVE, MPI_COMM_NULL));
    rf_status status = check_schema(copy.from);
    for (rf_table table = 0; table < RF_TABLES_BY_STEP && status == RF_OK; table++)
        status = copy_table(&copy, table);
    rf_h5_close(&copy.from);
    return status;
}
