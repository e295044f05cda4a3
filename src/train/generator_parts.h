/** What the sources of the generator share; private to layer train. */
#ifndef RF_TRAIN_GENERATOR_PARTS_H
#define RF_TRAIN_GENERATOR_PARTS_H

#include "growing_text.h"
#include "refract/model/cache.h"
#include "sampling.h"

/** A sequence that this rank's replica makes; slot i of the cache. */
typedef struct sequence {
    int64_t at; /**< its prompt's place among those of the call */
    const rf_prompt *prompt;
    int32_t *ids; /**< [count] made so far, of [max_new_tokens] */
    int64_t count;
    growing_text grown;
    int is_done;
    rf_finish finish;
} sequence;

struct rf_generator {
    const rf_session *session; /**< borrowed */
    rf_generator_limits limits;
    int64_t piece, capacity;
    rf_arena arena;
    rf_cache cache;
    sequence *sequence; /**< [batch] */
    int64_t count;      /**< sequences of this round */
    int32_t *made;      /**< [batch, max_new_tokens] */
    int64_t *begin, *row, *slot;
    int32_t *ids, *position; /**< [piece or batch] */
    rf_real *logits;         /**< [batch, vocab] */
    candidate *heap;         /**< [vocab] */
};

/** One call of rf_generate. */
typedef struct generation {
    rf_generator *g;
    const rf_sampling *sampling;
    const rf_listener *listener;
    const rf_stop_watch *watch;
    const rf_prompt *prompts;
    rf_completion *completions;
    rf_generate_figures *figures;
    int is_stopped;
} generation;

/**
 * Every rank gets the completions of all replicas' sequences that are done, of prompts
 * [first, first + count). Collective over world; RF_RESOURCES.
 */
rf_status generator_spread(generation *now, int64_t first, int64_t count);

#endif
