#include <stdlib.h>
#include <string.h>

#include "tokenizer_parts.h"

static rf_status add_node(rf_trie *trie, unsigned char byte, int32_t *index)
{
    if (trie->count == trie->capacity) {
        const size_t capacity = trie->capacity ? 2 * trie->capacity : 64;
        void *nodes = realloc(trie->nodes, capacity * sizeof *trie->nodes);
        if (!nodes) return rf_fail(RF_RESOURCES, "not enough memory for the added tokens");
        trie->nodes = nodes;
        trie->capacity = capacity;
    }
    *index = (int32_t)trie->count++;
    trie->nodes[*index] = (struct rf_trie_node){-1, -1, -1, byte};
    return RF_OK;
}

static int32_t find_child(const rf_trie *trie, int32_t node, unsigned char byte)
{
    int32_t child = trie->nodes[node].child;
    while (child >= 0 && trie->nodes[child].byte != byte) child = trie->nodes[child].sibling;
    return child;
}

static rf_status trie_add(rf_trie *trie, const char *text, size_t length, int32_t token)
{
    int32_t node = 0;
    if (!length) return RF_OK;
    if (!trie->count) RF_TRY(add_node(trie, 0, &node));
    node = 0;
    trie->begins[(unsigned char)text[0]] = 1;
    for (size_t i = 0; i < length; i++) {
        const unsigned char byte = (unsigned char)text[i];
        int32_t child = find_child(trie, node, byte);
        if (child < 0) {
            RF_TRY(add_node(trie, byte, &child));
            trie->nodes[child].sibling = trie->nodes[node].child;
            trie->nodes[node].child = child;
        }
        node = child;
    }
    if (trie->nodes[node].token < 0) trie->nodes[node].token = token; /* of equal forms the first */
    return RF_OK;
}

/* The longest content that begins at text[at]: its token and end, or -1. */
static int32_t trie_longest(const rf_trie *trie, const char *text, size_t length, size_t at,
                            size_t *end)
{
    int32_t best = -1;
    for (int32_t node = 0; at < length;) {
        node = find_child(trie, node, (unsigned char)text[at++]);
        if (node < 0) break;
        if (trie->nodes[node].token < 0) continue;
        best = trie->nodes[node].token;
        *end = at;
    }
    return best;
}

static rf_status read_token(rf_added_token *token, const json_t *object, rf_place place)
{
    rf_bytes content = {0};
    int64_t id = -1;
    if (!json_is_object(object))
        return rf_fail(RF_INPUT, "an added token must be an object (%s, %s)", place.file,
                       place.part);
    RF_TRY(rf_part_wanted(object, "content", place, &content));
    RF_TRY(rf_part_count(object, "id", place, &id));
    if (id < 0 || id >= RF_BPE_MOST_IDS)
        return rf_fail(RF_INPUT, "added token '%s' needs an 'id' from 0 to %d (%s)", content.at,
                       RF_BPE_MOST_IDS - 1, place.file);
    if (!content.length)
        return rf_fail(RF_INPUT, "added token %d is empty (%s)", (int)id, place.file);
    token->id = (int32_t)id;
    token->length = content.length;
    token->normalized = 1;
    RF_TRY(rf_part_bool(object, "single_word", place, &token->single_word));
    RF_TRY(rf_part_bool(object, "lstrip", place, &token->lstrip));
    RF_TRY(rf_part_bool(object, "rstrip", place, &token->rstrip));
    RF_TRY(rf_part_bool(object, "normalized", place, &token->normalized));
    RF_TRY(rf_part_bool(object, "special", place, &token->special));
    return rf_text_copy(&token->content, content.at, content.length);
}

/* An id and a content that the vocabulary has too belong together there. */
static rf_status check_token(const rf_added_token *token, const rf_bpe *bpe, rf_place place)
{
    const int32_t model_id = rf_bpe_id(bpe, token->content, token->length);
    const rf_bytes model_piece = rf_bpe_piece_of(bpe, token->id);
    if (model_id >= 0 && model_id != token->id)
        return rf_fail(RF_INPUT, "added token '%s' has the id %d, but %d in the vocabulary (%s)",
                       token->content, token->id, model_id, place.file);
    if (model_id < 0 && model_piece.at)
        return rf_fail(RF_INPUT, "added token '%s' has the id %d, which is that of '%s' (%s)",
                       token->content, token->id, model_piece.at, place.file);
    return RF_OK;
}

static int compare_ids(const void *a, const void *b)
{
    const rf_added_token *x = ((const struct rf_added_entry *)a)->token;
    const rf_added_token *y = ((const struct rf_added_entry *)b)->token;
    return (x->id > y->id) - (x->id < y->id);
}

static int compare_contents(const void *a, const void *b)
{
    const rf_added_token *x = ((const struct rf_added_entry *)a)->token;
    const rf_added_token *y = ((const struct rf_added_entry *)b)->token;
    if (x->length != y->length) return x->length < y->length ? -1 : 1;
    return memcmp(x->content, y->content, x->length);
}

/* Sorted lists of the tokens; in each, two equal neighbours are a fault of the file. */
static rf_status sort_tokens(rf_added *added, rf_place place)
{
    for (size_t i = 0; i < added->count; i++)
        added->by_id[i].token = added->by_content[i].token = &added->tokens[i];
    qsort(added->by_id, added->count, sizeof *added->by_id, compare_ids);
    qsort(added->by_content, added->count, sizeof *added->by_content, compare_contents);
    for (size_t i = 1; i < added->count; i++) {
        if (compare_ids(&added->by_id[i - 1], &added->by_id[i]) == 0)
            return rf_fail(RF_INPUT, "added tokens '%s' and '%s' share the id %d (%s)",
                           added->by_id[i - 1].token->content, added->by_id[i].token->content,
                           added->by_id[i].token->id, place.file);
        if (compare_contents(&added->by_content[i - 1], &added->by_content[i]) == 0)
            return rf_fail(RF_INPUT, "added token '%s' is there twice (%s)",
                           added->by_content[i].token->content, place.file);
    }
    return RF_OK;
}

