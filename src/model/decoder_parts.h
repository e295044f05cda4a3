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

/* Backward through all blocks and the embedding, from dh = gradient of the last residual stream. */
void decoder_backward(rf_decoder *m, const rf_tokens *tokens);

#endif
