/* FOLDER/sweep.h5: a row a run, links to the traces. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "refract/base/file.h"
#include "refract/store/h5.h"
#include "refract/sweep/status.h"
#include "rf_version.h"

enum { TEXT_BYTES = 512 };

typedef struct collection {
    const rf_sweep *sweep;
    const rf_sweep_survey *survey;
    rf_sweep_result *result; /* [runs] */
    rf_h5 *file;
    void *column; /* [runs] of what is being written */
} collection;

typedef struct whole_column {
    const char *name, *unit, *description;
    size_t at; /* in rf_sweep_result */
} whole_column;

static const whole_column wholes[] = {
    {"steps", "1", "updates done", offsetof(rf_sweep_result, steps)},
    {"total_steps", "1", "updates of the whole run; -1: not known",
     offsetof(rf_sweep_result, total_steps)},
    {"tokens", "tokens", "tokens of all steps", offsetof(rf_sweep_result, tokens)},
    {"parameters", "1", "weights of model and adapters; -1: not known",
     offsetof(rf_sweep_result, parameters)},
    {"trained_parameters", "1", "weights that are trained; -1: not known",
     offsetof(rf_sweep_result, trained_parameters)},
    {"eval_label_tokens", "tokens", "label tokens of the last evaluation; -1: none",
     offsetof(rf_sweep_result, eval_label_tokens)},
    {"eval_correct", "samples",
     "samples all of whose label tokens are the most likely ones; -1: none",
     offsetof(rf_sweep_result, eval_correct)},
    {"eval_total", "samples", "samples of the last evaluation; -1: none",
     offsetof(rf_sweep_result, eval_total)},
};

static const whole_column numbers[] = {
    {"loss", "nats per label token", "training loss of the last step",
     offsetof(rf_sweep_result, loss)},
    {"eval_loss", "nats per label token", "held-out loss of the last evaluation",
     offsetof(rf_sweep_result, eval_loss)},
    {"step_seconds", "s", "time of all steps", offsetof(rf_sweep_result, step_seconds)},
};

static rf_status put_column(collection *c, const char *path, const char *unit,
                            const char *description, rf_dtype dtype)
{
    const rf_h5_layout layout = rf_h5_vector(dtype, c->sweep->count);
    RF_TRY(rf_h5_create_set(c->file, path, &layout));
    RF_TRY(rf_h5_write(c->file, path, dtype, NULL, NULL, c->column));
    return rf_h5_describe(c->file, path, unit, description);
}

/* Text number `i` of a column, to be written into `text`. */
typedef void text_writer(const collection *c, int64_t i, const char *key, char *text);

static rf_status put_texts(collection *c, const char *path, const char *description,
                           text_writer *write, const char *key)
{
    const int64_t count = c->sweep->count;
    char *packed = calloc((size_t)count + 1, TEXT_BYTES);
    const rf_h5_layout layout = {.text = TEXT_BYTES, .dims = 1, .size = {count}};
    rf_h5_set *set = NULL;
    if (!packed) return rf_fail(RF_RESOURCES, "no memory for %lld texts", (long long)count);
    for (int64_t i = 0; i < count; i++) write(c, i, key, packed + i * TEXT_BYTES);
    rf_status status = rf_h5_create_set(c->file, path, &layout);
    if (status == RF_OK) status = rf_h5_set_open(&set, c->file, path);
    if (status == RF_OK) status = rf_h5_set_write_text(set, 0, count, packed);
    rf_h5_set_close(&set);
    free(packed);
    RF_TRY(status);
    return rf_h5_describe(c->file, path, "", description);
}

static void write_id(const collection *c, int64_t i, const char *key, char *text)
{
    (void)key;
    snprintf(text, TEXT_BYTES, "%s", c->sweep->run[i].id);
}

static void write_state(const collection *c, int64_t i, const char *key, char *text)
{
    (void)key;
    snprintf(text, TEXT_BYTES, "%s", rf_sweep_state_word(c->survey->record[i].state));
}

