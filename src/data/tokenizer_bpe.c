#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer_bpe.h"
#include "tokenizer_text.h"

static rf_status no_memory(const rf_bpe_source *source)
{
    return rf_fail(RF_RESOURCES, "not enough memory for the vocabulary (%s)", source->name);
}

/* Bytes of it that a message shows: what is borrowed has no NUL behind it. */
static int shown(rf_bytes text)
{
    return (int)(text.length < 256 ? text.length : 256);
}

/* A power of two, at least twice `count`: open addressing stays short. */
static uint64_t slots_for(int64_t count)
{
    uint64_t slots = 16;
    while (slots < 2 * (uint64_t)count) slots *= 2;
    return slots;
}

static rf_status check_ids(const rf_bpe_source *source, int64_t *size, size_t *bytes)
{
    *size = 0;
    *bytes = 0;
    for (int64_t i = 0; i < source->piece_count; i++) {
        const rf_bpe_piece *piece = &source->pieces[i];
        if (piece->id < 0 || piece->id >= RF_BPE_MOST_IDS)
            return rf_fail(
                RF_INPUT, "piece '%.*s' has the id %d, outside 0 ... %d (%s). The file is damaged",
                shown(piece->text), piece->text.at, piece->id, RF_BPE_MOST_IDS - 1, source->name);
        if (piece->id >= *size) *size = (int64_t)piece->id + 1;
        *bytes += piece->text.length + 1;
    }
    return RF_OK;
}

static rf_status store_piece(rf_bpe *bpe, const rf_bpe_source *source, const rf_bpe_piece *piece,
                             size_t *used)
{
    if (bpe->pieces[piece->id].at)
        return rf_fail(RF_INPUT, "id %d belongs to '%s' and to '%.*s' (%s). An id has one piece",
                       piece->id, bpe->pieces[piece->id].at, shown(piece->text), piece->text.at,
                       source->name);
    char *copy = bpe->text + *used;
    memcpy(copy, piece->text.at, piece->text.length);
    copy[piece->text.length] = '\0';
    *used += piece->text.length + 1;
    uint64_t at = rf_bpe_hash(copy, piece->text.length);
    for (; bpe->slots[at & bpe->slot_mask] >= 0; at++) {
        const rf_bytes other = bpe->pieces[bpe->slots[at & bpe->slot_mask]];
        if (other.length == piece->text.length && memcmp(other.at, copy, other.length) == 0)
            return rf_fail(RF_INPUT, "piece '%s' is there twice (%s). A piece has one id", copy,
                           source->name);
    }
    bpe->slots[at & bpe->slot_mask] = piece->id;
    bpe->pieces[piece->id] = (rf_bytes){copy, piece->text.length};
    return RF_OK;
}

static rf_status store_pieces(rf_bpe *bpe, const rf_bpe_source *source)
{
    size_t bytes = 0, used = 0;
    RF_TRY(check_ids(source, &bpe->size, &bytes));
    bpe->slot_mask = slots_for(source->piece_count) - 1;
    bpe->text = malloc(bytes + 1);
    bpe->pieces = calloc((size_t)bpe->size + 1, sizeof *bpe->pieces);
    bpe->slots = malloc((bpe->slot_mask + 1) * sizeof *bpe->slots);
    if (!bpe->text || !bpe->pieces || !bpe->slots) return no_memory(source);
    memset(bpe->slots, 0xFF, (bpe->slot_mask + 1) * sizeof *bpe->slots); /* all -1 */
    for (int64_t i = 0; i < source->piece_count; i++)
        RF_TRY(store_piece(bpe, source, &source->pieces[i], &used));
    return RF_OK;
}

static rf_status id_of_part(const rf_bpe *bpe, const rf_bpe_source *source, int64_t merge,
                            rf_bytes part, int32_t *id)
{
    *id = rf_bpe_id(bpe, part.at, part.length);
    if (*id >= 0) return RF_OK;
    return rf_fail(RF_INPUT,
                   "merge %lld needs the piece '%.*s', which has no id (%s). Merges and vocabulary "
                   "must come from the same tokeniser",
                   (long long)merge, shown(part), part.at, source->name);
}

/* The whole is left + right, the latter without the prefix that marks it as not first. */
static rf_status find_merge(const rf_bpe *bpe, const rf_bpe_source *source, int64_t i,
                            rf_text *whole, rf_bpe_rule *rule)
{
    const rf_bpe_merge *merge = &source->merges[i];
    const size_t skip = source->prefix.length;
    RF_TRY(id_of_part(bpe, source, i, merge->left, &rule->left));
    RF_TRY(id_of_part(bpe, source, i, merge->right, &rule->right));
    if (merge->right.length < skip)
        return rf_fail(RF_INPUT, "merge %lld: '%.*s' does not begin with the prefix '%.*s' (%s)",
                       (long long)i, shown(merge->right), merge->right.at, shown(source->prefix),
                       source->prefix.at, source->name);
    whole->length = 0;
    RF_TRY(rf_text_append(whole, merge->left.at, merge->left.length));
    RF_TRY(rf_text_append(whole, merge->right.at + skip, merge->right.length - skip));
    RF_TRY(rf_text_append(whole, "", 1));
    rule->rank = source->ranks ? source->ranks[i] : (int32_t)i;
    return id_of_part(bpe, source, i, (rf_bytes){whole->bytes, whole->length - 1}, &rule->product);
}

