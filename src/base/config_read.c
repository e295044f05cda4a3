/* YAML events into the configuration. */
#include "config_internal.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { PATH_BYTES = 256, WHERE_BYTES = 1024 };

typedef struct reader {
    yaml_parser_t yaml;
    yaml_event_t event; /* the current one; freed by the next */
    rf_config *config;
    rf_config_source source;
    const char *file, *text;
    size_t length;
    int *first_line; /* [schema] where a file set a key, or began its section; 0 = not yet */
} reader;

static void write_where(const reader *in, size_t line, char where[WHERE_BYTES])
{
    if (in->source == RF_CONFIG_FROM_FILE)
        snprintf(where, WHERE_BYTES, "%.900s, line %zu", in->file, line + 1);
    else
        snprintf(where, WHERE_BYTES, "%.1000s", in->file);
}

static rf_status fail_at(const reader *in, size_t line, const char *what, const char *hint)
{
    char where[WHERE_BYTES];
    write_where(in, line, where);
    return rf_fail(RF_USAGE, "%s (%s)%s%s", what, where, *hint ? ". " : "", hint);
}

static rf_status fail_here(const reader *in, const char *what, const char *hint)
{
    return fail_at(in, in->event.start_mark.line, what, hint);
}

static rf_status malformed(const reader *in)
{
    const yaml_parser_t *yaml = &in->yaml;
    if (yaml->error == YAML_MEMORY_ERROR)
        return rf_fail(RF_RESOURCES, "no memory for the configuration");
    size_t line = yaml->problem_mark.line;
    if (yaml->error == YAML_READER_ERROR) /* has no line, only an offset */
        for (size_t i = line = 0; i < yaml->problem_offset && i < in->length; i++)
            line += in->text[i] == '\n';
    char what[256];
    snprintf(what, sizeof what, "malformed YAML: %s", yaml->problem ? yaml->problem : "unreadable");
    return fail_at(in, line, what, "");
}

static int has_tag(const yaml_event_t *event)
{
    return (event->type == YAML_SCALAR_EVENT && event->data.scalar.tag) ||
           (event->type == YAML_SEQUENCE_START_EVENT && event->data.sequence_start.tag) ||
           (event->type == YAML_MAPPING_START_EVENT && event->data.mapping_start.tag);
}

static rf_status next(reader *in)
{
    yaml_event_delete(&in->event);
    if (!yaml_parser_parse(&in->yaml, &in->event)) return malformed(in);
    if (in->event.type == YAML_ALIAS_EVENT)
        return fail_here(in, "anchors and aliases are not understood", "Write the value out");
    if (has_tag(&in->event))
        return fail_here(in, "tags are not understood", "Write the plain value");
    return RF_OK;
}

/* The scalar's text; one with a NUL byte inside would be cut silently, so it is refused. */
static rf_status scalar_text(const reader *in, const char **text)
{
    *text = (const char *)in->event.data.scalar.value;
    if (strlen(*text) != in->event.data.scalar.length)
        return fail_here(in, "a NUL byte inside a text", "Remove it");
    return RF_OK;
}

static int is_null(const yaml_event_t *event)
{
    return event->type == YAML_SCALAR_EVENT &&
           event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           rf_config_word_is_null((const char *)event->data.scalar.value);
}

static rf_status read_item(reader *in, const char *key, const char *path, rf_config_words *words)
{
    char what[PATH_BYTES + 64];
    snprintf(what, sizeof what, "'%s' holds more than words and numbers", path);
    if (in->event.type != YAML_SCALAR_EVENT) return fail_here(in, what, "");
    const char *text = NULL;
    RF_TRY(scalar_text(in, &text));
    return rf_config_words_add(words, key, text);
}

static rf_status read_sequence(reader *in, const char *path, rf_config_words *words)
{
    words->form = RF_CONFIG_IS_LIST;
    for (;;) {
        RF_TRY(next(in));
        if (in->event.type == YAML_SEQUENCE_END_EVENT) return RF_OK;
        RF_TRY(read_item(in, NULL, path, words));
    }
}

static rf_status read_free_mapping(reader *in, const char *path, rf_config_words *words)
{
    words->form = RF_CONFIG_IS_MAP;
    for (;;) {
        RF_TRY(next(in));
        if (in->event.type == YAML_MAPPING_END_EVENT) return RF_OK;
        const char *text = NULL;
        if (in->event.type != YAML_SCALAR_EVENT) return fail_here(in, "a key is not a text", "");
        RF_TRY(scalar_text(in, &text));
        char *key = strdup(text);
        if (!key) return rf_fail(RF_RESOURCES, "no memory for the configuration");
        rf_status status = next(in);
        if (status == RF_OK) status = read_item(in, key, path, words);
        free(key);
        RF_TRY(status);
    }
}

