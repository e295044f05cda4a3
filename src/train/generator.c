/* Memory of a generator. */
#include <stdlib.h>
#include <string.h>

#include "generator_parts.h"

const char *rf_finish_name(rf_finish finish)
{
    static const char *const names[] = {"length", "eos", "stop"};
    return names[finish];
}

void rf_completion_free(rf_completion *completion)
{
    free(completion->ids);
    free(completion->text);
    *completion = (rf_completion){0};
}

static rf_status check_context(const rf_generator *g)
{
    const int64_t most = g->session->model.max_position;
    if (g->capacity <= most) return RF_OK;
    return rf_fail(RF_USAGE,
                   "a prompt of %lld tokens and %lld new ones exceed the model's max_position %lld "
                   "(%s). Shorten the prompt or ask for fewer new tokens",
                   (long long)g->limits.longest_prompt, (long long)g->limits.max_new_tokens,
                   (long long)most, rf_config_string(g->session->config, "model.path"));
}

static void settle(rf_generator *g, const rf_generator_limits *limits)
{
    int64_t batch = limits->batch > 0 ? limits->batch : RF_GENERATE_BATCH;
    if (batch > limits->prompts) batch = limits->prompts;
    if (batch < 1) batch = 1;
    RF_ASSERT(batch <= RF_GENERATE_MOST_BATCH && limits->longest_prompt > 0 &&
                  limits->max_new_tokens > 0,
              "batch %lld, prompt %lld, new %lld", (long long)batch,
              (long long)limits->longest_prompt, (long long)limits->max_new_tokens);
    g->limits = *limits;
    g->limits.batch = batch;
    g->capacity = limits->longest_prompt + limits->max_new_tokens;
    g->piece = limits->longest_prompt < RF_PROMPT_PIECE ? limits->longest_prompt : RF_PROMPT_PIECE;
    if (g->piece < batch) g->piece = batch;
}

rf_status rf_generator_create(rf_generator **generator, const rf_session *session,
                              const rf_generator_limits *limits, rf_bounds *bounds)
{
    rf_generator *g = calloc(1, sizeof *g);
    *generator = g;
    if (!g) return rf_fail(RF_RESOURCES, "no memory for a generator");
    g->session = session;
    settle(g, limits);
    RF_TRY(check_context(g));
    *bounds = (rf_bounds){.tokens = g->piece,
                          .samples = g->limits.batch,
                          .length = g->capacity,
                          .leaves = limits->prompts > 0 ? limits->prompts : 1};
    return RF_OK;
}

static void layout(rf_generator *g, rf_arena *arena)
{
    const int64_t batch = g->limits.batch, vocab = g->session->model.vocab;
    rf_cache_layout(&g->cache, arena, g->session->decoder, batch, g->capacity);
    g->sequence = RF_TAKE(arena, sequence, batch);
    g->made = RF_TAKE(arena, int32_t, batch * g->limits.max_new_tokens);
    g->begin = RF_TAKE(arena, int64_t, batch + 1);
    g->row = RF_TAKE(arena, int64_t, batch);
    g->slot = RF_TAKE(arena, int64_t, batch);
    g->ids = RF_TAKE(arena, int32_t, g->piece);
    g->position = RF_TAKE(arena, int32_t, g->piece);
    g->logits = RF_TAKE(arena, rf_real, batch * vocab);
    g->heap = RF_TAKE(arena, candidate, vocab);
}

size_t rf_generator_bytes(const rf_generator *generator)
{
    rf_generator copy = *generator;
    rf_arena plan = rf_arena_counting("generation");
    layout(&copy, &plan);
    return plan.peak;
}

rf_status rf_generator_allocate(rf_generator *g)
{
    RF_TRY(rf_arena_create(&g->arena, "generation", rf_generator_bytes(g)));
    layout(g, &g->arena);
    return RF_OK;
}

void rf_generator_destroy(rf_generator **generator)
{
    rf_generator *g = *generator;
    if (!g) return;
    for (int64_t i = 0; g->sequence && i < g->limits.batch; i++)
        growing_text_free(&g->sequence[i].grown);
    rf_arena_destroy(&g->arena);
    free(g);
    *generator = NULL;
}