static void write_message(const collection *c, int64_t i, const char *key, char *text)
{
    (void)key;
    snprintf(text, TEXT_BYTES, "%.*s", TEXT_BYTES - 1, c->survey->record[i].message);
}

static void write_folder(const collection *c, int64_t i, const char *key, char *text)
{
    (void)key;
    snprintf(text, TEXT_BYTES, "runs/%s", c->sweep->run[i].id);
}

/* The value that a run gives a key, "" where it leaves it to the base. */
static void write_value(const collection *c, int64_t i, const char *key, char *text)
{
    const size_t length = strlen(key);
    const rf_texts *set = &c->sweep->run[i].set;
    for (int k = 0; k < set->count; k++)
        if (strncmp(set->item[k], key, length) == 0 && set->item[k][length] == '=')
            snprintf(text, TEXT_BYTES, "%s", set->item[k] + length + 1);
}

static rf_status put_texts_of_runs(collection *c)
{
    RF_TRY(put_texts(c, "/runs/id",
                     "identity: digest of the effective configuration without output", write_id,
                     NULL));
    RF_TRY(put_texts(c, "/runs/state", "done, running, failed, stopped, vanished or left",
                     write_state, NULL));
    RF_TRY(put_texts(c, "/runs/message", "why it failed or stopped", write_message, NULL));
    RF_TRY(put_texts(c, "/runs/folder", "the run folder, from this file's folder", write_folder,
                     NULL));
    for (int k = 0; k < c->sweep->keys.count; k++) {
        char path[256];
        snprintf(path, sizeof path, "/keys/%.200s", c->sweep->keys.item[k]);
        RF_TRY(put_texts(c, path, "value of this key; empty: as in the base", write_value,
                         c->sweep->keys.item[k]));
    }
    return RF_OK;
}

static rf_status put_records(collection *c)
{
    const rf_sweep_record *record = c->survey->record;
    int64_t *whole = c->column;
    double *number = c->column;
    for (int64_t i = 0; i < c->sweep->count; i++) whole[i] = i;
    RF_TRY(put_column(c, "/runs/index", "1", "number in the manifest", RF_I64));
    for (int64_t i = 0; i < c->sweep->count; i++) whole[i] = record[i].code;
    RF_TRY(put_column(c, "/runs/code", "1", "exit code of the last try", RF_I64));
    for (int64_t i = 0; i < c->sweep->count; i++) whole[i] = record[i].tries;
    RF_TRY(put_column(c, "/runs/tries", "1", "how often it was begun", RF_I64));
    for (int64_t i = 0; i < c->sweep->count; i++) whole[i] = record[i].ranks;
    RF_TRY(put_column(c, "/runs/ranks", "1", "ranks of the last try", RF_I64));
    for (int64_t i = 0; i < c->sweep->count; i++) whole[i] = record[i].threads;
    RF_TRY(put_column(c, "/runs/threads", "1", "threads of a rank, last try", RF_I64));
    for (int64_t i = 0; i < c->sweep->count; i++) number[i] = record[i].seconds;
    return put_column(c, "/runs/seconds", "s", "time from claim to record, all tries", RF_F64);
}

static rf_status put_results(collection *c)
{
    char path[64];
    for (size_t k = 0; k < sizeof wholes / sizeof wholes[0]; k++) {
        for (int64_t i = 0; i < c->sweep->count; i++)
            memcpy((int64_t *)c->column + i, (const char *)&c->result[i] + wholes[k].at,
                   sizeof(int64_t));
        snprintf(path, sizeof path, "/runs/%s", wholes[k].name);
        RF_TRY(put_column(c, path, wholes[k].unit, wholes[k].description, RF_I64));
    }
    for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++) {
        for (int64_t i = 0; i < c->sweep->count; i++)
            memcpy((double *)c->column + i, (const char *)&c->result[i] + numbers[k].at,
                   sizeof(double));
        snprintf(path, sizeof path, "/runs/%s", numbers[k].name);
        RF_TRY(put_column(c, path, numbers[k].unit, numbers[k].description, RF_F64));
    }
    return RF_OK;
}

