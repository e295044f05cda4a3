/* Reading a prompt and making tokens with a SmolLM2-135M-shaped model held as its GGUF file is:
 * Q4_1 with a head of Q8_0. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "refract/model/cache.h"

enum { PROMPT = 128, NEW = 64, ROUNDS = 5 };

typedef struct generation {
    rf_model_config config;
    rf_grid grid;
    rf_decoder *decoder;
    rf_cache cache;
    rf_arena run, step, scratch, own;
    rf_real *logits; /* [vocab] */
} generation;

static rf_dtype storage_of(const void *context, const char *name)
{
    (void)context;
    return strstr(name, "embed_tokens") ? RF_Q8_0 : RF_Q4_1;
}

static void lay_out(generation *g, rf_arena *run, rf_arena *step, rf_arena *scratch, rf_arena *own)
{
    rf_decoder_layout(g->decoder, run, step, scratch);
    rf_cache_layout(&g->cache, own, g->decoder, 1, PROMPT + NEW);
    g->logits = RF_TAKE(own, rf_real, g->config.vocab);
}

static rf_status create(generation *g, const bench_options *o)
{
    g->config = bench_smollm2_135m(o);
    RF_TRY(rf_grid_create(&g->grid, MPI_COMM_WORLD, o->tensor, o->slices));
    const rf_decoder_options options = {.config = &g->config,
                                        .storage_of = storage_of,
                                        .max_tokens = PROMPT,
                                        .max_samples = 1,
                                        .max_length = PROMPT + NEW,
                                        .leaves = 1,
                                        .threads = o->threads,
                                        .is_bf16 = o->is_bf16};
    RF_TRY(rf_decoder_create(&g->decoder, &g->grid, &options));
    rf_arena run = rf_arena_counting("run"), step = rf_arena_counting("step"),
             scratch = rf_arena_counting("scratch"), own = rf_arena_counting("generation");
    lay_out(g, &run, &step, &scratch, &own);
    RF_TRY(rf_arena_create(&g->run, "run", run.peak));
    RF_TRY(rf_arena_create(&g->step, "step", step.peak));
    RF_TRY(rf_arena_create(&g->scratch, "scratch", scratch.peak));
    RF_TRY(rf_arena_create(&g->own, "generation", own.peak));
    lay_out(g, &g->run, &g->step, &g->scratch, &g->own);
    rf_decoder_bind(g->decoder);
    rf_params_init(&g->decoder->params, &g->grid, 1, 1, 1);
    rf_decoder_prepare(g->decoder);
    return RF_OK;
}

static void destroy(generation *g)
{
    rf_decoder_destroy(&g->decoder);
    rf_grid_destroy(&g->grid);
    rf_arena_destroy(&g->run);
    rf_arena_destroy(&g->step);
    rf_arena_destroy(&g->scratch);
    rf_arena_destroy(&g->own);
}

/* `count` tokens behind those that the cache holds, and the logits of the last. */
static void extend(generation *g, int64_t count)
{
    int32_t ids[PROMPT], position[PROMPT];
    const int64_t begin[] = {0, count}, slot = 0, last = count - 1;
    for (int64_t i = 0; i < count; i++) {
        position[i] = (int32_t)(g->cache.length[0] + i);
        ids[i] = position[i] * 7919 % (int32_t)g->config.vocab;
    }
    const rf_tokens tokens = {
        .tokens = count, .samples = 1, .begin = begin, .ids = ids, .position = position};
    rf_decoder_extend(g->decoder, &g->cache, &slot, &tokens);
    rf_decoder_logits(g->decoder, &last, 1, g->logits);
}

/* Weights that a token needs, over all ranks of a replica. */
static double weight_bytes(const generation *g)
{
    double bytes = 0;
    const rf_params *params = &g->decoder->params;
    for (int64_t i = 0; i < params->count; i++)
        bytes += (double)rf_dtype_bytes(params->row[i].dtype,
                                        params->row[i].shape.rows * params->row[i].shape.cols);
    return bytes;
}

/* A forward pass of the prompt, head at its last token alone. */
static double prompt_flops(const generation *g)
{
    const int64_t begin[] = {0, PROMPT};
    const rf_tokens tokens = {.tokens = PROMPT, .samples = 1, .begin = begin};
    const rf_model_config *c = &g->config;
    const double pairs = (double)PROMPT * (PROMPT + 1) / 2 * (double)(c->heads * c->d_head);
    const double layers = rf_decoder_mandatory_flops(g->decoder, &tokens) -
                          14 * pairs * (double)c->layers; /* forward and backward */
    return layers / 2 + 4 * pairs * (double)c->layers + 2 * (double)(c->vocab * c->d_model);
}

/* Medians of shares, each with the machine's rate around it. */
rf_status bench_generate(const bench_options *o, int rank)
{
    generation g = {0};
    double read[ROUNDS], made[ROUNDS], read_share[ROUNDS], made_share[ROUNDS], rate[ROUNDS];
    const rf_status status = create(&g, o);
    for (int k = -1; status == RF_OK && k < ROUNDS; k++) { /* the first one warms up */
        const double product = bench_product_time(o->threads, o->is_bf16, 3).seconds;
        bench_time start = bench_start();
        g.cache.length[0] = 0;
        extend(&g, PROMPT);
        const double prompt = bench_stop(start).seconds;
        const double memory = bench_read_rate(o->threads);
        start = bench_start();
        for (int i = 0; i < NEW; i++) extend(&g, 1);
        const double token = bench_stop(start).seconds / NEW;
        if (k < 0) continue;
        read[k] = PROMPT / prompt;
        read_share[k] = prompt_flops(&g) * product / prompt;
        made[k] = 1 / token;
        made_share[k] = weight_bytes(&g) / token / memory;
        rate[k] = memory * 1e-9;
    }
    if (rank == 0 && status == RF_OK)
        printf("read %d tokens: %.1f tokens/s, share of the %s rate %.3f\n"
               "decode, one sequence: %.1f tokens/s, %.1f MiB of weights a token, memory read "
               "%.1f GB/s, share %.3f\n",
               PROMPT, bench_median(read, ROUNDS), o->is_bf16 ? "bf16" : "f32",
               bench_median(read_share, ROUNDS), bench_median(made, ROUNDS),
               weight_bytes(&g) / 1048576, bench_median(rate, ROUNDS),
               bench_median(made_share, ROUNDS));
    destroy(&g);
    return status;
}
