/** A training step of a SmolLM2-135M-shaped model against what this machine's sgemm reaches. */
#ifndef RF_BENCH_H
#define RF_BENCH_H

#include "refract/base/config.h"
#include "refract/model/decoder.h"
#include "refract/optim/adamw.h"

typedef struct bench_options {
    int tensor, slices, threads, steps;
    int64_t micro, tokens; /**< micro-batches of a step over all ranks; tokens of each */
    int64_t layers, rank_r;
    double dropout;
    rf_dtype storage;
    int is_bf16; /**< compute.precision: bf16 */
    const rf_adapter_kind *adapter;
    const char *method;  /**< as the configuration spells it; NULL: lora by plain AdamW */
    const char *methods; /**< measured in turn with it, separated by commas; NULL = none */
    int beside;          /**< 1: steps of the same model pruned are measured in turn with its own */
    int generates;       /**< 1: reads a prompt and makes tokens instead of training */
    int is_pruned;       /**< 1: cut down as by method light at its default shares */
} bench_options;

/** Time on the clock, and the processors' time that went by in it, over all ranks. */
typedef struct bench_time {
    double seconds, cpu;
} bench_time;

/** Starts a measurement; ends it. Collective over world. */
bench_time bench_start(void);
bench_time bench_stop(bench_time start);

/**
 * One-thread products of 1024 x 1024 matrices in every thread of every rank at once, of reals or of
 * bf16: the least time of `rounds` per operation. Collective over world.
 */
bench_time bench_product_time(int threads, int is_bf16, int rounds);

/** Bytes per second that all threads of all ranks copy (read plus written). Collective over world.
 */
double bench_copy_rate(int threads);

/** Bytes per second that all threads of all ranks read. Collective over world. */
double bench_read_rate(int threads);

/** The middle of n numbers, which are sorted. Local. */
double bench_median(double *x, int n);

/** Its shape, of options->layers layers. Local. */
rf_model_config bench_smollm2_135m(const bench_options *options);

/** Reads a prompt and makes tokens; root prints rates and shares. Collective over world. */
rf_status bench_generate(const bench_options *options, int rank);

/** The model, its micro-batch and what a step needs. */
typedef struct bench_model bench_model;

rf_status bench_model_create(bench_model **model, const bench_options *options);
void bench_model_destroy(bench_model **model);

/** Forward, backward, the sum of the gradients over all micro-batches, clipping and AdamW.
 * Collective over world. */
void bench_model_step(bench_model *model);

/** Mandatory operations of a step over all ranks, of them in one phase; seconds of the last step by
 * phase. Local. */
double bench_model_flops(const bench_model *model);
double bench_model_phase_flops(const bench_model *model, int phase);
/** Bytes that a phase without such operations must read and write. Local. */
double bench_model_phase_bytes(const bench_model *model, int phase);
double bench_model_seconds(const bench_model *model, int phase);
const char *bench_phase_name(int phase);
enum { BENCH_PHASE_TREE = RF_PHASES, BENCH_PHASE_UPDATE, BENCH_PHASE_TP, BENCH_PHASES };

/** Bytes that the model plans per rank. Local. */
double bench_model_bytes(const bench_model *model);

/** What method light leaves at its default shares, scores drawn at random. Local; RF_RESOURCES. */
rf_status bench_prune(rf_pruning **pruning, const rf_model_config *config, int64_t rank_r);

/** Loss of the last step's first micro-batch: equal on every layout. Local. */
double bench_model_loss(const bench_model *model);

/** The methods of one configuration on a model. */
typedef struct bench_method bench_method;

/** The configuration that options->method stands for; the caller owns it. Local; RF_USAGE. */
rf_status bench_method_config(rf_config **config, const bench_options *options);
/** Borrows everything; bench_method_destroy is due in any case. Local; RF_USAGE, RF_RESOURCES. */
rf_status bench_method_create(bench_method **method, rf_config *config, rf_decoder *decoder,
                              const rf_grid *grid, const rf_adamw *adamw, int threads);
void bench_method_destroy(bench_method **method);
void bench_method_layout(bench_method *method, rf_arena *run, rf_arena *scratch);
/** Update `number`, from 1, and the event of that step. Collective over world. */
void bench_method_update(bench_method *method, rf_real *gradient, double scale, double rate,
                         int64_t number);

/** Steps of each of the methods `names` in turn with those of `lora`: root prints the ratios.
 * Collective over world. */
rf_status bench_methods(const bench_options *options, bench_model *lora, const char *names,
                        int rank);

#endif
