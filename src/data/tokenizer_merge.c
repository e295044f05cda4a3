/* A word's characters to symbols, and the merging of neighbours. */
#include <stdlib.h>
#include <string.h>

#include "tokenizer_bpe.h"
#include "tokenizer_text.h"

enum {
    CACHED_BYTES = 24, /* longest word kept, so that an entry fills one cache line */
    CACHED_IDS = 8,
    CACHE_LEAST = 64,
    CACHE_MOST = 32768,
    SHORT_WORD = 48 /* symbols up to which scanning for the lowest rank beats a heap */
};

typedef struct cached {
    char word[CACHED_BYTES]; /* zeros behind its end */
    uint8_t length, count;   /* length 0: empty */
    int32_t ids[CACHED_IDS];
} cached;

typedef struct symbol {
    int32_t id; /* -1: merged into the one before */
    int32_t before, after;
} symbol;

/* A pair that could be merged; the ids tell whether it still stands there. */
typedef struct candidate {
    int32_t rank, at, left, right, product;
} candidate;

struct rf_bpe_work {
    cached *cache;
    uint64_t cache_mask;
    int32_t *ids; /* symbols of the word at hand */
    size_t count, capacity;
    symbol *symbols; /* [symbol_capacity], long words only */
    size_t symbol_capacity;
    candidate *heap;
    size_t heap_count, heap_capacity;
    rf_text key;   /* a character with prefix and suffix */
    int32_t known; /* a character beyond ASCII that is a piece; 0: none yet */
};

rf_status rf_bpe_work_create(rf_bpe_work **work, size_t length)
{
    uint64_t entries = CACHE_LEAST;
    while (entries < CACHE_MOST && entries < length / 8) entries *= 2;
    *work = calloc(1, sizeof **work);
    if (*work) (*work)->cache = calloc(entries, sizeof *(*work)->cache);
    if (!*work || !(*work)->cache) {
        rf_bpe_work_destroy(work);
        return rf_fail(RF_RESOURCES, "not enough memory to encode a text of %zu bytes", length);
    }
    (*work)->cache_mask = entries - 1;
    return RF_OK;
}

void rf_bpe_work_destroy(rf_bpe_work **work)
{
    if (!*work) return;
    free((*work)->cache);
    free((*work)->ids);
    free((*work)->symbols);
    free((*work)->heap);
    rf_text_free(&(*work)->key);
    free(*work);
    *work = NULL;
}

static rf_status make_room(void **items, size_t *capacity, size_t wanted, size_t item)
{
    if (wanted <= *capacity) return RF_OK;
    const size_t room = wanted + wanted / 2 + 64;
    void *moved = room > SIZE_MAX / item ? NULL : realloc(*items, room * item);
    if (!moved) return rf_fail(RF_RESOURCES, "not enough memory for a word of %zu symbols", wanted);
    *items = moved;
    *capacity = room;
    return RF_OK;
}

static rf_status add_symbol(rf_bpe_work *work, int32_t id)
{
    if (work->count == work->capacity) {
        void *ids = work->ids;
        RF_TRY(make_room(&ids, &work->capacity, work->count + 1, sizeof *work->ids));
        work->ids = ids;
    }
    work->ids[work->count++] = id;
    return RF_OK;
}

/* Id of the character word[begin, end) as it stands in a word; *key: its bytes with prefix and
 * suffix. */
static rf_status character_id(const rf_bpe *bpe, rf_bpe_work *work, rf_bytes character, int first,
                              int last, rf_bytes *key, int32_t *id)
{
    *key = character;
    const int prefixed = bpe->prefix && !first, suffixed = bpe->suffix && last;
    if (prefixed || suffixed) {
        work->key.length = 0;
        if (prefixed) RF_TRY(rf_text_append(&work->key, bpe->prefix, strlen(bpe->prefix)));
        RF_TRY(rf_text_append(&work->key, character.at, character.length));
        if (suffixed) RF_TRY(rf_text_append(&work->key, bpe->suffix, strlen(bpe->suffix)));
        *key = (rf_bytes){work->key.bytes, work->key.length};
    }
    *id = key->length == 1 ? bpe->ascii_ids[(unsigned char)key->at[0] & 0x7F]
                           : rf_bpe_id(bpe, key->at, key->length);
    return RF_OK;
}

static int has_all_bytes(const rf_bpe *bpe, rf_bytes key)
{
    if (!bpe->byte_fallback) return 0;
    for (size_t i = 0; i < key.length; i++)
        if (bpe->byte_ids[(unsigned char)key.at[i]] < 0) return 0;
    return 1;
}

/* A character without a piece: its bytes, else the unknown token, held back so that it can be
 * fused. */