static rf_status place_in_trie(rf_added *added, int32_t index, const rf_normalizer *normalizer,
                               rf_matcher *matcher)
{
    const rf_added_token *token = &added->tokens[index];
    if (!token->normalized) return trie_add(&added->raw, token->content, token->length, index);
    rf_text form = {0}, spare = {0};
    int at_start = 1;
    rf_status status = rf_text_append(&form, token->content, token->length);
    if (status == RF_OK)
        status = rf_normalizer_apply(normalizer, matcher, &form, &spare, &at_start);
    if (status == RF_OK) status = trie_add(&added->normalized, form.bytes, form.length, index);
    rf_text_free(&form);
    rf_text_free(&spare);
    return status;
}

rf_status rf_added_read(rf_added *added, const json_t *list, const rf_bpe *bpe,
                        const rf_normalizer *normalizer, rf_matcher *matcher, rf_place place)
{
    if (!list || json_is_null(list)) return RF_OK;
    if (!json_is_array(list))
        return rf_fail(RF_INPUT, "'added_tokens' must be a list (%s)", place.file);
    const size_t count = json_array_size(list);
    added->tokens = calloc(count + 1, sizeof *added->tokens);
    added->by_id = calloc(count + 1, sizeof *added->by_id);
    added->by_content = calloc(count + 1, sizeof *added->by_content);
    if (!added->tokens || !added->by_id || !added->by_content)
        return rf_fail(RF_RESOURCES, "not enough memory for the added tokens");
    for (size_t i = 0; i < count; i++) {
        rf_added_token *token = &added->tokens[added->count++];
        RF_TRY(read_token(token, json_array_get(list, i), place));
        RF_TRY(check_token(token, bpe, place));
    }
    RF_TRY(sort_tokens(added, place));
    for (size_t i = 0; i < count; i++)
        RF_TRY(place_in_trie(added, (int32_t)i, normalizer, matcher));
    return RF_OK;
}

void rf_added_free(rf_added *added)
{
    for (size_t i = 0; i < added->count; i++) free(added->tokens[i].content);
    free(added->tokens);
    free(added->by_id);
    free(added->by_content);
    free(added->raw.nodes);
    free(added->normalized.nodes);
    *added = (rf_added){0};
}

static const rf_added_token *find_sorted(const rf_added *added, const struct rf_added_entry *sorted,
                                         const rf_added_token *wanted,
                                         int (*compare)(const void *, const void *))
{
    if (!added->count) return NULL;
    const struct rf_added_entry key = {wanted};
    const struct rf_added_entry *found =
        bsearch(&key, sorted, added->count, sizeof *sorted, compare);
    return found ? found->token : NULL;
}

const rf_added_token *rf_added_of_id(const rf_added *added, int32_t id)
{
    const rf_added_token wanted = {.id = id};
    return find_sorted(added, added->by_id, &wanted, compare_ids);
}

const rf_added_token *rf_added_of_content(const rf_added *added, const char *content, size_t length)
{
    const rf_added_token wanted = {.content = (char *)(uintptr_t)content, .length = length};
    return find_sorted(added, added->by_content, &wanted, compare_contents);
}

/* Neither neighbour of text[begin, end) is part of a word. */
static int stands_alone(const char *text, size_t from, size_t length, size_t begin, size_t end)
{
    size_t before = begin > from ? rf_utf8_before(text, begin) : begin;
    if (begin > from && rf_char_is_word(rf_utf8_next(text, &before))) return 0;
    return end == length || !rf_char_is_word(rf_utf8_next(text, &end));
}

static size_t blanks_before(const char *text, size_t least, size_t begin)
{
    while (begin > least) {
        size_t at = rf_utf8_before(text, begin);
        const size_t blank = at;
        if (!rf_char_is_space(rf_utf8_next(text, &at))) break;
        begin = blank;
    }
    return begin;
}

static size_t blanks_behind(const char *text, size_t length, size_t end)
{
    for (size_t at = end; end < length; end = at)
        if (!rf_char_is_space(rf_utf8_next(text, &at))) break;
    return end;
}

rf_status rf_added_find(const rf_added *added, const rf_trie *trie, const char *bytes, size_t from,
                        size_t length, rf_stretches *spans)
{
    size_t done = from;
    for (size_t at = from; trie->count && at < length;) {
        size_t begin = at, end = at;
        const int32_t index = trie->begins[(unsigned char)bytes[at]]
                                  ? trie_longest(trie, bytes, length, at, &end)
                                  : -1;
        at = index < 0 ? at + 1 : end;
        if (index < 0) continue;
        const rf_added_token *token = &added->tokens[index];
        if (token->single_word && !stands_alone(bytes, from, length, begin, end)) continue;
        /* blanks that the last one took are gone; nothing may be left */
        if (token->lstrip) begin = done < begin ? blanks_before(bytes, done, begin) : done;
        if (token->rstrip) end = blanks_behind(bytes, length, end);
        if (done < begin) RF_TRY(rf_stretches_append(spans, (rf_stretch){done, begin, -1, 0}));
        if (begin < end) RF_TRY(rf_stretches_append(spans, (rf_stretch){begin, end, token->id, 0}));
        done = end;
    }
    if (done < length) RF_TRY(rf_stretches_append(spans, (rf_stretch){done, length, -1, 0}));
    return RF_OK;
}
