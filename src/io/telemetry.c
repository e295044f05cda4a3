#include "refract/io/telemetry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "checkpoint_folder.h"
#include "refract/base/file.h"
#include "telemetry_private.h"

/* About what one write moves; a row is never cut. */
enum { CHUNK_BYTES = 16384, MOST_CHUNK_ROWS = 1024 };

static int64_t at_least_one(int64_t n)
{
    return n > 0 ? n : 1;
}

/* Shape [0, ...] of a column; empty extents have room for one, which stays unused. */
static rf_h5_layout layout_of(const rf_column *column, const rf_telemetry_options *options)
{
    rf_h5_layout layout = {.dtype = column->dtype, .dims = 1};
    const int64_t modules = at_least_one(options->module_count);
    const int64_t layers = at_least_one(options->layers);
    switch (column->extent) {
    case RF_ONE:
        break;
    case RF_TEXT:
        layout.text = RF_COLUMN_TEXT;
        break;
    case RF_PER_MODULE:
        layout = rf_h5_matrix(column->dtype, 0, modules);
        break;
    case RF_PER_PHASE:
        layout = rf_h5_matrix(column->dtype, 0, at_least_one(options->phase_count));
        break;
    case RF_PER_LAYER:
        layout = rf_h5_matrix(column->dtype, 0, layers);
        break;
    case RF_PER_RANK:
        layout.dims = 3;
        layout.size[1] = modules;
        layout.size[2] = at_least_one(options->rank_r);
        break;
    case RF_PER_HEAD:
    case RF_PER_NEURON:
        layout.dims = 3;
        layout.size[1] = layers;
        layout.size[2] =
            at_least_one(column->extent == RF_PER_HEAD ? options->heads : options->d_ff);
        break;
    }
    int64_t row = layout.text > 0 ? layout.text : (int64_t)rf_dtype_size(layout.dtype);
    for (int i = 1; i < layout.dims; i++) row *= layout.size[i];
    layout.chunk = at_least_one(CHUNK_BYTES / row);
    if (layout.chunk > MOST_CHUNK_ROWS) layout.chunk = MOST_CHUNK_ROWS;
    return layout;
}

static rf_status put_attributes(rf_h5 *file, const rf_telemetry_options *options)
{
    char created[32];
    struct tm utc;
    const time_t now = time(NULL);
    strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    RF_TRY(rf_h5_put_text(file, "/", "schema", "refract/telemetry"));
    RF_TRY(rf_h5_put_int(file, "/", "schema_version", 1));
    RF_TRY(rf_h5_put_text(file, "/", "created_utc", created));
    for (int64_t i = 0; i < options->attribute_count; i++) {
        const rf_attribute *attribute = &options->attributes[i];
        RF_TRY(attribute->text ? rf_h5_put_text(file, "/", attribute->name, attribute->text)
                               : rf_h5_put_int(file, "/", attribute->name, attribute->number));
    }
    return RF_OK;
}

static rf_status create_columns(rf_telemetry *telemetry, const rf_telemetry_options *options)
{
    for (int i = 0; i < rf_column_count(); i++) {
        const rf_column *column = &rf_columns[i];
        const rf_h5_layout layout = layout_of(column, options);
        RF_TRY(rf_h5_create_set(telemetry->file, column->path, &layout));
        RF_TRY(rf_h5_describe(telemetry->file, column->path, column->unit, column->description));
        RF_TRY(rf_h5_set_open(&telemetry->sets[i], telemetry->file, column->path));
    }
    return RF_OK;
}

static rf_status append_text(rf_h5_set *set, const char *text)
{
    char packed[RF_COLUMN_TEXT] = "";
    const size_t length = strlen(text);
    memcpy(packed, text, length < sizeof packed ? length : sizeof packed);
    return rf_h5_set_append_text(set, 1, packed);
}

rf_status rf_telemetry_append(rf_telemetry *telemetry, rf_table table, const void *const *values,
                              int count)
{
    int columns = 0;
    const rf_column *first = rf_table_columns(table, &columns);
    if (RF_FAULT_AT("telemetry.append"))
        return rf_fail(RF_WRITE, "cannot write dataset '%s' (fault)", first->path);
    RF_ASSERT(columns == count, "table of %s has %d columns, not %d", first->path, columns, count);
    for (int i = 0; i < count; i++) {
        rf_h5_set *set = telemetry->sets[first - rf_columns + i];
        const void *row = rf_telemetry_spread(telemetry, &first[i], values[i]);
        RF_TRY(first[i].extent == RF_TEXT ? append_text(set, row)
                                          : rf_h5_set_append(set, first[i].dtype, 1, row));
    }
    return RF_OK;
}

rf_status rf_telemetry_flush(rf_telemetry *telemetry, rf_table table)
{
    int columns = 0;
    const rf_column *first = rf_table_columns(table, &columns);
    for (int i = columns - 1; i >= 0; i--) /* the step last: it says that a row is whole */
        RF_TRY(rf_h5_set_flush(telemetry->sets[first - rf_columns + i]));
    return RF_OK;
}

