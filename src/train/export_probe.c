/* A few rows of tokens on which an export is compared with the trained model. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "export_parts.h"
#include "refract/comm/agree.h"
#include "refract/data/prepare.h"

enum { MOST_TOKENS = 192, MOST_SAMPLES = 8, FIXED_SAMPLES = 2, FIXED_TOKENS = 24 };

static rf_status take(export_probe *p, int64_t samples, int64_t tokens)
{
    p->begin = calloc((size_t)samples + 1, sizeof *p->begin);
    p->ids = calloc((size_t)tokens + 1, sizeof *p->ids);
    p->position = calloc((size_t)tokens + 1, sizeof *p->position);
    if (p->begin && p->ids && p->position) return RF_OK;
    return rf_fail(RF_RESOURCES, "no memory for rows to compare on");
}

static void add_token(export_probe *p, int64_t id)
{
    p->ids[p->tokens] = (int32_t)id;
    p->position[p->tokens] = (int32_t)(p->tokens - p->begin[p->samples]);
    p->tokens++;
}

static void end_sample(export_probe *p)
{
    p->begin[++p->samples] = p->tokens;
}

/* Ids from all over the vocabulary; any would do. */
static rf_status fill_fixed(export_probe *p, const rf_model_config *model)
{
    const int64_t length = model->max_position < FIXED_TOKENS ? model->max_position : FIXED_TOKENS;
    RF_TRY(take(p, FIXED_SAMPLES, FIXED_SAMPLES * length));
    for (int64_t s = 0; s < FIXED_SAMPLES; s++) {
        for (int64_t i = 0; i < length; i++)
            add_token(p, (7919 * (s * length + i) + 104729 * i * i + 1) % model->vocab);
        end_sample(p);
    }
    p->source = "a fixed sequence of tokens";
    return RF_OK;
}

static rf_status fill_samples(export_probe *p, const rf_samples *samples)
{
    RF_TRY(take(p, MOST_SAMPLES, MOST_TOKENS));
    for (int64_t s = 0; s < samples->count && s < MOST_SAMPLES; s++) {
        for (int64_t i = samples->offset[s]; i < samples->offset[s + 1]; i++)
            if (p->tokens < MOST_TOKENS) add_token(p, samples->ids[i]);
        if (p->tokens > p->begin[p->samples]) end_sample(p);
    }
    p->source = "the first rows of data.eval";
    return RF_OK;
}

/* 1 when every file of data.eval is there; one rank looks, so that all go the same way. */
static int has_data(const rf_session *s)
{
    const int files = rf_config_list_count(s->config, "data.eval");
    int has = files > 0;
    for (int i = 0; i < files; i++)
        has &= access(rf_config_list_item(s->config, "data.eval", i), R_OK) == 0;
    MPI_Bcast(&has, 1, MPI_INT, 0, s->world);
    if (!has && files > 0 && s->log->rank == 0)
        rf_log_warning(s->log,
                       "data.eval is not there (%s): a fixed sequence of tokens is compared",
                       rf_config_where(s->config, "data.eval"));
    return has;
}

rf_status export_probe_open(export_probe *p, const rf_session *s)
{
    rf_samples *samples = NULL;
    *p = (export_probe){.vocab = s->model.vocab};
    if (!has_data(s)) return rf_agree(s->world, fill_fixed(p, &s->model));
    rf_config_resolve_int(s->config, "eval.max_samples", MOST_SAMPLES);
    rf_status status = rf_data_load(&samples, s->world, s->config, "data.eval", s->tokenizer,
                                    s->model.vocab, s->log);
    if (status == RF_OK) status = rf_agree(s->world, fill_samples(p, samples));
    rf_samples_destroy(&samples);
    return status;
}

void export_probe_close(export_probe *p)
{
    free(p->begin);
    free(p->ids);
    free(p->position);
    free(p->logits);
    *p = (export_probe){0};
}

rf_bounds export_probe_bounds(const export_probe *p)
{
    rf_bounds bounds = {.tokens = p->tokens, .samples = p->samples, .leaves = 1};
    for (int64_t s = 0; s < p->samples; s++) {
        const int64_t length = p->begin[s + 1] - p->begin[s];
        if (length > bounds.length) bounds.length = length;
    }
    return bounds;
}

/* logits [tokens, vocab]. Collective over tp. */
static void compute(const export_probe *p, rf_decoder *decoder, rf_real *logits)
{
    const rf_tokens tokens = {.tokens = p->tokens,
                              .samples = p->samples,
                              .begin = p->begin,
                              .ids = p->ids,
                              .position = p->position};
    int64_t row[MOST_TOKENS];
    for (int64_t i = 0; i < p->tokens; i++) row[i] = i;
    rf_decoder_forward(decoder, &tokens);
    rf_decoder_logits(decoder, row, p->tokens, logits);
}

static rf_status take_logits(const export_probe *p, rf_real **logits)
{
    *logits = malloc((size_t)(p->tokens * p->vocab + 1) * sizeof **logits);
    return *logits ? RF_OK : rf_fail(RF_RESOURCES, "no memory for logits to compare");
}

rf_status export_probe_take(export_probe *p, rf_decoder *decoder)
{
    MPI_Comm world = decoder->grid->world;
    RF_TRY_ALL(world, take_logits(p, &p->logits));
    compute(p, decoder, p->logits);
    int64_t bad = 0;
    for (int64_t i = 0; i < p->tokens * p->vocab; i++) bad += !isfinite((double)p->logits[i]);
    return rf_agree(world, bad == 0 ? RF_OK
                                    : rf_fail(RF_NONFINITE,
                                              "%lld logits of the trained model are not finite "
                                              "(refract export). Export an earlier checkpoint",
                                              (long long)bad));
}

rf_status export_probe_compare(const export_probe *p, rf_decoder *decoder,
                               export_difference *difference)
{
    rf_real *again = NULL;
    rf_status status = rf_agree(decoder->grid->world, take_logits(p, &again));
    *difference = (export_difference){0};
    if (status == RF_OK) compute(p, decoder, again);
    for (int64_t i = 0; status == RF_OK && i < p->tokens * p->vocab; i++) {
        const double was = (double)p->logits[i], off = fabs((double)again[i] - was);
        if (!(off <= difference->absolute)) difference->absolute = off; /* a NaN counts, too */
        if (fabs(was) > difference->largest) difference->largest = fabs(was);
    }
    free(again);
    return status;
}
