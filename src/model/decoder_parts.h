/* What the sources of the decoder share; private to layer model. */
#ifndef RF_MODEL_DECODER_PARTS_H
#define RF_MODEL_DECODER_PARTS_H

#include <mpi.h>

#include "refract/model/decoder.h"

/* Local widths of a layer's cut activations, and the largest of all layers. */
int64_t decoder_q_width(const rf_decoder *m, int64_t layer);
int64_t decoder_kv_width(const rf_decoder *m, int64_t layer);
int64_t decoder_ff_width(const rf_decoder *m, int64_t layer);
int64_t decoder_most(const rf_decoder *m, int64_t (*width)(const rf_decoder *m, int64_t layer));

/* Values of a norm's weight, and its gradient (NULL when frozen). */
const rf_real *decoder_norm(const rf_decoder *m, int64_t row);
rf_real *decoder_norm_gradient(const rf_decoder *m, int64_t row);

/* Fills m->slice with the local slices of a layer that hold heads: masks, strides, arrays; d_o and
 * dq are NULL in the forward pass. Returns their number. */
int decoder_slices(rf_decoder *m, const rf_tokens *tokens, int64_t layer, const rf_real *d_o,
                   rf_real *dq);

/* With a cache: takes the keys and values of `count` slices into it and points these there. */
void decoder_cache_keys(rf_decoder *m, const rf_tokens *tokens, int64_t layer, int count);

/* A layer's pass with what it keeps of this micro-batch; y: of a column-parallel one. */
rf_linear_pass decoder_pass(const rf_decoder *m, int64_t layer, int kind, rf_real *y);

/* Adds the time since `start` to a phase and returns the time now. */
double decoder_lap(rf_decoder *m, rf_phase phase, double start);

/* Lists a module's adapter in m->adapters. */
rf_status decoder_add_adapter(rf_decoder *m, rf_block *block, int kind);
/* Points a module's adapter at its tensors. */
void decoder_bind_adapter(rf_decoder *m, rf_block *block, int kind);

/* Gradient of a row of the table, NULL when it is frozen or none is wanted. */
rf_real *decoder_gradient(const rf_decoder *m, int64_t row);

/* Trained masks on heads (the attention's output) and neurons (silu(gate) up): rows of the table,
 * memory, and their passes, which without masks leave everything as it is. */
rf_status decoder_add_masks(rf_decoder *m);
void decoder_mask_layout(rf_decoder *m, rf_arena *run, rf_arena *scratch);
/* The layer's attention output times its mask, in y; without masks as it lies. */
const rf_real *decoder_masked_heads(const rf_decoder *m, int64_t layer, int64_t tokens, rf_real *y);
void decoder_mask_heads_backward(const rf_decoder *m, int64_t layer, int64_t tokens, rf_real *d_o);
void decoder_mask_neurons(const rf_decoder *m, int64_t layer, int64_t tokens, rf_real *act);
void decoder_mask_neurons_backward(const rf_decoder *m, int64_t layer, int64_t tokens,
                                   rf_real *dact, const rf_real *act);

/* Bottlenecks: rows of the table, what a block keeps, memory; the branch in the exchange buffer
 * goes through that of its layer; gradient of the branch as it came, from dh. All leave things as
 * they are where none stands. */
rf_status decoder_add_bottlenecks(rf_decoder *m);
void decoder_bottleneck_state(const rf_decoder *m, rf_block_state *state, rf_arena *step);
void decoder_bottleneck_layout(rf_decoder *m, rf_arena *scratch);
void decoder_bottleneck(rf_decoder *m, int64_t layer, int branch, int64_t tokens);
const rf_real *decoder_bottleneck_backward(rf_decoder *m, int64_t layer, int branch,
                                           int64_t tokens);

/* Norms of a layer's output y and of its adapter's part; then the sums of their ratios. */
void decoder_measure(rf_decoder *m, const rf_linear_pass *pass, int64_t index, const rf_real *y,
                     int64_t tokens);
void decoder_sum_ratios(rf_decoder *m, int64_t tokens);
/* Reals of its workspace that each thread needs for it. */
int64_t decoder_measure_items(const rf_decoder *m);

/* Backward through all blocks and the embedding, from dh = gradient of the last residual stream. */
void decoder_backward(rf_decoder *m, const rf_tokens *tokens);

#endif
