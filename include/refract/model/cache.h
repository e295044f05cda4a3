/**
 * Keys and values of sequences that grow token by token: each rank holds those of its own KV
 * slices, so the cache is split like the heads.
 */
#ifndef RF_MODEL_CACHE_H
#define RF_MODEL_CACHE_H

#include "refract/model/decoder.h"

typedef struct rf_cache {
    int64_t slots, capacity; /**< sequences, and tokens of each */
    int64_t *length;         /**< [slots] tokens that a sequence has; 0 begins a new one */
    rf_real **k, **v; /**< [layers] of [slots * capacity, local KV width], slice by slice; k rotated
                       */
    int64_t *k_begin, *k_end; /**< [slots] rows of the samples of the pass at work */
} rf_cache;

/** Cuts a cache for a planned decoder out of an arena. Local. */
void rf_cache_layout(rf_cache *cache, rf_arena *arena, const rf_decoder *decoder, int64_t slots,
                     int64_t capacity);

/**
 * Residual stream of tokens that follow what the cache holds: sample s of `tokens` goes on with
 * sequence slot[s] (slots differ), whose keys and values the cache takes. Positions go on, too.
 *
 * Where every sample has one token, products are made row by row: what a sequence yields is the
 * same bits whatever other sequences are in the call. rf_decoder_logits of its rows may follow.
 * Collective over tp.
 */
void rf_decoder_extend(rf_decoder *decoder, rf_cache *cache, const int64_t *slot,
                       const rf_tokens *tokens);

#endif
