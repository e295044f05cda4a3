/**
 * The LLaMA-family decoder: tensors, activations, forward and backward of one micro-batch.
 *
 *   h += Attn(RMSNorm(h)); h += W_down (silu(W_gate u) . W_up u), u = RMSNorm(h)
 *
 * Touvron et al. 2023, arXiv:2302.13971; grouped queries: Ainslie et al. 2023, arXiv:2305.13245.
 */
#ifndef RF_MODEL_DECODER_H
#define RF_MODEL_DECODER_H

#include <stdint.h>

#include "refract/adapter/adapter.h"
#include "refract/adapter/group.h"
#include "refract/adapter/targets.h"
#include "refract/base/arena.h"
#include "refract/comm/collect.h"
#include "refract/comm/grid.h"
#include "refract/model/config.h"
#include "refract/model/params.h"
#include "refract/model/pruning.h"
#include "refract/nn/attention.h"
#include "refract/nn/bottleneck.h"
#include "refract/nn/head.h"
#include "refract/nn/linear.h"
#include "refract/nn/rope.h"

/** Where the time of a pass goes. */
typedef enum rf_phase {
    RF_PHASE_EMBED,
    RF_PHASE_NORM,
    RF_PHASE_QKV,
    RF_PHASE_ATTENTION,
    RF_PHASE_O,
    RF_PHASE_GATE_UP,
    RF_PHASE_SWIGLU,
    RF_PHASE_DOWN,
    RF_PHASE_HEAD,
    RF_PHASES
} rf_phase;

/** "embed", "norm", ... Local. */
const char *rf_phase_name(rf_phase phase);

/** The type in which a frozen weight is to be held: f(context, its name). Local. */
typedef rf_dtype rf_storage_choice(const void *context, const char *name);

/** Is this tensor of the base model trained? f(model's shape, its name). Local. */
typedef int rf_trained_choice(const rf_model_config *config, const char *name);

/** The branches of a block. */
typedef enum rf_branch { RF_BRANCH_ATTENTION, RF_BRANCH_MLP, RF_BRANCHES } rf_branch;

/** Bottleneck adapters, trained, behind these branches of every block; size 0: none. */
typedef struct rf_bottlenecks {
    int64_t size;
    rf_activation activation;
    int behind[RF_BRANCHES];
} rf_bottlenecks;

/** How to build a model; everything is borrowed for the call of rf_decoder_create only. */
typedef struct rf_decoder_options {
    const rf_model_config *config;
    rf_dtype storage;                   /**< how frozen linear weights are held */
    rf_storage_choice *storage_of;      /**< NULL: all as `storage` says */
    const void *storage_context;        /**< of storage_of */
    rf_trained_choice *trains;          /**< of the base model; NULL: nothing but `saved` */
    const rf_adapter_kind *adapter;     /**< NULL: none */
    const rf_targets *targets;          /**< which modules carry it, with r and alpha */
    rf_adapter_options adapter_options; /**< of every module, but for r and alpha */
    rf_bottlenecks bottleneck;
    rf_names saved;            /**< modules trained in full beside the adapters */
    const rf_pruning *pruning; /**< what layers and adapters are left; NULL: everything */
    int has_masks;             /**< 1: trained masks on heads and neurons, 1 at the start */
    int measures;        /**< 1: rf_decoder_loss measures what adapters say beside their layers */
    int training;        /**< 0: no gradients, no moments */
    int64_t max_tokens;  /**< of a micro-batch */
    int64_t max_samples; /**< of a micro-batch */
    int64_t max_length;  /**< of a sample */
    int64_t leaves;      /**< most micro-batches of a step, over the whole job */
    int threads;
    int is_bf16; /**< 1: products with weights in bf16 */
} rf_decoder_options;

/** One block: layers bound to the table's rows. */
typedef struct rf_block {
    rf_cut kv_cut, ff_cut; /**< KV groups and neurons of this layer (unit 1, and 32 or 1) */
    rf_linear linear[RF_LINEARS];
    rf_lowrank lowrank[RF_LINEARS];
    rf_adapter_options adapter[RF_LINEARS];
    rf_adapter bound[RF_LINEARS];                         /**< the adapters on their tensors */
    int64_t weight_row[RF_LINEARS], bias_row[RF_LINEARS]; /**< -1 = none */
    int64_t adapter_row[RF_LINEARS];                      /**< first of its tensors; -1 = none */
    int64_t adapter_index[RF_LINEARS];                    /**< among all adapters, in model order */
    int64_t attention_norm_row, mlp_norm_row;
    int64_t bottleneck_row[RF_BRANCHES];    /**< first of its tensors, where one stands */
    int64_t head_mask_row, neuron_mask_row; /**< with masks */
} rf_block;

/** What backward needs of one block, for one micro-batch; cut dimensions slice by slice. */
typedef struct rf_block_state {
    rf_real *h, *h_mid; /**< [tokens, d_model] residual stream before attention and before MLP */
    rf_real *rstd, *rstd_mid; /**< [tokens] */
    rf_real *q, *k, *v, *o;   /**< q, k after rotation */
    rf_real *lse;             /**< [local heads, tokens] */
    rf_real *gate, *up;
    rf_real *xs[RF_LINEARS];      /**< [tokens, r] */
    rf_real *branch[RF_BRANCHES]; /**< [tokens, d_model] before a bottleneck; NULL without */
    rf_real *narrow[RF_BRANCHES]; /**< [tokens, size] in it, before the activation */
    rf_real *z[RF_LINEARS];       /**< outputs before an adapter's out_scale; NULL without */
} rf_block_state;