static rf_status put_links(collection *c)
{
    for (int64_t i = 0; i < c->sweep->count; i++) {
        char path[64], target[64], file[PATH_MAX];
        RF_TRY(rf_sweep_path(c->sweep, i, "runs", "/run.h5", file));
        if (access(file, F_OK) != 0) continue;
        snprintf(path, sizeof path, "/traces/%s", c->sweep->run[i].id);
        snprintf(target, sizeof target, "runs/%s/run.h5", c->sweep->run[i].id);
        RF_TRY(rf_h5_link(c->file, path, target, "/"));
    }
    return RF_OK;
}

static rf_status put_attributes(collection *c)
{
    char created[32];
    const time_t now = time(NULL);
    struct tm utc;
    strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    RF_TRY(rf_h5_put_text(c->file, "/", "schema", "refract/sweep"));
    RF_TRY(rf_h5_put_int(c->file, "/", "schema_version", 1));
    RF_TRY(rf_h5_put_text(c->file, "/", "created_utc", created));
    RF_TRY(rf_h5_put_text(c->file, "/", "software_version", RF_VERSION));
    RF_TRY(rf_h5_put_text(c->file, "/", "git_commit", RF_GIT_COMMIT));
    RF_TRY(rf_h5_put_text(c->file, "/", "sweep", c->sweep->source));
    RF_TRY(rf_h5_put_text(c->file, "/", "base", c->sweep->base));
    return rf_h5_put_text(c->file, "/", "config", c->sweep->base_text);
}

static rf_status put_all(collection *c)
{
    RF_TRY(put_attributes(c));
    RF_TRY(put_texts_of_runs(c));
    RF_TRY(put_records(c));
    RF_TRY(put_results(c));
    return put_links(c);
}

static void read_results(collection *c, rf_log *log)
{
    for (int64_t i = 0; i < c->sweep->count; i++) {
        const rf_sweep_state state = c->survey->record[i].state;
        const rf_status status =
            rf_sweep_result_read(&c->result[i], c->sweep, i, state == RF_SWEEP_RUNNING);
        if (state == RF_SWEEP_VANISHED)
            rf_log_warning(log, "run %lld: %s", (long long)i, c->survey->record[i].message);
        else if (status != RF_OK && (state == RF_SWEEP_DONE || state == RF_SWEEP_STOPPED))
            rf_log_warning(log, "run %lld has no numbers: %s", (long long)i, rf_status_message());
    }
}

static rf_status write_file(collection *c, const char *path)
{
    char temporary[PATH_MAX];
    RF_TRY(rf_file_temporary(temporary, sizeof temporary, path));
    RF_TRY(rf_h5_open(&c->file, temporary, RF_H5_CREATE, MPI_COMM_NULL));
    const rf_status status = put_all(c), closed = rf_h5_close(&c->file);
    if (status == RF_OK && closed == RF_OK) return rf_file_publish(temporary, path);
    remove(temporary);
    return status != RF_OK ? status : closed;
}

rf_status rf_sweep_collect(const rf_sweep *sweep, const rf_sweep_survey *survey, rf_log *log,
                           char *path)
{
    collection c = {.sweep = sweep, .survey = survey};
    if (snprintf(path, PATH_MAX, "%s/sweep.h5", sweep->folder) >= PATH_MAX)
        return rf_fail(RF_USAGE, "the path %.200s... is too long", sweep->folder);
    c.result = calloc((size_t)sweep->count + 1, sizeof *c.result);
    c.column = calloc((size_t)sweep->count + 1, sizeof(double));
    rf_status status =
        c.result && c.column ? RF_OK : rf_fail(RF_RESOURCES, "no memory for the sweep");
    if (status == RF_OK) read_results(&c, log);
    if (status == RF_OK) status = write_file(&c, path);
    free(c.result);
    free(c.column);
    return status;
}
