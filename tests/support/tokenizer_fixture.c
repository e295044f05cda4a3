#include "tokenizer_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rf_test.h"

/* The items of `list` as JSON strings, each with its number behind if `numbered`. */
static void print_list(FILE *out, const char *list, char separator, int numbered)
{
    int number = 0;
    while (*list) {
        const size_t length = strcspn(list, (char[]){separator, '\0'});
        fprintf(out, "%s\"%.*s\"", number ? "," : "", (int)length, list);
        if (numbered) fprintf(out, ":%d", number);
        number++;
        list += length;
        if (*list) list++;
    }
}

char *tokenizer_json(const char *parts, const char *pieces, const char *merges, const char *options)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    fprintf(out, "{\"version\":\"1.0\",%s%s\"model\":{\"type\":\"BPE\",%s%s\"vocab\":{", parts,
            parts[0] ? "," : "", options, options[0] ? "," : "");
    print_list(out, pieces, ' ', 1);
    fprintf(out, "},\"merges\":[");
    print_list(out, merges, ',', 0);
    fprintf(out, "]}}");
    fclose(out);
    return text;
}

rf_tokenizer *tokenizer_of(const char *parts, const char *pieces, const char *merges,
                           const char *options)
{
    char *json = tokenizer_json(parts, pieces, merges, options);
    rf_tokenizer *tokenizer = NULL;
    assert_ok(rf_tokenizer_parse(&tokenizer, json, strlen(json), NULL, 0, "inline"));
    free(json);
    return tokenizer;
}

void tokenizer_assert_tokens(const rf_tokenizer *tokenizer, const char *text, int special,
                             const char *wanted, const char *file, int line)
{
    rf_ids ids = {0};
    char *got = NULL;
    size_t size = 0;
    rf_assert_status(rf_tokenizer_encode(tokenizer, text, strlen(text), special, &ids), RF_OK,
                     "encode", file, line);
    FILE *out = open_memstream(&got, &size);
    for (int64_t i = 0; i < ids.count; i++)
        fprintf(out, "%s%s", i ? "|" : "", rf_tokenizer_piece(tokenizer, ids.ids[i]));
    fclose(out);
    _assert_string_equal(got, wanted, file, line);
    free(got);
    free(ids.ids);
}

void tokenizer_assert_decoded(const rf_tokenizer *tokenizer, const char *tokens, int skip_special,
                              const char *wanted, const char *file, int line)
{
    rf_ids ids = {0};
    while (*tokens) {
        char name[64];
        const size_t length = strcspn(tokens, "|");
        snprintf(name, sizeof name, "%.*s", (int)length, tokens);
        const int32_t id = rf_tokenizer_id(tokenizer, name);
        rf_ids_append(&ids, &id, 1);
        tokens += length;
        if (*tokens) tokens++;
    }
    char *text = NULL;
    size_t length = 0;
    rf_assert_status(
        rf_tokenizer_decode(tokenizer, ids.ids, ids.count, skip_special, &text, &length), RF_OK,
        "decode", file, line);
    _assert_string_equal(text, wanted, file, line);
    _assert_int_equal(length, strlen(text), file, line);
    free(text);
    free(ids.ids);
}

/* The ids on one line; returns where the next line begins. */
static char *read_line(char *line, rf_ids *ids)
{
    char *end = strchr(line, '\n');
    if (end) *end = '\0';
    char *next = end ? end + 1 : line + strlen(line);
    for (char *rest = line;;) {
        const long id = strtol(line, &rest, 10);
        if (rest == line) return next;
        const int32_t narrow = (int32_t)id;
        assert_ok(rf_ids_append(ids, &narrow, 1));
        line = rest;
    }
}

void tokenizer_assert_vectors(const rf_tokenizer *tokenizer, const char *texts_path,
                              const char *ids_path)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    enum { VECTORS = 46 };
    size_t size = 0;
    char *texts = rf_test_read_file(rf_shared_path(texts_path), &size), *text = texts;
    char *lines = rf_test_read_file(rf_shared_path(ids_path), &size), *line = lines;
    int count = 0;
    for (char *end = strstr(text, separator); end; end = strstr(text, separator), count++) {
        rf_ids wanted = {0}, got = {0};
        line = read_line(line, &wanted);
        assert_ok(rf_tokenizer_encode(tokenizer, text, (size_t)(end - text), 0, &got));
        assert_int_equal(got.count, wanted.count);
        if (got.count)
            assert_memory_equal(got.ids, wanted.ids, (size_t)got.count * sizeof *got.ids);
        free(wanted.ids);
        free(got.ids);
        text = end + strlen(separator);
    }
    assert_int_equal(count, VECTORS);
    free(texts);
    free(lines);
}