/* Reads the value that begins with the current event. */
static rf_status read_words(reader *in, const char *path, rf_config_words *words)
{
    if (in->event.type == YAML_SEQUENCE_START_EVENT) return read_sequence(in, path, words);
    if (in->event.type == YAML_MAPPING_START_EVENT) return read_free_mapping(in, path, words);
    words->form = is_null(&in->event) ? RF_CONFIG_IS_NULL : RF_CONFIG_IS_SCALAR;
    return read_item(in, NULL, path, words);
}

static rf_status read_value(reader *in, const char *path, int index, size_t line)
{
    char where[WHERE_BYTES];
    write_where(in, line, where);
    rf_config_words words = {0};
    const rf_status status = read_words(in, path, &words);
    if (status == RF_OK) return rf_config_set(in->config, index, &words, in->source, where);
    rf_config_words_free(&words);
    return status;
}

static rf_status unknown_key(const reader *in, const char *path, size_t line)
{
    char what[PATH_BYTES + 32], nearest[128], hint[192] = "See refract config --schema";
    snprintf(what, sizeof what, "unknown key '%s'", path);
    if (rf_config_key_nearest(path, nearest, sizeof nearest))
        snprintf(hint, sizeof hint, "Did you mean '%s'?", nearest);
    return fail_at(in, line, what, hint);
}

static rf_status once(reader *in, const char *path, int index, size_t line)
{
    if (in->source != RF_CONFIG_FROM_FILE) return RF_OK;
    if (in->first_line[index]) {
        char what[PATH_BYTES + 64];
        snprintf(what, sizeof what, "'%s' is there twice, first on line %d", path,
                 in->first_line[index]);
        return fail_at(in, line, what, "Keep one");
    }
    in->first_line[index] = (int)line + 1;
    return RF_OK;
}

static rf_status read_section(reader *in, const char *section);

/* The current event begins the value of `path`, whose name stood on `line`. */
static rf_status read_path(reader *in, const char *path, size_t line)
{
    const int key = rf_config_entry_find(path), section = rf_config_section_find(path);
    if (key >= 0) {
        RF_TRY(once(in, path, key, line));
        return read_value(in, path, key, line);
    }
    if (section < 0) return unknown_key(in, path, line);
    RF_TRY(once(in, path, rf_config_schema_count + section, line));
    if (is_null(&in->event)) return RF_OK;
    if (in->event.type == YAML_MAPPING_START_EVENT) return read_section(in, path);
    char what[PATH_BYTES + 64];
    snprintf(what, sizeof what, "'%s' is a section with keys of its own", path);
    return fail_at(in, line, what, "Set them one by one");
}

static rf_status read_section(reader *in, const char *section)
{
    for (;;) {
        RF_TRY(next(in));
        if (in->event.type == YAML_MAPPING_END_EVENT) return RF_OK;
        if (in->event.type != YAML_SCALAR_EVENT) return fail_here(in, "a key is not a text", "");
        const char *name = NULL;
        RF_TRY(scalar_text(in, &name));
        char path[PATH_BYTES];
        snprintf(path, sizeof path, "%s%s%.200s", section, *section ? "." : "", name);
        const size_t line = in->event.start_mark.line;
        RF_TRY(next(in));
        RF_TRY(read_path(in, path, line));
    }
}

static rf_status read_stream(reader *in, const char *prefix)
{
    do RF_TRY(next(in));
    while (in->event.type == YAML_STREAM_START_EVENT ||
           in->event.type == YAML_DOCUMENT_START_EVENT);
    if (*prefix) RF_TRY(read_path(in, prefix, 0));
    if (in->event.type == YAML_STREAM_END_EVENT) return RF_OK;
    if (!*prefix && in->event.type == YAML_MAPPING_START_EVENT)
        RF_TRY(read_section(in, ""));
    else if (!*prefix && !is_null(&in->event))
        return fail_here(in, "not a mapping of keys to values", "Write KEY: VALUE lines");
    RF_TRY(next(in));
    RF_TRY(next(in));
    if (in->event.type == YAML_STREAM_END_EVENT) return RF_OK;
    return fail_here(in, "a second document", "Keep one");
}

rf_status rf_config_read(rf_config *config, const char *text, size_t length, const char *prefix,
                         rf_config_source source, const char *file)
{
    reader in = {.config = config, .source = source, .file = file, .text = text, .length = length};
    in.first_line = calloc(2 * (size_t)rf_config_schema_count, sizeof *in.first_line);
    if (!in.first_line || !yaml_parser_initialize(&in.yaml)) {
        free(in.first_line);
        return rf_fail(RF_RESOURCES, "no memory for the configuration");
    }
    yaml_parser_set_input_string(&in.yaml, (const unsigned char *)text, length);
    const rf_status status = read_stream(&in, prefix);
    yaml_event_delete(&in.event);
    yaml_parser_delete(&in.yaml);
    free(in.first_line);
    return status;
}