typedef struct rf_decoder {
    rf_model_config config;
    const rf_grid *grid; /**< borrowed */
    const rf_adapter_kind *kind;
    rf_cut vocab_cut;
    int training;
    int64_t max_tokens, max_samples, max_length, leaves;
    int threads;

    rf_params params;
    rf_block *block; /**< [layers]; owned */
    rf_linear embed, head;
    int64_t embed_row, head_row, norm_row;
    int cut_weights;      /**< weights held as bf16 because a cut would go through blocks */
    int adapted;          /**< modules that carry an adapter */
    rf_adapters adapters; /**< all of them, in model order */

    rf_bf16 *bf16; /**< owned; NULL: products in rf_real */
    rf_bottlenecks bottleneck;
    rf_real *bottleneck_scratch;
    rf_real *dbranch; /**< [tokens, d_model] gradient before a bottleneck */

    int has_masks, measures;
    int is_measuring;              /**< in this pass */
    rf_real *mask_scratch;         /**< sums over token chunks */
    double *squares, *all_squares; /**< [own slices, adapters, 2, tokens], [slices, ...] */
    double *ratio;                 /**< [adapters] see rf_decoder_loss */

    rf_linear_context context;
    rf_collector tp_collector;
    rf_rope_table rope;
    rf_attention_scratch attention;
    rf_attention_pass *slice; /**< [local slices] of the block at work */
    struct rf_cache *cache;   /**< see cache.h: what came before the tokens of this pass; or NULL */
    rf_head_scratch head_scratch;
    rf_block_state *state;       /**< [layers]; owned */
    rf_real *x, *dh, *h_last;    /**< [tokens, d_model] */
    rf_real *h_rows, *rstd_rows; /**< of the labelled rows: [rows, d_model], [rows] */
    rf_real *wide[2];            /**< [tokens, widest cut dimension] */
    rf_real *dk, *dv;            /**< [tokens, local KV width] */
    rf_real *dz;                 /**< [tokens, d_model] of scaled outputs */
    rf_real *norm_scratch;
    rf_real *gradient; /**< base of the trained gradients being written; borrowed */
    double seconds[RF_PHASES];
} rf_decoder;

/** One micro-batch as the model reads it; borrowed arrays. */
typedef struct rf_tokens {
    int64_t tokens, samples;
    const int64_t *begin;      /**< [samples + 1] first row of each sample */
    const int32_t *ids;        /**< [tokens] */
    const int32_t *position;   /**< [tokens] within the sample */
    int64_t rows;              /**< positions that predict a label */
    const int64_t *row;        /**< [rows] */
    const int32_t *target;     /**< [rows] */
    const rf_dropout *dropout; /**< NULL: none */
} rf_tokens;

/**
 * Makes the table of tensors and the blocks. The caller owns *decoder. Local, the same on all
 * ranks; RF_USAGE (targets), RF_RESOURCES.
 */
rf_status rf_decoder_create(rf_decoder **decoder, const rf_grid *grid,
                            const rf_decoder_options *options);
void rf_decoder_destroy(rf_decoder **decoder);

/**
 * Cuts everything out of the arenas: `run` (weights, moments, tables), `step` (activations),
 * `scratch` (working memory). On counting arenas this is the memory plan. Local.
 */
void rf_decoder_layout(rf_decoder *decoder, rf_arena *run, rf_arena *step, rf_arena *scratch);

/** Fills the tables and points the layers at their values, after the layout on real arenas. Local.
 */
void rf_decoder_bind(rf_decoder *decoder);

/** Points the layers' gradients into `base` [params.trained_items]. Local. */
void rf_decoder_bind_gradients(rf_decoder *decoder, rf_real *base);

/**
 * After new base weights and start values of the adapters: what adapters derive from them.
 * is_fresh: tensors that start from the base (magnitudes) are set too. Collective over tp.
 */
void rf_decoder_start_adapters(rf_decoder *decoder, int is_fresh);

/** Does an adapter start by changing the weights it stands beside (lora.init pissa, random)? Local.
 */
int rf_decoder_moves_base(const rf_decoder *decoder);

/**
 * What adapters derive from their trained tensors: due before the passes of a step or of an
 * evaluation, whenever the tensors have changed. Collective over tp.
 */
void rf_decoder_prepare(rf_decoder *decoder);

/** Residual stream of the whole micro-batch through all blocks. Collective over tp. */
void rf_decoder_forward(rf_decoder *decoder, const rf_tokens *tokens);

/**
 * Forward and loss; with gradient != NULL also backward: gradient [trained_items] = d(scale loss),
 * written (padding apart, which stays as it was). With `measures` and a gradient,
 * decoder->ratio [adapters] = sum over tokens of ||s B A x|| / ||W x + b||. Collective over tp.
 */
void rf_decoder_loss(rf_decoder *decoder, const rf_tokens *tokens, rf_real scale,
                     rf_head_result *result, rf_real *gradient);

/**
 * After rf_decoder_forward: logits [count, vocab] of the given token rows, on every rank;
 * count <= RF_HEAD_ROWS. Collective over tp.
 */
void rf_decoder_logits(rf_decoder *decoder, const int64_t *row, int64_t count, rf_real *logits);

/** Floating-point operations a training step must do for these tokens (frozen base): see bench. */
double rf_decoder_mandatory_flops(const rf_decoder *decoder, const rf_tokens *tokens);

#endif
