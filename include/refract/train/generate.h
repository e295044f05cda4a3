/**
 * Text from prompts, by a model whose keys and values are cached.
 *
 * A prompt's completion is a function of the model, the prompt, its index and the sampling: the
 * same bits on any ranks and threads, and whatever other prompts there are. Prompts are read one at
 * a time in pieces of RF_PROMPT_PIECE tokens; tokens are made for `batch` sequences at a time, row
 * by row. Random numbers are f(seed, prompt's index, token's number).
 */
#ifndef RF_TRAIN_GENERATE_H
#define RF_TRAIN_GENERATE_H

#include <stdint.h>

#include "refract/base/stop.h"
#include "refract/train/session.h"
#include "refract/train/train.h"

enum { RF_PROMPT_PIECE = 512, RF_GENERATE_BATCH = 8, RF_GENERATE_MOST_BATCH = 256 };

/**
 * How tokens are chosen, in the order of transformers: logits / temperature, then the top_k largest
 * (ties with the last stay), then the fewest of these whose probability reaches top_p.
 */
typedef struct rf_sampling {
    double temperature; /**< 0 = greedy: the largest logit, the lowest id of equal ones */
    double top_p;       /**< above 0; 1 or more: all */
    int64_t top_k;      /**< 0: all */
    uint64_t seed;
    int64_t max_new_tokens;
    const char *const *stop; /**< [stop_count] texts that end a completion, none empty; borrowed */
    int64_t stop_count;
} rf_sampling;

/** Greedy, everything allowed, no stop texts. Local. */
rf_sampling rf_sampling_greedy(int64_t max_new_tokens);

typedef struct rf_prompt {
    const int32_t *ids; /**< [count], count > 0; borrowed */
    int64_t count;
    int64_t index; /**< the random numbers' key */
} rf_prompt;

typedef enum rf_finish { RF_FINISH_LENGTH, RF_FINISH_EOS, RF_FINISH_STOP } rf_finish;

/** "length", "eos", "stop". Local. */
const char *rf_finish_name(rf_finish finish);

typedef struct rf_completion {
    int32_t *ids; /**< [count] tokens that were made, EOS not among them; owned */
    int64_t count;
    char *text; /**< decoded without special tokens, cut before a stop text; "" without a tokeniser;
                   owned */
    rf_finish finish;
} rf_completion;

/** Frees what it holds; safe on a zeroed one and to repeat. Local. */
void rf_completion_free(rf_completion *completion);

/** Who is told as completions come; each call may be NULL. */
typedef struct rf_listener {
    void *context;
    /** Text of prompts[at] that is sure by now: whole characters, no beginning of a stop text. On
     * the ranks that make it. */
    void (*text)(void *context, int64_t at, const char *bytes, size_t length);
    /** prompts[at] is complete. On every rank, in the order of the prompts; a failure of any rank
     * ends the generation. */
    rf_status (*done)(void *context, int64_t at, const rf_completion *completion);
} rf_listener;

/** Tokens over all ranks, time on the clock of the slowest. */
typedef struct rf_generate_figures {
    int64_t prompt_tokens;
    int64_t decoded_tokens; /**< made by decode steps: all but the first of each prompt, EOS too */
    double prompt_seconds, decode_seconds;
} rf_generate_figures;

/** Most that a generator is for. */
typedef struct rf_generator_limits {
    int64_t prompts;        /**< of one call */
    int64_t longest_prompt; /**< tokens */
    int64_t max_new_tokens;
    int64_t batch; /**< sequences at a time on each replica; 0: RF_GENERATE_BATCH */
} rf_generator_limits;

typedef struct rf_generator rf_generator;

/**
 * Before rf_session_plan, with the bounds that it says. Borrows the session, which must outlive it.
 * The caller owns *generator. Local, the same on all ranks; RF_USAGE where prompt and new tokens
 * exceed max_position, RF_RESOURCES.
 *
 *     rf_session_open; rf_generator_create; rf_session_plan(&s, &bounds, 0, ...);
 *     rf_session_allocate; rf_generator_allocate; rf_session_weights; ...; rf_generate
 */
rf_status rf_generator_create(rf_generator **generator, const rf_session *session,
                              const rf_generator_limits *limits, rf_bounds *bounds);
/** Bytes beside the session's arenas, mostly keys and values; after the plan. Local. */
size_t rf_generator_bytes(const rf_generator *generator);
/** Takes that memory. Local; RF_RESOURCES. */
rf_status rf_generator_allocate(rf_generator *generator);
void rf_generator_destroy(rf_generator **generator);

/**
 * Completes the prompts: completions [count], zeroed before, are filled on every rank. Ranks agree
 * on `watch` (NULL = never stop) at every token: then the first completions that are there are
 * told, those after them are left zeroed, and the status is RF_STOPPED. `figures` may be NULL; they
 * are added to. Collective over world, arguments equal on all ranks; RF_NONFINITE, RF_RESOURCES.
 */
rf_status rf_generate(rf_generator *generator, const rf_prompt *prompts, int64_t count,
                      const rf_sampling *sampling, const rf_stop_watch *watch,
                      const rf_listener *listener, rf_completion *completions,
                      rf_generate_figures *figures);

#endif
