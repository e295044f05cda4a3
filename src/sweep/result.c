/* What the telemetry of one run says. */
#include <math.h>
#include <stdlib.h>

#include "refract/store/h5.h"
#include "refract/sweep/status.h"

/* Rows of a column, 0 where there is none. */
static int64_t rows_of(rf_h5 *file, const char *path)
{
    rf_h5_layout layout;
    if (!rf_h5_has(file, path) || rf_h5_layout_of(file, path, &layout) != RF_OK) return 0;
    return layout.size[0];
}

static void last_number(rf_h5 *file, const char *path, int64_t rows, double *value)
{
    const int64_t at = rows - 1, one = 1;
    double read = NAN;
    if (rows > 0 && rf_h5_read(file, path, RF_F64, &at, &one, &read) == RF_OK) *value = read;
}

static void last_whole(rf_h5 *file, const char *path, int64_t rows, int64_t *value)
{
    const int64_t at = rows - 1, one = 1;
    int64_t read = -1;
    if (rows > 0 && rf_h5_read(file, path, RF_I64, &at, &one, &read) == RF_OK) *value = read;
}

static double sum_numbers(rf_h5 *file, const char *path, int64_t rows)
{
    const int64_t begin = 0;
    double sum = 0, *all = calloc((size_t)rows + 1, sizeof *all);
    if (all && rows > 0 && rf_h5_read(file, path, RF_F64, &begin, &rows, all) == RF_OK)
        for (int64_t i = 0; i < rows; i++) sum += all[i];
    free(all);
    return sum;
}

static int64_t sum_wholes(rf_h5 *file, const char *path, int64_t rows)
{
    const int64_t begin = 0;
    int64_t sum = 0, *all = calloc((size_t)rows + 1, sizeof *all);
    if (all && rows > 0 && rf_h5_read(file, path, RF_I64, &begin, &rows, all) == RF_OK)
        for (int64_t i = 0; i < rows; i++) sum += all[i];
    free(all);
    return sum;
}

static void attribute(rf_h5 *file, const char *name, int64_t *value)
{
    if (rf_h5_has_attribute(file, "/", name)) rf_h5_get_int(file, "/", name, value);
}

static rf_status check_schema(rf_h5 *file)
{
    int64_t version = 0;
    RF_TRY(rf_h5_get_int(file, "/", "schema_version", &version));
    if (version == 1) return RF_OK;
    return rf_fail(RF_INPUT,
                   "%s has schema version %lld, this refract reads version 1. Use the refract that "
                   "wrote it",
                   rf_h5_path(file), (long long)version);
}

static rf_status read_all(rf_sweep_result *result, rf_h5 *file)
{
    RF_TRY(check_schema(file));
    const int64_t steps = rows_of(file, "/steps/seconds"), evals = rows_of(file, "/evals/total");
    result->steps = steps;
    attribute(file, "total_steps", &result->total_steps);
    attribute(file, "parameters", &result->parameters);
    attribute(file, "trained_parameters", &result->trained_parameters);
    last_number(file, "/steps/loss", steps, &result->loss);
    result->step_seconds = sum_numbers(file, "/steps/seconds", steps);
    result->tokens = sum_wholes(file, "/steps/tokens", steps);
    last_number(file, "/evals/loss", evals, &result->eval_loss);
    last_whole(file, "/evals/label_tokens", evals, &result->eval_label_tokens);
    last_whole(file, "/evals/correct", evals, &result->eval_correct);
    last_whole(file, "/evals/total", evals, &result->eval_total);
    return RF_OK;
}

rf_status rf_sweep_result_read(rf_sweep_result *result, const rf_sweep *sweep, int64_t index,
                               int is_live)
{
    char path[PATH_MAX];
    rf_h5 *file = NULL;
    *result = (rf_sweep_result){.steps = 0,
                                .total_steps = -1,
                                .parameters = -1,
                                .trained_parameters = -1,
                                .eval_label_tokens = -1,
                                .eval_correct = -1,
                                .eval_total = -1,
                                .loss = NAN,
                                .eval_loss = NAN,
                                .step_seconds = NAN};
    RF_TRY(rf_sweep_path(sweep, index, "runs", "/run.h5", path));
    RF_TRY(rf_h5_open(&file, path, is_live ? RF_H5_READ_LIVE : RF_H5_READ, MPI_COMM_NULL));
    const rf_status status = read_all(result, file);
    rf_h5_close(&file);
    return status;
}