static rf_status add_missing(const rf_bpe *bpe, rf_bpe_work *work, rf_bytes key, int *held)
{
    if (has_all_bytes(bpe, key)) {
        for (size_t i = 0; i < key.length; i++)
            RF_TRY(add_symbol(work, bpe->byte_ids[(unsigned char)key.at[i]]));
        return RF_OK;
    }
    if (!bpe->unknown) return RF_OK;
    if (bpe->unknown_id < 0)
        return rf_fail(
            RF_INPUT,
            "character '%.*s' needs the unknown token '%s', which has no id (%s). Use the "
            "tokeniser's own vocabulary",
            (int)(key.length < 64 ? key.length : 64), key.at, bpe->unknown, bpe->name);
    if (*held && !bpe->fuse_unknown) RF_TRY(add_symbol(work, bpe->unknown_id));
    *held = 1;
    return RF_OK;
}

static rf_status read_symbols(const rf_bpe *bpe, rf_bpe_work *work, const char *word, size_t length)
{
    int held = 0; /* an unknown token not yet added */
    work->count = 0;
    for (size_t at = 0; at < length;) {
        const size_t begin = at;
        int32_t id = -1;
        rf_bytes key = {0};
        rf_utf8_next(word, &at);
        RF_TRY(character_id(bpe, work, (rf_bytes){word + begin, at - begin}, begin == 0,
                            at == length, &key, &id));
        if (id < 0) {
            RF_TRY(add_missing(bpe, work, key, &held));
            continue;
        }
        if (held) RF_TRY(add_symbol(work, bpe->unknown_id));
        held = 0;
        RF_TRY(add_symbol(work, id));
    }
    return held ? add_symbol(work, bpe->unknown_id) : RF_OK;
}

/* Rank and product of the pair (i, i + 1). */
static void judge_pair(const rf_bpe *bpe, const int32_t *ids, size_t i, int32_t *rank,
                       int32_t *product)
{
    const rf_bpe_rule *rule = rf_bpe_find_rule(bpe, ids[i], ids[i + 1]);
    rank[i] = rule ? rule->rank : INT32_MAX;
    product[i] = rule ? rule->product : -1;
}

static void remove_item(int32_t *items, size_t count, size_t at)
{
    memmove(items + at, items + at + 1, (count - at - 1) * sizeof *items);
}

/* Lowest rank first, then leftmost, until no pair can be merged. Returns the symbols left. */
static size_t merge_by_scan(const rf_bpe *bpe, int32_t *ids, size_t count)
{
    int32_t rank[SHORT_WORD], product[SHORT_WORD]; /* of pairs: count - 1 are in use */
    for (size_t i = 0; i + 1 < count; i++) judge_pair(bpe, ids, i, rank, product);
    while (count > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < count; i++)
            if (rank[i] < rank[best]) best = i;
        if (rank[best] == INT32_MAX) break;
        ids[best] = product[best];
        remove_item(ids, count, best + 1);
        remove_item(rank, count - 1, best);
        remove_item(product, count - 1, best);
        count--;
        if (best > 0) judge_pair(bpe, ids, best - 1, rank, product);
        if (best + 1 < count) judge_pair(bpe, ids, best, rank, product);
    }
    return count;
}

static int comes_before(const candidate *a, const candidate *b)
{
    return a->rank < b->rank || (a->rank == b->rank && a->at < b->at);
}