/* What never changes: modules, names of phases, the account of the data. */
static rf_status put_constants(rf_telemetry *telemetry, const rf_telemetry_options *options)
{
    for (int64_t i = 0; i < options->module_count; i++) {
        const rf_telemetry_module *m = &options->modules[i];
        const void *values[] = {m->name,   m->kind, &m->layer,  &m->d_in,
                                &m->d_out, &m->r,   &m->scaling};
        RF_TRY(rf_telemetry_append(telemetry, RF_TABLE_MODULES, values, 7));
    }
    for (int64_t i = 0; i < options->phase_count; i++) {
        const void *values[] = {options->phases[i]};
        RF_TRY(rf_telemetry_append(telemetry, RF_TABLE_PHASES, values, 1));
    }
    for (int64_t i = 0; i < options->data_count; i++) {
        const rf_account *account = &options->data[i].account;
        const void *values[] = {options->data[i].role,  &account->rows,
                                &account->used,         &account->truncated,
                                &account->tokens_lost,  &account->skipped_empty,
                                &account->skipped_limit};
        RF_TRY(rf_telemetry_append(telemetry, RF_TABLE_DATA, values, 7));
    }
    return RF_OK;
}

static rf_status create(rf_telemetry *telemetry, const char *temporary,
                        const rf_telemetry_options *options)
{
    RF_TRY(rf_h5_open(&telemetry->file, temporary, RF_H5_CREATE_LIVE, MPI_COMM_NULL));
    RF_TRY(put_attributes(telemetry->file, options));
    RF_TRY(create_columns(telemetry, options));
    return put_constants(telemetry, options);
}

/* Gives the handle back without a word: its file is not wanted. */
static void discard(rf_telemetry *telemetry, const char *temporary)
{
    char text[RF_MESSAGE_BYTES];
    snprintf(text, sizeof text, "%s", rf_status_message());
    for (int i = 0; i < rf_column_count(); i++) rf_h5_set_close(&telemetry->sets[i]);
    rf_h5_close(&telemetry->file);
    unlink(temporary);
    rf_fail(RF_WRITE, "%s", text);
}

/* Takes over the rows of the earlier file. Where that cannot be, the file is kept aside and the new
   one begins empty. */
static rf_status take_over(rf_telemetry *telemetry, rf_log *log, const char *temporary,
                           const rf_telemetry_options *options)
{
    char aside[RF_PATH_BYTES];
    if (options->resume_step <= 0) return RF_OK;
    if (access(options->path, F_OK) == 0) {
        const rf_status status = rf_telemetry_copy(telemetry, options);
        if (status != RF_INPUT) return status;
        snprintf(aside, sizeof aside, "%s.old", options->path);
        rf_log_warning(log, "earlier telemetry is left out, and kept as '%s': %s", aside,
                       rf_status_message());
        if (rename(options->path, aside) != 0) rf_log_warning(log, "cannot rename to '%s'", aside);
    } else {
        rf_log_warning(log, "no earlier telemetry '%s': the rows before step %lld are missing",
                       options->path, (long long)options->resume_step + 1);
        return RF_OK;
    }
    discard(telemetry, temporary);
    return create(telemetry, temporary, options);
}

static rf_status build(rf_telemetry *telemetry, rf_log *log, const rf_telemetry_options *options)
{
    char temporary[RF_PATH_BYTES];
    RF_TRY(rf_file_temporary(temporary, sizeof temporary, options->path));
    rf_status status = create(telemetry, temporary, options);
    if (status == RF_OK) status = take_over(telemetry, log, temporary, options);
    if (status == RF_OK) status = rf_h5_go_live(telemetry->file);
    if (status == RF_OK) status = rf_h5_flush(telemetry->file);
    if (status == RF_OK) status = rf_file_publish(temporary, options->path);
    if (status != RF_OK) discard(telemetry, temporary);
    return status;
}

rf_status rf_telemetry_open(rf_telemetry **telemetry, int rank, rf_log *log,
                            const rf_telemetry_options *options)
{
    *telemetry = NULL;
    if (rank != 0) return RF_OK;
    rf_telemetry *opened = calloc(1, sizeof *opened);
    if (opened) opened->sets = calloc((size_t)rf_column_count(), sizeof *opened->sets);
    if (!opened || !opened->sets) {
        free(opened);
        return rf_fail(RF_RESOURCES, "no memory to open '%s'", options->path);
    }
    opened->modules = options->module_count;
    opened->rank_r = options->rank_r;
    const rf_status status = build(opened, log, options);
    if (status == RF_OK) {
        *telemetry = opened;
        return RF_OK;
    }
    free(opened->sets);
    free(opened);
    return status;
}

rf_status rf_telemetry_close(rf_telemetry **telemetry)
{
    rf_telemetry *closing = *telemetry;
    if (!closing) return RF_OK;
    *telemetry = NULL;
    for (int i = 0; i < rf_column_count(); i++) rf_h5_set_close(&closing->sets[i]);
    const rf_status status = rf_h5_close(&closing->file);
    free(closing->sets);
    free(closing->row);
    free(closing->spread);
    free(closing);
    return status;
}
