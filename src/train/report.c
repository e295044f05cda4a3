#include "refract/train/report.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refract/base/file.h"
#include "refract/comm/agree.h"
#include "refract/data/answers.h"

static double score(const rf_evaluation *e)
{
    return e->samples > 0 ? (double)e->correct / (double)e->samples : 0;
}

void rf_report_evaluation(rf_log *log, const rf_evaluation *e)
{
    const rf_interval bounds = rf_wilson(e->correct, e->samples);
    rf_log_info(log, "loss = %.6f", e->loss);
    rf_log_info(log, "perplexity = %.4f", exp(e->loss));
    rf_log_info(log, "label_tokens = %lld", (long long)e->label_tokens);
    rf_log_info(log, "correct = %lld", (long long)e->correct);
    rf_log_info(log, "total = %lld", (long long)e->samples);
    rf_log_info(log, "score = %.4f (95 %% interval %.4f to %.4f)", score(e), bounds.low,
                bounds.high);
    rf_log_info(log, "seconds = %.2f", e->seconds);
}

static char *to_json(const rf_evaluation *e, const char *task)
{
    const rf_interval bounds = rf_wilson(e->correct, e->samples);
    json_t *object = json_pack(
        "{s:s, s:f, s:f, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f}", "task", task, "loss", e->loss,
        "perplexity", exp(e->loss), "label_tokens", (json_int_t)e->label_tokens, "samples",
        (json_int_t)e->samples, "correct", (json_int_t)e->correct, "total", (json_int_t)e->samples,
        "score", score(e), "low", bounds.low, "high", bounds.high, "seconds", e->seconds);
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
