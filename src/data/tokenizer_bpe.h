/** The inside of a byte-pair model, shared by its construction and its merging. */
#ifndef RF_DATA_TOKENIZER_BPE_H
#define RF_DATA_TOKENIZER_BPE_H

#include "refract/data/bpe.h"

typedef struct rf_bpe_rule {
    int32_t left, right; /**< ids; left -1: empty slot */
    int32_t rank;        /**< position in the list of merges */
    int32_t product;     /**< id of the two joined */
} rf_bpe_rule;

struct rf_bpe {
    char *name;       /**< owned */
    char *text;       /**< owned: every piece, a NUL behind each */
    rf_bytes *pieces; /**< [size] owned; by id */
    int64_t size;
    int32_t *slots; /**< [slot_mask + 1] owned: ids by hash of their piece, -1 empty */
    uint64_t slot_mask;
    rf_bpe_rule *rules; /**< [rule_mask + 1] owned: by hash of (left, right) */
    uint64_t rule_mask;
    uint64_t *joins;        /**< owned: see rf_bpe_may_join; NULL when words cannot be cut */
    int32_t byte_ids[256];  /**< of <0x00> ... <0xFF>, -1 if none */
    int32_t ascii_ids[128]; /**< of one-character pieces, -1 if none */
    char *unknown;          /**< owned; NULL if none is named */
    int32_t unknown_id;     /**< -1 if none */
    char *prefix, *suffix;  /**< owned; NULL if none */
    int fuse_unknown, byte_fallback, ignore_merges;
};

enum { RF_BPE_JOIN_BITS = 20 };

/** Mixes the bytes of a key. Local. */
static inline uint64_t rf_bpe_hash(const char *bytes, size_t length)
{
    const uint64_t k = 0x9E3779B97F4A7C15u;
    uint64_t h = length * k, word = 0;
    for (; length >= 8; bytes += 8, length -= 8) {
        memcpy(&word, bytes, 8);
        h = (h ^ word) * k;
        h ^= h >> 29;
    }
    word = 0;
    memcpy(&word, bytes, length);
    h = (h ^ word) * k;
    return h ^ h >> 32;
}

static inline uint64_t rf_bpe_pair_hash(int32_t left, int32_t right)
{
    const uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 32;
}

/** The merge of two neighbours, NULL if there is none. Local. */
static inline const rf_bpe_rule *rf_bpe_find_rule(const rf_bpe *bpe, int32_t left, int32_t right)
{
    for (uint64_t at = rf_bpe_pair_hash(left, right);; at++) {
        const rf_bpe_rule *rule = &bpe->rules[at & bpe->rule_mask];
        if (rule->left == left && rule->right == right) return rule;
        if (rule->left < 0) return NULL;
    }
}

/** Bit of two neighbouring characters in `joins`. */
static inline uint32_t rf_bpe_join_bit(int32_t x, int32_t y)
{
    const uint32_t h = ((uint32_t)x * 0x9E3779B1u) ^ ((uint32_t)y * 0x85EBCA77u);
    return (h ^ h >> 15) * 0x2C1B3C6Du >> (32 - RF_BPE_JOIN_BITS);
}

/**
 * 0 only if no merge joins a piece that ends in x to one that begins with y: between two such
 * characters a word may be cut without changing its tokens. (1 may be a collision.)
 */
static inline int rf_bpe_may_join(const rf_bpe *bpe, int32_t x, int32_t y)
{
    const uint32_t bit = rf_bpe_join_bit(x, y);
    return (int)(bpe->joins[bit / 64] >> (bit % 64) & 1);
}

#endif
