#include "refract/train/generate.h"

#include <string.h>

#include "generator_parts.h"
#include "refract/comm/agree.h"
#include "refract/comm/collect.h"

static int is_end(const rf_session *s, int32_t id)
{
    for (int i = 0; i < s->model.eos_count; i++)
        if (s->model.eos[i] == id) return 1;
    return s->tokenizer && rf_tokenizer_eos(s->tokenizer) == id;
}

/* Tells what is sure of a sequence's text. */
static void tell_text(const generation *now, sequence *q)
{
    const size_t sure = growing_text_sure(&q->grown, now->sampling, q->is_done);
    if (sure <= q->grown.told) return;
    if (now->listener && now->listener->text)
        now->listener->text(now->listener->context, q->at, q->grown.text.bytes + q->grown.told,
                            sure - q->grown.told);
    q->grown.told = sure;
}

/* The next token of a sequence, from its logits. */
static rf_status take_token(const generation *now, sequence *q, const rf_real *logits)
{
    const rf_session *s = now->g->session;
    int32_t id = 0;
    RF_TRY(sampling_take(now->sampling, logits, s->model.vocab, q->prompt->index, q->count,
                         now->g->heap, &id));
    const int ends = is_end(s, id);
    if (!ends) q->ids[q->count++] = id;
    const int is_full = q->count == now->sampling->max_new_tokens;
    RF_TRY(growing_text_take(&q->grown, s->tokenizer, q->ids, q->count, now->sampling,
                             ends || is_full));
    q->is_done = ends || is_full || q->grown.stopped;
    q->finish = q->grown.stopped ? RF_FINISH_STOP : ends ? RF_FINISH_EOS : RF_FINISH_LENGTH;
    tell_text(now, q);
    return RF_OK;
}

/* Reads a prompt piece by piece into slot `slot`; then its first token. */
static rf_status read_prompt(const generation *now, int64_t slot)
{
    rf_generator *g = now->g;
    sequence *q = &g->sequence[slot];
    rf_decoder *decoder = g->session->decoder;
    int64_t last = 0;
    g->cache.length[slot] = 0;
    for (int64_t at = 0; at < q->prompt->count; at += g->piece) {
        const int64_t left = q->prompt->count - at;
        const int64_t count = left < RF_PROMPT_PIECE ? left : RF_PROMPT_PIECE;
        RF_ASSERT(count <= g->piece, "%lld tokens", (long long)count);
        for (int64_t i = 0; i < count; i++) g->position[i] = (int32_t)(at + i);
        g->begin[0] = 0;
        g->begin[1] = count;
        const rf_tokens tokens = {.tokens = count,
                                  .samples = 1,
                                  .begin = g->begin,
                                  .ids = q->prompt->ids + at,
                                  .position = g->position};
        rf_decoder_extend(decoder, &g->cache, &slot, &tokens);
        last = count - 1;
    }
    rf_decoder_logits(decoder, &last, 1, g->logits);
    now->figures->prompt_tokens += q->prompt->count;
    return take_token(now, q, g->logits);
}

/* One more token of every sequence that is not done. */
static rf_status decode_step(const generation *now)
{
    rf_generator *g = now->g;
    int64_t rows = 0;
    g->begin[0] = 0;
    for (int64_t i = 0; i < g->count; i++) {
        const sequence *q = &g->sequence[i];
        if (q->is_done) continue;
        g->slot[rows] = i;
        g->row[rows] = rows;
        g->ids[rows] = q->ids[q->count - 1];
        g->position[rows] = (int32_t)g->cache.length[i];
        rows++;
        g->begin[rows] = rows;
    }
    if (rows == 0) return RF_OK;
    const rf_tokens tokens = {
        .tokens = rows, .samples = rows, .begin = g->begin, .ids = g->ids, .position = g->position};
    rf_decoder_extend(g->session->decoder, &g->cache, g->slot, &tokens);
    rf_decoder_logits(g->session->decoder, g->row, rows, g->logits);
    now->figures->decoded_tokens += rows;
    for (int64_t i = 0; i < rows; i++)
        RF_TRY(take_token(now, &g->sequence[g->slot[i]], g->logits + i * g->session->model.vocab));
    return RF_OK;
}

/* All ranks: did one fail, should all stop, is there more to do? One reduction a token. */
static rf_status go_on(generation *now, rf_status local, int *is_active)
{
    const MPI_Comm world = now->g->session->world;
    int said[3] = {local != RF_OK, now->watch && rf_stop_local(now->watch) != RF_STOP_NONE,
                   *is_active};
    MPI_Allreduce(MPI_IN_PLACE, said, 3, MPI_INT, MPI_MAX, world);
    if (said[0]) return rf_agree(world, local);
    now->is_stopped = said[1];
    *is_active = said[2] && !said[1];
    return RF_OK;
}

static int has_more(const rf_generator *g)
{
    for (int64_t i = 0; i < g->count; i++)
        if (!g->sequence[i].is_done) return 1;
    return 0;
}