static void store_rule(rf_bpe *bpe, const rf_bpe_rule *rule)
{
    uint64_t at = rf_bpe_pair_hash(rule->left, rule->right);
    for (;; at++) {
        rf_bpe_rule *slot = &bpe->rules[at & bpe->rule_mask];
        if (slot->left >= 0 && (slot->left != rule->left || slot->right != rule->right)) continue;
        *slot = *rule;
        return;
    }
}

static rf_status store_merges(rf_bpe *bpe, const rf_bpe_source *source)
{
    if (source->merge_count > INT32_MAX)
        return rf_fail(RF_INPUT, "too many merges (%s)", source->name);
    bpe->rule_mask = slots_for(source->merge_count) - 1;
    bpe->rules = malloc((bpe->rule_mask + 1) * sizeof *bpe->rules);
    if (!bpe->rules) return no_memory(source);
    for (uint64_t i = 0; i <= bpe->rule_mask; i++) bpe->rules[i] = (rf_bpe_rule){.left = -1};
    rf_text whole = {0};
    rf_status status = RF_OK;
    for (int64_t i = 0; i < source->merge_count && status == RF_OK; i++) {
        rf_bpe_rule rule = {0};
        status = find_merge(bpe, source, i, &whole, &rule);
        if (status == RF_OK) store_rule(bpe, &rule);
    }
    rf_text_free(&whole);
    return status;
}

/* Without prefix and suffix a piece is its characters, so neighbours are judged by them. */
static rf_status store_joins(rf_bpe *bpe, const rf_bpe_source *source)
{
    if (bpe->prefix || bpe->suffix) return RF_OK;
    bpe->joins = calloc(((size_t)1 << RF_BPE_JOIN_BITS) / 64, sizeof *bpe->joins);
    if (!bpe->joins) return no_memory(source);
    for (int64_t i = 0; i < source->merge_count; i++) {
        const rf_bytes left = source->merges[i].left, right = source->merges[i].right;
        if (!left.length || !right.length) continue;
        size_t last = rf_utf8_before(left.at, left.length), first = 0;
        const int32_t x = rf_utf8_next(left.at, &last), y = rf_utf8_next(right.at, &first);
        const uint32_t bit = rf_bpe_join_bit(x, y);
        bpe->joins[bit / 64] |= (uint64_t)1 << (bit % 64);
    }
    return RF_OK;
}

static void find_short_pieces(rf_bpe *bpe)
{
    for (int i = 0; i < 128; i++) {
        const char c = (char)i;
        bpe->ascii_ids[i] = rf_bpe_id(bpe, &c, 1);
    }
    for (unsigned i = 0; i < 256; i++) {
        char code[8];
        snprintf(code, sizeof code, "<0x%02X>", i);
        bpe->byte_ids[i] = rf_bpe_id(bpe, code, 6);
    }
    bpe->unknown_id = bpe->unknown ? rf_bpe_id(bpe, bpe->unknown, strlen(bpe->unknown)) : -1;
}

static rf_status copy_if_any(char **copy, rf_bytes bytes)
{
    return bytes.at && bytes.length ? rf_text_copy(copy, bytes.at, bytes.length) : RF_OK;
}

static rf_status fill(rf_bpe *bpe, const rf_bpe_source *source)
{
    bpe->fuse_unknown = source->fuse_unknown;
    bpe->byte_fallback = source->byte_fallback;
    bpe->ignore_merges = source->ignore_merges;
    RF_TRY(rf_text_copy(&bpe->name, source->name, strlen(source->name)));
    RF_TRY(copy_if_any(&bpe->unknown, source->unknown));
    RF_TRY(copy_if_any(&bpe->prefix, source->prefix));
    RF_TRY(copy_if_any(&bpe->suffix, source->suffix));
    RF_TRY(store_pieces(bpe, source));
    RF_TRY(store_merges(bpe, source));
    RF_TRY(store_joins(bpe, source));
    find_short_pieces(bpe);
    return RF_OK;
}

rf_status rf_bpe_create(rf_bpe **bpe, const rf_bpe_source *source)
{
    *bpe = calloc(1, sizeof **bpe);
    if (!*bpe) return no_memory(source);
    const rf_status status = fill(*bpe, source);
    if (status != RF_OK) rf_bpe_destroy(bpe);
    return status;
}

void rf_bpe_destroy(rf_bpe **bpe)
{
    if (!*bpe) return;
    free((*bpe)->name);
    free((*bpe)->text);
    free((*bpe)->pieces);
    free((*bpe)->slots);
    free((*bpe)->rules);
    free((*bpe)->joins);
    free((*bpe)->unknown);
    free((*bpe)->prefix);
    free((*bpe)->suffix);
    free(*bpe);
    *bpe = NULL;
}

int64_t rf_bpe_size(const rf_bpe *bpe)
{
    return bpe->size;
}

int32_t rf_bpe_id(const rf_bpe *bpe, const char *piece, size_t length)
{
    for (uint64_t at = rf_bpe_hash(piece, length);; at++) {
        const int32_t id = bpe->slots[at & bpe->slot_mask];
        if (id < 0) return -1;
        const rf_bytes other = bpe->pieces[id];
        if (other.length == length && memcmp(other.at, piece, length) == 0) return id;
    }
}

rf_bytes rf_bpe_piece_of(const rf_bpe *bpe, int32_t id)
{
    return id >= 0 && id < bpe->size ? bpe->pieces[id] : (rf_bytes){0};
}
