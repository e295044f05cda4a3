/* FOLDER/manifest.jsonl: a head, one line a run, the digest of all of it. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "refract/base/file.h"
#include "refract/store/digest.h"
#include "rf_version.h"

#define SCHEMA "refract/sweep-manifest"
enum { VERSION = 1 };

static json_t *list_of(const rf_texts *texts)
{
    json_t *list = json_array();
    for (int i = 0; i < texts->count; i++) json_array_append_new(list, json_string(texts->item[i]));
    return list;
}

/* One line; takes the value. */
static rf_status write_line(FILE *out, json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    json_decref(value);
    if (!text)
        return rf_fail(RF_RESOURCES, "no memory for the manifest, or a text in it is not "
                                     "UTF-8. See the sweep's file");
    fprintf(out, "%s\n", text);
    free(text);
    return RF_OK;
}

static rf_status write_lines(const rf_sweep *sweep, FILE *out)
{
    RF_TRY(write_line(out, json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:o, s:o, s:I}", "schema",
                                     SCHEMA, "version", VERSION, "software_version", RF_VERSION,
                                     "sweep", sweep->source, "base", sweep->base, "base_text",
                                     sweep->base_text, "common", list_of(&sweep->common), "keys",
                                     list_of(&sweep->keys), "runs", (json_int_t)sweep->count)));
    for (int64_t i = 0; i < sweep->count; i++)
        RF_TRY(write_line(out, json_pack("{s:I, s:s, s:o}", "index", (json_int_t)i, "id",
                                         sweep->run[i].id, "set", list_of(&sweep->run[i].set))));
    return RF_OK;
}

static rf_status digest_line(const char *text, size_t length, char line[128])
{
    char hex[RF_DIGEST_BYTES];
    RF_TRY(rf_digest_bytes(hex, text, length));
    snprintf(line, 128, "{\"sha256\":\"%s\"}\n", hex);
    return RF_OK;
}

rf_status rf_sweep_write(const rf_sweep *sweep, char *path)
{
    char *text = NULL, line[128];
    size_t bytes = 0;
    if (snprintf(path, PATH_MAX, "%s/manifest.jsonl", sweep->folder) >= PATH_MAX)
        return rf_fail(RF_USAGE, "the path %.200s... is too long", sweep->folder);
    RF_TRY(rf_folder_make(sweep->folder));
    FILE *out = open_memstream(&text, &bytes);
    if (!out) return rf_fail(RF_RESOURCES, "no memory for the manifest");
    rf_status status = write_lines(sweep, out);
    fflush(out);
    if (status == RF_OK) status = digest_line(text, bytes, line);
    if (status == RF_OK) fputs(line, out);
    fclose(out);
    if (status == RF_OK) status = rf_file_write(path, text, bytes);
    free(text);
    return status;
}

static rf_status malformed(const char *path, int64_t line)
{
    return rf_fail(RF_INPUT,
                   "line %" PRId64 " is not one of a sweep's manifest (%s). Write it anew with "
                   "refract sweep plan",
                   line + 1, path);
}

/* The last line holds the digest of all before it. */
static rf_status check_digest(const char *text, size_t length, const char *path, size_t *body)
{
    char wanted[128];
    const char *last = text + length;
    if (length > 0 && last[-1] == '\n') last--;
    while (last > text && last[-1] != '\n') last--;
    *body = (size_t)(last - text);
    const size_t rest = length - *body;
    if (rest < 10 || strncmp(last, "{\"sha256\":", 10) != 0)
        return rf_fail(RF_INPUT,
                       "this is not a sweep's manifest, or its end is missing (%s). Write it anew "
                       "with refract sweep plan",
                       path);
    RF_TRY(digest_line(text, *body, wanted));
    if (rest == strlen(wanted) && memcmp(last, wanted, rest) == 0) return RF_OK;
    return rf_fail(RF_INPUT,
                   "the manifest was changed since it was written: its digest does not hold (%s). "
                   "Change the sweep's file instead and write it anew with refract sweep plan; "
                   "runs that are done stay done",
                   path);
}