/* This replica's part of prompts [first, first + count). */
static void share_prompts(const generation *now, int64_t first, int64_t count)
{
    rf_generator *g = now->g;
    const rf_grid *grid = &g->session->grid;
    const int64_t begin = rf_part_begin(count, grid->dp_rank, grid->dp_size);
    const int64_t end = rf_part_begin(count, grid->dp_rank + 1, grid->dp_size);
    g->count = end - begin;
    for (int64_t i = 0; i < g->count; i++) {
        sequence *q = &g->sequence[i];
        growing_text_free(&q->grown);
        *q = (sequence){.at = first + begin + i,
                        .prompt = &now->prompts[first + begin + i],
                        .ids = g->made + i * g->limits.max_new_tokens};
    }
}

/* All replicas read a prompt at a time each, then make a token at a time of all of theirs. */
static rf_status make_round(generation *now, int64_t first, int64_t count)
{
    rf_generator *g = now->g;
    const int dp = g->session->grid.dp_size;
    share_prompts(now, first, count);
    const double start = rf_clock_seconds();
    for (int64_t i = 0; i < (count + dp - 1) / dp && !now->is_stopped; i++) {
        int is_active = 1;
        RF_TRY(go_on(now, i < g->count ? read_prompt(now, i) : RF_OK, &is_active));
    }
    const double middle = rf_clock_seconds();
    int is_active = !now->is_stopped && has_more(g);
    RF_TRY(go_on(now, RF_OK, &is_active));
    while (is_active) {
        const rf_status status = decode_step(now);
        is_active = has_more(g);
        RF_TRY(go_on(now, status, &is_active));
    }
    now->figures->prompt_seconds += middle - start;
    now->figures->decode_seconds += rf_clock_seconds() - middle;
    return RF_OK;
}

/* The round's completions that have none missing before them. */
static rf_status deliver(generation *now, int64_t first, int64_t count)
{
    const rf_listener *listener = now->listener;
    rf_status status = RF_OK;
    int64_t whole = 0;
    RF_TRY(generator_spread(now, first, count));
    while (whole < count && now->completions[first + whole].text) whole++;
    for (int64_t i = whole; i < count; i++) rf_completion_free(&now->completions[first + i]);
    for (int64_t i = 0; i < whole && status == RF_OK && listener && listener->done; i++)
        status = listener->done(listener->context, first + i, &now->completions[first + i]);
    return rf_agree(now->g->session->world, status);
}

/* Tokens over replicas, each of whose ranks counted the same. */
static void sum_figures(const rf_session *s, rf_generate_figures *all,
                        const rf_generate_figures *own)
{
    int64_t tokens[2] = {own->prompt_tokens, own->decoded_tokens};
    double seconds[2] = {own->prompt_seconds, own->decode_seconds};
    MPI_Allreduce(MPI_IN_PLACE, tokens, 2, MPI_INT64_T, MPI_SUM, s->grid.dp);
    MPI_Allreduce(MPI_IN_PLACE, seconds, 2, MPI_DOUBLE, MPI_MAX, s->world);
    if (!all) return;
    all->prompt_tokens += tokens[0];
    all->decoded_tokens += tokens[1];
    all->prompt_seconds += seconds[0];
    all->decode_seconds += seconds[1];
}

static void check_limits(const rf_generator *g, const rf_prompt *prompts, int64_t count,
                         const rf_sampling *sampling)
{
    RF_ASSERT(sampling->max_new_tokens > 0 &&
                  sampling->max_new_tokens <= g->limits.max_new_tokens && sampling->top_p > 0,
              "%lld new tokens, top_p %g", (long long)sampling->max_new_tokens, sampling->top_p);
    for (int64_t i = 0; i < count; i++)
        RF_ASSERT(prompts[i].count > 0 && prompts[i].count <= g->limits.longest_prompt,
                  "prompt %lld has %lld tokens", (long long)i, (long long)prompts[i].count);
}

rf_status rf_generate(rf_generator *g, const rf_prompt *prompts, int64_t count,
                      const rf_sampling *sampling, const rf_stop_watch *watch,
                      const rf_listener *listener, rf_completion *completions,
                      rf_generate_figures *figures)
{
    rf_generate_figures own = {0};
    generation now = {.g = g,
                      .sampling = sampling,
                      .listener = listener,
                      .watch = watch,
                      .prompts = prompts,
                      .completions = completions,
                      .figures = &own};
    const int64_t round = g->limits.batch * g->session->grid.dp_size;
    check_limits(g, prompts, count, sampling);
    rf_decoder_prepare(g->session->decoder);
    for (int64_t first = 0; first < count && !now.is_stopped; first += round) {
        const int64_t left = count - first;
        RF_TRY(make_round(&now, first, left < round ? left : round));
        RF_TRY(deliver(&now, first, left < round ? left : round));
    }
    sum_figures(g->session, figures, &own);
    if (now.is_stopped && (count == 0 || !completions[count - 1].text))
        return rf_fail(RF_STOPPED, "stopped while generating. Run the same command again");
    return RF_OK;
}
