/* The configuration as YAML; the schema for people. */
#include "config_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Quotes whatever another YAML reader could take for something else than a text. */
static int needs_quotes(const char *text)
{
    static const char *const reserved[] = {"true", "false", "yes", "no", "on", "off", "y", "n"};
    const char *plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-";
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (strcasecmp(text, reserved[i]) == 0) return 1;
    const char first[] = {text[0], '\0'};
    return rf_config_word_is_null(text) || text[strspn(text, plain)] ||
           strspn(first, "0123456789.+-") || strncmp(text, "./", 2) == 0;
}

static void write_text(FILE *out, const char *text)
{
    if (!needs_quotes(text)) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (const char *at = text; *at; at++) {
        const unsigned char byte = (unsigned char)*at;
        if (byte == '"' || byte == '\\')
            fprintf(out, "\\%c", byte);
        else if (byte < 0x20 || byte == 0x7f)
            fprintf(out, "\\x%02X", byte);
        else
            fputc(byte, out);
    }
    fputc('"', out);
}

/* The shortest decimal that reads back as the same double. */
static void write_number(FILE *out, double number)
{
    char text[64];
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*g", precision, number);
        if (strtod(text, NULL) == number) break;
    }
    /* with a point, or YAML 1.1 readers take 1e-08 for a text */
    const int digits = (int)strcspn(text, "e");
    const char *point = memchr(text, '.', (size_t)digits) ? "" : ".0";
    fprintf(out, "%.*s%s%s", digits, text, point, text + digits);
}

static void write_scalar(FILE *out, const rf_config_entry *entry, const rf_config_value *value)
{
    if (entry->type == RF_CONFIG_INTEGER)
        fprintf(out, "%" PRId64, value->integer);
    else if (entry->type == RF_CONFIG_NUMBER)
        write_number(out, value->number);
    else if (entry->type == RF_CONFIG_BOOLEAN)
        fputs(value->integer ? "true" : "false", out);
    else
        write_text(out, value->words.items[0]);
}

static void write_list(FILE *out, const rf_config_words *words)
{
    if (words->count == 1) {
        write_text(out, words->items[0]);
        return;
    }
    fputc('[', out);
    for (int i = 0; i < words->count; i++) {
        if (i) fputs(", ", out);
        write_text(out, words->items[i]);
    }
    fputc(']', out);
}

static void write_map(FILE *out, const rf_config_entry *entry, const rf_config_value *value)
{
    fputc('{', out);
    for (int i = 0; i < value->words.count; i++) {
        if (i) fputs(", ", out);
        write_text(out, value->words.keys[i]);
        fputs(": ", out);
        if (entry->type == RF_CONFIG_INTEGERS)
            fprintf(out, "%.0f", value->numbers[i]);
        else
            write_number(out, value->numbers[i]);
    }
    fputc('}', out);
}

void rf_config_value_write(FILE *out, const rf_config_entry *entry, const rf_config_value *value)
{
    switch (value->form) {
    case RF_CONFIG_IS_NULL:
        fputs("null", out);
        break;
    case RF_CONFIG_IS_AUTO:
        fputs("auto", out);
        break;
    case RF_CONFIG_IS_SCALAR:
        write_scalar(out, entry, value);
        break;
    case RF_CONFIG_IS_LIST:
        write_list(out, &value->words);
        break;
    case RF_CONFIG_IS_MAP:
        write_map(out, entry, value);
        break;
    }
}

static size_t section_length(const char *key)
{
    const char *dot = strchr(key, '.');
    return dot ? (size_t)(dot - key) : 0;
}

static void write_key(FILE *out, int index)
{
    const char *key = rf_config_schema[index].key;
    const char *before = index ? rf_config_schema[index - 1].key : "";
    const size_t length = section_length(key);
    if (length == 0) {
        fprintf(out, "%s: ", key);
        return;
    }
    if (section_length(before) != length || strncmp(before, key, length) != 0)
        fprintf(out, "%.*s:\n", (int)length, key);
    fprintf(out, "  %s: ", key + length + 1);
}

char *rf_config_yaml(const rf_config *config)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (!out) return NULL;
    for (int i = 0; i < rf_config_schema_count; i++) {
        write_key(out, i);
        rf_config_value_write(out, &rf_config_schema[i], &config->values[i]);
        fputc('\n', out);
    }
    if (fclose(out) == 0) return text;
    free(text);
    return NULL;
}

static void print_entry(FILE *out, const rf_config_entry *entry)
{
    char wanted[512];
    rf_config_entry_describe(entry, wanted, sizeof wanted);
    fprintf(out, "%s: %s\n    %s\n    %s%s\n", entry->key, entry->standard, entry->help, wanted,
            entry->flags & RF_CONFIG_RESUMABLE ? "; may change on resume" : "");
}

void rf_config_print_schema(FILE *out)
{
    for (int i = 0; i < rf_config_schema_count; i++) print_entry(out, &rf_config_schema[i]);
}

void rf_config_print_section(FILE *out, const char *section)
{
    const size_t length = strlen(section);
    for (int i = 0; i < rf_config_schema_count; i++) {
        const char *key = rf_config_schema[i].key;
        if (section_length(key) == length && strncmp(key, section, length) == 0)
            fprintf(out, "  %s: %s  # %s\n", key, rf_config_schema[i].standard,
                    rf_config_schema[i].help);
    }
}