static int take_texts(const json_t *list, rf_texts *texts)
{
    if (!json_is_array(list)) return 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (!text || rf_texts_add(texts, text) != RF_OK) return 0;
    }
    return 1;
}

static int take_copy(const json_t *object, const char *key, char **copy)
{
    const char *text = json_string_value(json_object_get(object, key));
    *copy = text ? strdup(text) : NULL;
    return *copy != NULL;
}

static rf_status take_head(rf_sweep *sweep, const json_t *head, const char *path, int64_t *runs)
{
    const char *schema = json_string_value(json_object_get(head, "schema"));
    const json_int_t version = json_integer_value(json_object_get(head, "version"));
    if (!schema || strcmp(schema, SCHEMA) != 0) return malformed(path, 0);
    if (version > VERSION)
        return rf_fail(RF_INPUT,
                       "the manifest has version %lld, this refract reads up to %d (%s). Use the "
                       "refract that wrote it",
                       (long long)version, VERSION, path);
    *runs = json_integer_value(json_object_get(head, "runs"));
    const int whole = take_copy(head, "sweep", &sweep->source) &&
                      take_copy(head, "base", &sweep->base) &&
                      take_copy(head, "base_text", &sweep->base_text) &&
                      take_texts(json_object_get(head, "common"), &sweep->common) &&
                      take_texts(json_object_get(head, "keys"), &sweep->keys);
    return whole ? RF_OK : malformed(path, 0);
}

static rf_status take_run(rf_sweep *sweep, const json_t *line, const char *path)
{
    const int64_t index = sweep->count;
    const char *id = json_string_value(json_object_get(line, "id"));
    if (!id || strlen(id) != RF_SWEEP_ID_BYTES - 1 ||
        json_integer_value(json_object_get(line, "index")) != index)
        return malformed(path, index + 1);
    rf_sweep_run *run = NULL;
    RF_TRY(sweep_add_run(sweep, &run));
    strcpy(run->id, id);
    return take_texts(json_object_get(line, "set"), &run->set) ? RF_OK : malformed(path, index + 1);
}

static rf_status take_lines(rf_sweep *sweep, const char *text, size_t length, const char *path)
{
    int64_t runs = 0;
    for (size_t at = 0, line = 0; at < length; line++) {
        const char *end = memchr(text + at, '\n', length - at);
        const size_t span = end ? (size_t)(end - (text + at)) : length - at;
        json_t *value = json_loadb(text + at, span, 0, NULL);
        rf_status status = value ? RF_OK : malformed(path, (int64_t)line);
        if (status == RF_OK)
            status =
                line == 0 ? take_head(sweep, value, path, &runs) : take_run(sweep, value, path);
        json_decref(value);
        RF_TRY(status);
        at += span + 1;
    }
    return sweep->count == runs ? RF_OK : malformed(path, sweep->count + 1);
}

/* FOLDER of FOLDER/manifest.jsonl; "." where the name stands alone. */
static rf_status take_folder(rf_sweep *sweep, const char *path)
{
    const char *slash = strrchr(path, '/');
    const int length = slash ? (int)(slash - path) : 0;
    if (strlen(path) >= sizeof sweep->folder)
        return rf_fail(RF_USAGE, "the path %.200s... is too long", path);
    snprintf(sweep->folder, sizeof sweep->folder, "%.*s", slash ? (length ? length : 1) : 1,
             slash ? path : ".");
    return RF_OK;
}

rf_status rf_sweep_read(rf_sweep *sweep, const char *text, size_t length, const char *path)
{
    size_t body = 0;
    *sweep = (rf_sweep){.folder = ""};
    RF_TRY(take_folder(sweep, path));
    RF_TRY(check_digest(text, length, path, &body));
    return take_lines(sweep, text, body, path);
}
