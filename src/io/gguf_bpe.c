/* Vocabularies of GGUF files as byte-pair models. */
#include <stdlib.h>
#include <string.h>

#include "gguf_tokenizer.h"

int64_t rf_gguf_token_kind(const rf_gguf_vocabulary *vocabulary, int64_t id)
{
    int64_t kind = RF_TOKEN_NORMAL;
    if (vocabulary->kind) rf_gguf_whole_at(vocabulary->kind, id, &kind);
    return kind;
}

/* Growing list of merges with their ranks. */
typedef struct merge_list {
    rf_bpe_merge *merge;
    int32_t *rank;
    int64_t count, capacity;
} merge_list;

static void free_merges(merge_list *list)
{
    free(list->merge);
    free(list->rank);
}

static rf_status add_merge(merge_list *list, rf_bpe_merge merge, int32_t rank)
{
    if (list->count == list->capacity) {
        const int64_t room = list->capacity ? 2 * list->capacity : 4096;
        rf_bpe_merge *merges = realloc(list->merge, (size_t)room * sizeof *merges);
        if (merges) list->merge = merges;
        int32_t *ranks = merges ? realloc(list->rank, (size_t)room * sizeof *ranks) : NULL;
        if (!ranks) return rf_fail(RF_RESOURCES, "no memory for the merges of a tokeniser");
        list->rank = ranks;
        list->capacity = room;
    }
    list->merge[list->count] = merge;
    list->rank[list->count++] = rank;
    return RF_OK;
}

static rf_status make(rf_bpe **bpe, const rf_gguf_vocabulary *v, rf_bpe_source *source,
                      const merge_list *list)
{
    source->name = rf_gguf_path(v->gguf);
    source->pieces = v->piece;
    source->piece_count = v->count;
    source->merges = list->merge;
    source->ranks = list->rank;
    source->merge_count = list->count;
    return rf_bpe_create(bpe, source);
}

/* "left right"; a blank may only part them. */
static rf_status read_listed(merge_list *list, const rf_gguf *g, const rf_gguf_value *value)
{
    rf_gguf_strings strings = {.value = value};
    while (rf_gguf_next_string(&strings)) {
        const rf_bytes text = strings.text;
        const char *blank = text.length > 2 ? memchr(text.at + 1, ' ', text.length - 2) : NULL;
        if (!blank)
            return rf_fail(RF_INPUT, "merge %lld of 'tokenizer.ggml.merges' is not \"a b\" (%s)",
                           (long long)list->count, rf_gguf_path(g));
        const size_t left = (size_t)(blank - text.at);
        const rf_bpe_merge merge = {{text.at, left}, {blank + 1, text.length - left - 1}};
        RF_TRY(add_merge(list, merge, (int32_t)list->count));
    }
    return RF_OK;
}

rf_status rf_gguf_listed_bpe(rf_bpe **bpe, const rf_gguf_vocabulary *v, int ignore_merges)
{
    const rf_gguf_value *value = NULL;
    merge_list list = {0};
    RF_TRY(rf_gguf_require(v->gguf, "tokenizer.ggml.merges"));
    RF_TRY(rf_gguf_array(v->gguf, "tokenizer.ggml.merges", RF_GGUF_STRING, &value));
    rf_status status = read_listed(&list, v->gguf, value);
    rf_bpe_source source = {.ignore_merges = ignore_merges};
    if (status == RF_OK) status = make(bpe, v, &source, &list);
    free_merges(&list);
    return status;
}

typedef struct scored {
    double score;
    int64_t id;
} scored;

static int by_score(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Every way to make the piece out of two others. */
static rf_status add_splits(merge_list *list, const rf_bpe *pieces, rf_bytes text, int32_t rank)
{
    for (size_t at = 1; at < text.length; at++) {
        if (((unsigned char)text.at[at] & 0xC0) == 0x80) continue;
        const rf_bpe_merge merge = {{text.at, at}, {text.at + at, text.length - at}};
        if (rf_bpe_id(pieces, merge.left.at, merge.left.length) < 0 ||
            rf_bpe_id(pieces, merge.right.at, merge.right.length) < 0)
            continue;
        RF_TRY(add_merge(list, merge, rank));
    }
    return RF_OK;
}

/* Pieces of equal score have equal rank: of their neighbours the leftmost are merged first. */
static rf_status read_scored(merge_list *list, const rf_gguf_vocabulary *v, const rf_bpe *pieces,
                             scored *order)
{
    int64_t count = 0;
    int32_t rank = -1;
    for (int64_t id = 0; id < v->count; id++) {
        double score = 0;
        if (rf_gguf_token_kind(v, id) != RF_TOKEN_NORMAL) continue;
        rf_gguf_number_at(v->score, id, &score);
        if (score != score)
            return rf_fail(RF_INPUT, "the score of token %lld is no number (%s)", (long long)id,
                           rf_gguf_path(v->gguf));
        order[count++] = (scored){score, id};
    }
    if (count > 0) qsort(order, (size_t)count, sizeof *order, by_score);
    for (int64_t i = 0; i < count; i++) {
        if (i == 0 || order[i].score != order[i - 1].score) rank++;
        RF_TRY(add_splits(list, pieces, v->piece[order[i].id].text, rank));
    }
    return RF_OK;
}

static rf_status collect_scored(merge_list *list, const rf_gguf_vocabulary *v)
{
    const merge_list none = {0};
    rf_bpe_source source = {0};
    rf_bpe *pieces = NULL; /* without merges: to look pieces up */
    scored *order = malloc((size_t)(v->count + 1) * sizeof *order);
    rf_status status =
        order ? make(&pieces, v, &source, &none) : rf_fail(RF_RESOURCES, "no memory for scores");
    if (status == RF_OK) status = read_scored(list, v, pieces, order);
    rf_bpe_destroy(&pieces);
    free(order);
    return status;
}

rf_status rf_gguf_scored_bpe(rf_bpe **bpe, const rf_gguf_vocabulary *v)
{
    merge_list list = {0};
    int64_t unknown = 0;
    RF_TRY(rf_gguf_whole(v->gguf, "tokenizer.ggml.unknown_token_id", 0, v->count - 1, &unknown));
    rf_bpe_source source = {
        .unknown = v->piece[unknown].text, .fuse_unknown = 1, .byte_fallback = 1};
    rf_status status = collect_scored(&list, v);
    if (status == RF_OK) status = make(bpe, v, &source, &list);
    free_merges(&list);
    return status;
}