static void sift_down(candidate *heap, size_t count, size_t at)
{
    const candidate moving = heap[at];
    for (size_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && comes_before(&heap[child + 1], &heap[child])) child++;
        if (!comes_before(&heap[child], &moving)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

static void sift_up(candidate *heap, size_t at)
{
    const candidate moving = heap[at];
    while (at > 0 && comes_before(&moving, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = moving;
}

/* Appends the pair at `at` to the heap's array if it can be merged; 1 if it could. */
static int add_candidate(const rf_bpe *bpe, rf_bpe_work *work, int32_t at)
{
    const symbol *left = &work->symbols[at];
    if (left->after < 0) return 0;
    const int32_t right = work->symbols[left->after].id;
    const rf_bpe_rule *rule = rf_bpe_find_rule(bpe, left->id, right);
    if (!rule) return 0;
    work->heap[work->heap_count++] = (candidate){rule->rank, at, left->id, right, rule->product};
    return 1;
}

static rf_status start_heap(const rf_bpe *bpe, rf_bpe_work *work)
{
    void *symbols = work->symbols, *heap = work->heap;
    RF_TRY(make_room(&symbols, &work->symbol_capacity, work->count, sizeof *work->symbols));
    work->symbols = symbols;
    /* one candidate per pair at first, two more per merge, fewer merges than symbols */
    RF_TRY(make_room(&heap, &work->heap_capacity, 3 * work->count, sizeof *work->heap));
    work->heap = heap;
    const int32_t n = (int32_t)work->count;
    for (int32_t i = 0; i < n; i++)
        work->symbols[i] = (symbol){work->ids[i], i - 1, i + 1 < n ? i + 1 : -1};
    work->heap_count = 0;
    for (int32_t i = 0; i < n; i++) add_candidate(bpe, work, i);
    for (size_t i = work->heap_count / 2; i-- > 0;) sift_down(work->heap, work->heap_count, i);
    return RF_OK;
}

static void merge_at(const rf_bpe *bpe, rf_bpe_work *work, const candidate *best)
{
    symbol *left = &work->symbols[best->at], *right = &work->symbols[left->after];
    left->id = best->product;
    left->after = right->after;
    right->id = -1;
    if (left->after >= 0) work->symbols[left->after].before = best->at;
    if (left->before >= 0 && add_candidate(bpe, work, left->before))
        sift_up(work->heap, work->heap_count - 1);
    if (add_candidate(bpe, work, best->at)) sift_up(work->heap, work->heap_count - 1);
}

/* The same order as merge_by_scan, in O(n log n). */
static rf_status merge_by_heap(const rf_bpe *bpe, rf_bpe_work *work)
{
    RF_TRY(start_heap(bpe, work));
    while (work->heap_count) {
        const candidate best = work->heap[0];
        work->heap[0] = work->heap[--work->heap_count];
        if (work->heap_count) sift_down(work->heap, work->heap_count, 0);
        const symbol *left = &work->symbols[best.at];
        const int stands = left->id == best.left && left->after >= 0 &&
                           work->symbols[left->after].id == best.right;
        if (stands) merge_at(bpe, work, &best);
    }
    size_t count = 0;
    for (int32_t i = 0; i >= 0; i = work->symbols[i].after)
        work->ids[count++] = work->symbols[i].id;
    work->count = count;
    return RF_OK;
}

static rf_status merge(const rf_bpe *bpe, rf_bpe_work *work, const char *word, size_t length)
{
    RF_TRY(read_symbols(bpe, work, word, length));
    if (work->count > INT32_MAX / 4)
        return rf_fail(RF_INPUT,
                       "a word of %zu characters is too long to encode. Cut the text into lines",
                       work->count);
    if (work->count > SHORT_WORD) return merge_by_heap(bpe, work);
    work->count = merge_by_scan(bpe, work->ids, work->count);
    return RF_OK;
}

/* The word's entry, or the one of two places that it may take over. */
static cached *find_cached(rf_bpe_work *work, const char *key, size_t length)
{
    const uint64_t at = rf_bpe_hash(key, CACHED_BYTES) & work->cache_mask;
    cached *first = &work->cache[at], *second = &work->cache[at ^ 1];
    if (!first->length) return first;
    if (first->length == length && memcmp(first->word, key, CACHED_BYTES) == 0) return first;
    return second;
}

static rf_status encode_cached(const rf_bpe *bpe, rf_bpe_work *work, const char *word,
                               size_t length, rf_ids *out)
{
    if (length > CACHED_BYTES) {
        RF_TRY(merge(bpe, work, word, length));
        return rf_ids_append(out, work->ids, (int64_t)work->count);
    }
    char key[CACHED_BYTES] = {0};
    memcpy(key, word, length);
    cached *entry = find_cached(work, key, length);
    if (entry->length == length && memcmp(entry->word, key, CACHED_BYTES) == 0)
        return rf_ids_append(out, entry->ids, entry->count);
    RF_TRY(merge(bpe, work, word, length));
    if (work->count <= CACHED_IDS && work->count) {
        memcpy(entry->word, key, CACHED_BYTES);
        memcpy(entry->ids, work->ids, work->count * sizeof *work->ids);
        entry->length = (uint8_t)length;
        entry->count = (uint8_t)work->count;
    }
    return rf_ids_append(out, work->ids, (int64_t)work->count);
}

/* Whether the character word[begin, end) is a piece; the last of the longer ones is remembered. */
static int is_known(const rf_bpe *bpe, rf_bpe_work *work, const char *word, size_t begin,
                    size_t end, int32_t point)
{
    if (point < 128) return bpe->ascii_ids[point] >= 0;
    if (point == work->known) return 1;
    if (rf_bpe_id(bpe, word + begin, end - begin) < 0) return 0;
    work->known = point;
    return 1;
}

/* End of the shortest part from `begin` that no merge can reach across. */
static size_t part_end(const rf_bpe *bpe, rf_bpe_work *work, const char *word, size_t length,
                       size_t begin)
{
    size_t x_at = begin, at = begin;
    int32_t x = rf_utf8_next(word, &at);
    while (at < length) {
        const size_t y_at = at;
        const int32_t y = rf_utf8_next(word, &at);
        if (!rf_bpe_may_join(bpe, x, y) && is_known(bpe, work, word, x_at, y_at, x) &&
            is_known(bpe, work, word, y_at, at, y))
            return y_at;
        x = y;
        x_at = y_at;
    }
    return length;
}

rf_status rf_bpe_encode(const rf_bpe *bpe, rf_bpe_work *work, const char *word, size_t length,
                        rf_ids *out)
{
    if (bpe->ignore_merges) {
        const int32_t id = rf_bpe_id(bpe, word, length);
        if (id >= 0) return rf_ids_append(out, &id, 1);
    }
    if (length <= CACHED_BYTES || !bpe->joins) return encode_cached(bpe, work, word, length, out);
    for (size_t at = 0; at < length;) {
        const size_t end = part_end(bpe, work, word, length, at);
        RF_TRY(encode_cached(bpe, work, word + at, end - at, out));
        at = end;
    }
    return RF_OK;
}
