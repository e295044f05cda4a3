#include "refract/train/report.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refract/base/file.h"
#include "refract/comm/agree.h"

void rf_wilson_interval(int64_t correct, int64_t total, double *low, double *high)
{
    *low = 0;
    *high = 1;
    if (total == 0) return;
    const double z = 1.959963984540054, n = (double)total, p = (double)correct / n;
    const double middle = (p + z * z / (2 * n)) / (1 + z * z / n);
    const double half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    *low = middle - half > 0 ? middle - half : 0;
    *high = middle + half < 1 ? middle + half : 1;
}

static double score(const rf_evaluation *e)
{
    return e->samples > 0 ? (double)e->correct / (double)e->samples : 0;
}

void rf_report_evaluation(rf_log *log, const rf_evaluation *e)
{
    double low, high;
    rf_wilson_interval(e->correct, e->samples, &low, &high);
    rf_log_info(log, "loss = %.6f", e->loss);
    rf_log_info(log, "perplexity = %.4f", exp(e->loss));
    rf_log_info(log, "label_tokens = %lld", (long long)e->label_tokens);
    rf_log_info(log, "correct = %lld", (long long)e->correct);
    rf_log_info(log, "total = %lld", (long long)e->samples);
    rf_log_info(log, "score = %.4f (95 %% interval %.4f to %.4f)", score(e), low, high);
    rf_log_info(log, "seconds = %.2f", e->seconds);
}

static char *to_json(const rf_evaluation *e, const char *task)
{
    double low, high;
    rf_wilson_interval(e->correct, e->samples, &low, &high);
    json_t *object = json_pack("{s:s, s:f, s:f, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f}", "task",
                               task, "loss", e->loss, "perplexity", exp(e->loss), "label_tokens",
                               (json_int_t)e->label_tokens, "samples", (json_int_t)e->samples,
                               "correct", (json_int_t)e->correct, "total", (json_int_t)e->samples,
                               "score", score(e), "low", low, "high", high, "seconds", e->seconds);
    char *text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
    json_decref(object);
    return text;
}

static rf_status write_on_root(const char *folder, const rf_evaluation *evaluation,
                               const char *task)
{
    char path[PATH_MAX + 16];
    RF_TRY(rf_folder_make(folder));
    snprintf(path, sizeof path, "%s/eval.json", folder);
    char *text = to_json(evaluation, task);
    if (!text) return rf_fail(RF_RESOURCES, "no memory for '%s'", path);
    const rf_status status = rf_file_write(path, text, strlen(text));
    free(text);
    return status;
}

rf_status rf_report_write(MPI_Comm comm, const char *folder, const rf_evaluation *evaluation,
                          const char *task)
{
    int rank = 0;
    MPI_Comm_rank(comm, &rank);
    return rf_agree(comm, rank == 0 ? write_on_root(folder, evaluation, task) : RF_OK);
}
