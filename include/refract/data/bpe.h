/**
 * Byte-pair encoding: a word to the ids of its pieces, by merging neighbours in order of rank.
 *
 * The plain model, whatever file it came from: a list of pieces, a ranked list of merges, options.
 * Sennrich et al. 2016, arXiv:1508.07909. Read-only once made; may be used by several threads.
 */
#ifndef RF_DATA_BPE_H
#define RF_DATA_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "refract/base/status.h"
#include "refract/data/text.h"
#include "refract/data/tokenizer.h"

typedef struct rf_bpe_piece {
    rf_bytes text;
    int32_t id;
} rf_bpe_piece;

typedef struct rf_bpe_merge {
    rf_bytes left, right;
} rf_bpe_merge;

/** What a model is made from; all of it borrowed during rf_bpe_create only. */
typedef struct rf_bpe_source {
    const char *name;           /**< for messages, e.g. the file */
    const rf_bpe_piece *pieces; /**< [piece_count], every text and every id once */
    int64_t piece_count;
    const rf_bpe_merge
        *merges; /**< [merge_count]; rank = position; the last of equal pairs counts */
    int64_t merge_count;
    const int32_t *ranks; /**< [merge_count], not negative: lower first, of equal ones the leftmost;
                             NULL: the positions in `merges` */
    rf_bytes unknown;     /**< piece for characters without one; NULL: they vanish */
    rf_bytes prefix;      /**< stands before every character of a word but its first */
    rf_bytes suffix;      /**< stands behind the last character of a word */
    int fuse_unknown;     /**< 1: neighbouring unknown characters are one token */
    int byte_fallback;    /**< 1: unknown characters become <0xXX> pieces where all their bytes have
                             one */
    int ignore_merges;    /**< 1: a word that is a piece is that piece, whatever the merges say */
} rf_bpe_source;

typedef struct rf_bpe rf_bpe;

/** Largest number of ids: what is above is taken for a damaged file. */
enum { RF_BPE_MOST_IDS = 1 << 24 };

/**
 * Builds the model. The caller owns *bpe. Local; RF_RESOURCES, RF_INPUT for an id that is negative,
 * too large or there twice, for a piece that is there twice, and for a merge whose parts or whole
 * are no pieces.
 */
rf_status rf_bpe_create(rf_bpe **bpe, const rf_bpe_source *source);
void rf_bpe_destroy(rf_bpe **bpe);

/** Largest id + 1. Local. */
int64_t rf_bpe_size(const rf_bpe *bpe);
/** Id of a piece, -1 if there is none. Local. */
int32_t rf_bpe_id(const rf_bpe *bpe, const char *piece, size_t length);
/** Piece of an id (NUL-terminated too), text NULL if none. Borrowed. Local. */
rf_bytes rf_bpe_piece_of(const rf_bpe *bpe, int32_t id);

/**
 * A tokeniser around a model that was made without tokenizer.json: `json` spells the other parts as
 * that file does (normalizer, pre_tokenizer, post_processor, decoder, added_tokens), without
 * `model`. Takes *model (also on failure); otherwise as rf_tokenizer_parse. Local; RF_INPUT,
 * RF_RESOURCES.
 */
rf_status rf_tokenizer_from_bpe(rf_tokenizer **tokenizer, rf_bpe **model, const char *json,
                                size_t length, const char *config_json, size_t config_length,
                                const char *name);

/** What one thread needs to encode with one model: room for symbols and a cache of words. */
typedef struct rf_bpe_work rf_bpe_work;

/** `length`: bytes about to be encoded, which sets the cache's size. Local; RF_RESOURCES. */
rf_status rf_bpe_work_create(rf_bpe_work **work, size_t length);
void rf_bpe_work_destroy(rf_bpe_work **work);

/**
 * Appends the ids of one word (valid UTF-8, `length` bytes). Local; RF_RESOURCES, RF_INPUT for an
 * unknown character when the model's unknown piece is not in the vocabulary.
 */
rf_status rf_bpe_encode(const rf_bpe *bpe, rf_bpe_work *work, const char *word, size_t length,
                        rf_ids *out);

#endif
