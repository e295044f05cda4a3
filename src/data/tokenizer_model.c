/* The "model" section of tokenizer.json. */
#include <stdlib.h>
#include <string.h>

#include "tokenizer_parts.h"

/* Early files do not name the model: what has merges is BPE. */
static rf_status check_kind(const json_t *part, rf_place place)
{
    rf_bytes kind = {0};
    RF_TRY(rf_part_bytes(part, "type", place, &kind));
    if (!kind.at && json_object_get(part, "merges")) return RF_OK;
    if (kind.at && strcmp(kind.at, "BPE") == 0) return RF_OK;
    return rf_fail(RF_INPUT, "a model of kind '%.100s' is not supported (%s). Only BPE is",
                   kind.at ? kind.at : "(none named)", place.file);
}

static rf_status check_dropout(const json_t *part, rf_place place)
{
    const json_t *dropout = json_object_get(part, "dropout");
    if (!dropout || json_is_null(dropout)) return RF_OK;
    if (json_is_number(dropout) && json_number_value(dropout) == 0) return RF_OK;
    return rf_fail(RF_INPUT,
                   "'dropout' of the tokeniser would make its ids random (%s, %s). Set it to "
                   "null",
                   place.file, place.part);
}

static rf_status read_pieces(const json_t *vocabulary, rf_place place, rf_bpe_piece *pieces)
{
    const char *key = NULL;
    json_t *value = NULL;
    int64_t count = 0;
    json_object_foreach((json_t *)(uintptr_t)vocabulary, key, value)
    {
        const json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id < 0 || id >= RF_BPE_MOST_IDS)
            return rf_fail(RF_INPUT, "piece '%s' needs an id from 0 to %d (%s, %s)", key,
                           RF_BPE_MOST_IDS - 1, place.file, place.part);
        pieces[count++] = (rf_bpe_piece){{key, strlen(key)}, (int32_t)id};
    }
    return RF_OK;
}

static rf_bytes bytes_of(const json_t *string)
{
    return (rf_bytes){json_string_value(string), json_string_length(string)};
}

/* ["a", "b"], or in older files "a b"; `copy` receives the parts of the latter, each with a NUL. */
static rf_status read_merge(const json_t *item, size_t index, rf_place place, char *copy,
                            rf_bpe_merge *merge)
{
    const json_t *left = json_array_get(item, 0), *right = json_array_get(item, 1);
    if (json_array_size(item) == 2 && json_is_string(left) && json_is_string(right)) {
        *merge = (rf_bpe_merge){bytes_of(left), bytes_of(right)};
        return RF_OK;
    }
    const rf_bytes both = json_is_string(item) ? bytes_of(item) : (rf_bytes){0};
    const char *blank = both.length ? memchr(both.at, ' ', both.length) : NULL;
    if (!blank || strchr(blank + 1, ' '))
        return rf_fail(RF_INPUT, "merge %zu is neither [\"a\", \"b\"] nor \"a b\" (%s, %s)", index,
                       place.file, place.part);
    const size_t split = (size_t)(blank - both.at);
    memcpy(copy, both.at, both.length + 1);
    copy[split] = '\0';
    *merge = (rf_bpe_merge){{copy, split}, {copy + split + 1, both.length - split - 1}};
    return RF_OK;
}

static rf_status read_merges(const json_t *list, rf_place place, char *copies, rf_bpe_merge *merges)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        RF_TRY(read_merge(item, i, place, copies, &merges[i]));
        copies += json_string_length(item) + 1;
    }
    return RF_OK;
}

static size_t bytes_of_merges(const json_t *list)
{
    size_t bytes = 1;
    for (size_t i = 0; i < json_array_size(list); i++)
        bytes += json_string_length(json_array_get(list, i)) + 1;
    return bytes;
}

static rf_status read_options(rf_bpe_source *source, const json_t *part, rf_place place)
{
    RF_TRY(check_dropout(part, place));
    RF_TRY(rf_part_bytes(part, "unk_token", place, &source->unknown));
    RF_TRY(rf_part_bytes(part, "continuing_subword_prefix", place, &source->prefix));
    RF_TRY(rf_part_bytes(part, "end_of_word_suffix", place, &source->suffix));
    RF_TRY(rf_part_bool(part, "fuse_unk", place, &source->fuse_unknown));
    RF_TRY(rf_part_bool(part, "byte_fallback", place, &source->byte_fallback));
    return rf_part_bool(part, "ignore_merges", place, &source->ignore_merges);
}

rf_status rf_bpe_read(rf_bpe **bpe, const json_t *part, rf_place place)
{
    rf_bpe_source source = {.name = place.file};
    const json_t *merge_list = NULL, *vocabulary = json_object_get(part, "vocab");
    RF_TRY(check_kind(part, place));
    RF_TRY(read_options(&source, part, place));
    RF_TRY(rf_part_array(part, "merges", place, &merge_list));
    if (!json_is_object(vocabulary))
        return rf_fail(RF_INPUT, "'vocab' must be an object of pieces and ids (%s, %s)", place.file,
                       place.part);
    const size_t piece_count = json_object_size(vocabulary),
                 merge_count = json_array_size(merge_list);
    rf_bpe_piece *pieces = malloc((piece_count + 1) * sizeof *pieces);
    rf_bpe_merge *merges = malloc((merge_count + 1) * sizeof *merges);
    char *copies = malloc(bytes_of_merges(merge_list));
    rf_status status = RF_OK;
    if (!pieces || !merges || !copies)
        status = rf_fail(RF_RESOURCES, "not enough memory for the vocabulary (%s)", place.file);
    if (status == RF_OK) status = read_pieces(vocabulary, place, pieces);
    if (status == RF_OK) status = read_merges(merge_list, place, copies, merges);
    source.pieces = pieces;
    source.piece_count = (int64_t)piece_count;
    source.merges = merges;
    source.merge_count = (int64_t)merge_count;
    if (status == RF_OK) status = rf_bpe_create(bpe, &source);
    free(pieces);
    free(merges);
    free(copies);
    return status;
}
