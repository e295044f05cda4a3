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
