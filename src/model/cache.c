#include "refract/model/cache.h"

#include <string.h>

#include "decoder_parts.h"

void rf_cache_layout(rf_cache *cache, rf_arena *arena, const rf_decoder *m, int64_t slots,
                     int64_t capacity)
{
    const int64_t layers = m->config.layers, rows = slots * capacity;
    const int is_real = arena->base != NULL;
    *cache = (rf_cache){.slots = slots, .capacity = capacity};
    cache->length = RF_TAKE(arena, int64_t, slots);
    cache->k_begin = RF_TAKE(arena, int64_t, slots);
    cache->k_end = RF_TAKE(arena, int64_t, slots);
    cache->k = RF_TAKE(arena, rf_real *, layers);
    cache->v = RF_TAKE(arena, rf_real *, layers);
    for (int64_t layer = 0; layer < layers; layer++) {
        const int64_t items = rows * decoder_kv_width(m, layer);
        rf_real *k = RF_TAKE(arena, rf_real, items), *v = RF_TAKE(arena, rf_real, items);
        if (!is_real) continue;
        cache->k[layer] = k;
        cache->v[layer] = v;
    }
}

/* Rows of one slice, `width` wide, to the ends of their sequences. */
static void append(rf_real *to, const rf_real *from, int64_t width, const rf_cache *cache,
                   const rf_tokens *tokens)
{
    for (int64_t s = 0; s < tokens->samples; s++) {
        const int64_t count = tokens->begin[s + 1] - tokens->begin[s];
        memcpy(to + (cache->k_end[s] - count) * width, from + tokens->begin[s] * width,
               (size_t)(count * width) * sizeof *to);
    }
}

void decoder_cache_keys(rf_decoder *m, const rf_tokens *tokens, int64_t layer, int count)
{
    const rf_cache *cache = m->cache;
    if (!cache) return;
    const int64_t rows = cache->slots * cache->capacity;
    for (int i = 0; i < count; i++) {
        rf_attention_pass *pass = &m->slice[i];
        const int64_t before = (pass->k - m->state[layer].k) / tokens->tokens; /* columns */
        rf_real *k = cache->k[layer] + rows * before, *v = cache->v[layer] + rows * before;
        append(k, pass->k, pass->shape.kv_stride, cache, tokens);
        append(v, pass->v, pass->shape.kv_stride, cache, tokens);
        pass->k = k;
        pass->v = v;
        pass->shape.k_begin = cache->k_begin;
        pass->shape.k_end = cache->k_end;
    }
}

void rf_decoder_extend(rf_decoder *m, rf_cache *cache, const int64_t *slot, const rf_tokens *tokens)
{
    for (int64_t s = 0; s < tokens->samples; s++) {
        const int64_t count = tokens->begin[s + 1] - tokens->begin[s];
        int64_t *length = &cache->length[slot[s]];
        RF_ASSERT(
            tokens->position[tokens->begin[s]] == *length && *length + count <= cache->capacity,
            "sequence %lld: position %d, %lld of %lld tokens", (long long)slot[s],
            tokens->position[tokens->begin[s]], (long long)*length, (long long)cache->capacity);
        *length += count;
        cache->k_begin[s] = slot[s] * cache->capacity;
        cache->k_end[s] = cache->k_begin[s] + *length;
    }
    const rf_bf16 *bf16 = m->attention.bf16;
    m->cache = cache;
    m->context.by_row = tokens->tokens == tokens->samples;
    if (m->context.by_row) m->attention.bf16 = NULL;
    rf_decoder_forward(m, tokens);
    m->attention.bf16 = bf16;
    m->cache = NULL;
}
