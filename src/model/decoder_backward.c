#include "decoder_parts.h"

#include <string.h>

#include "refract/nn/embedding.h"
#include "refract/nn/mlp.h"
#include "refract/nn/norm.h"

/* dh <- dh + backward of h -> norm -> dx; the norm's weight too when it is trained. */
static void backward_norm(rf_decoder *m, int64_t row, const rf_real *dx, const rf_real *h,
                          const rf_real *rstd, int64_t tokens)
{
    const int64_t d = m->config.d_model;
    rf_real *dw = decoder_norm_gradient(m, row);
    if (dw) rf_rmsnorm_backward_weight(dw, dx, h, rstd, tokens, d, m->norm_scratch);
    rf_rmsnorm_backward(m->dh, m->dh, dx, h, rstd, decoder_norm(m, row), tokens, d);
}

/* The input of a norm's layers again: cheaper to make than to keep. */
static void renorm(rf_decoder *m, int64_t row, const rf_real *h, rf_real *rstd, int64_t tokens)
{
    rf_rmsnorm_forward(m->x, rstd, h, decoder_norm(m, row), tokens, m->config.d_model,
                       m->config.norm_eps);
}

/* The gradient of a column-parallel layer's output is done with: it may be scaled where it lies. */
static rf_linear_pass pass_back(const rf_decoder *m, int64_t layer, int kind, const rf_real *dy,
                                rf_real *dz)
{
    rf_linear_pass pass = decoder_pass(m, layer, kind, NULL);
    pass.dy = dy;
    pass.dz = dz;
    return pass;
}

static void backward_mlp(rf_decoder *m, const rf_tokens *tokens, int64_t layer)
{
    const rf_block *block = &m->block[layer];
    rf_block_state *s = &m->state[layer];
    const int64_t t = tokens->tokens, items = t * decoder_ff_width(m, layer);
    rf_real *act = m->wide[0], *dact = m->wide[1];
    double clock = MPI_Wtime();

    rf_swiglu_forward(act, s->gate, s->up, items);
    decoder_mask_neurons(m, layer, t, act);
    clock = decoder_lap(m, RF_PHASE_SWIGLU, clock);
    const rf_real *dy = decoder_bottleneck_backward(m, layer, RF_BRANCH_MLP, t);
    const rf_linear_pass down = pass_back(m, layer, RF_DOWN, dy, m->dz);
    rf_row_backward(&m->context, &down, dact, act, t);
    clock = decoder_lap(m, RF_PHASE_DOWN, clock);
    if (m->has_masks) {
        rf_swiglu_forward(act, s->gate, s->up, items);
        decoder_mask_neurons_backward(m, layer, t, dact, act);
    }
    rf_real *dgate = act, *dup = dact;
    rf_swiglu_backward(dgate, dup, dact, s->gate, s->up, items);
    clock = decoder_lap(m, RF_PHASE_SWIGLU, clock);
    renorm(m, block->mlp_norm_row, s->h_mid, s->rstd_mid, t);
    clock = decoder_lap(m, RF_PHASE_NORM, clock);
    const rf_linear_pass gate_up[] = {pass_back(m, layer, RF_GATE, dgate, dgate),
                                      pass_back(m, layer, RF_UP, dup, dup)};
    const rf_real *dx = rf_column_backward(&m->context, gate_up, 2, m->x, t);
    clock = decoder_lap(m, RF_PHASE_GATE_UP, clock);
    backward_norm(m, block->mlp_norm_row, dx, s->h_mid, s->rstd_mid, t);
    decoder_lap(m, RF_PHASE_NORM, clock);
}

/* dq, dk, dv of all local slices, before the rotation. */
static void backward_attend(rf_decoder *m, const rf_tokens *tokens, int64_t layer, rf_real *dq,
                            const rf_real *d_o)
{
    const int count = decoder_slices(m, tokens, layer, d_o, dq);
    rf_attention_backward(m->slice, count, &m->attention, &m->context.workspace);
    for (int i = 0; i < count; i++) {
        const rf_attention *shape = &m->slice[i].shape;
        rf_rope_backward(m->slice[i].dq, shape->q_stride, &m->rope, tokens->position,
                         tokens->tokens, shape->kv_heads * shape->group);
        rf_rope_backward(m->slice[i].dk, shape->kv_stride, &m->rope, tokens->position,
                         tokens->tokens, shape->kv_heads);
    }
}

static void backward_attention(rf_decoder *m, const rf_tokens *tokens, int64_t layer)
{
    const rf_block *block = &m->block[layer];
    rf_block_state *s = &m->state[layer];
    const int64_t t = tokens->tokens;
    rf_real *d_o = m->wide[0], *dq = m->wide[1];
    double clock = MPI_Wtime();

    const rf_real *dy = decoder_bottleneck_backward(m, layer, RF_BRANCH_ATTENTION, t);
    const rf_linear_pass o = pass_back(m, layer, RF_O, dy, m->dz);
    rf_row_backward(&m->context, &o, d_o, decoder_masked_heads(m, layer, t, dq), t);
    decoder_mask_heads_backward(m, layer, t, d_o);
    clock = decoder_lap(m, RF_PHASE_O, clock);
    backward_attend(m, tokens, layer, dq, d_o);
    clock = decoder_lap(m, RF_PHASE_ATTENTION, clock);
    renorm(m, block->attention_norm_row, s->h, s->rstd, t);
    clock = decoder_lap(m, RF_PHASE_NORM, clock);
    const rf_linear_pass qkv[] = {pass_back(m, layer, RF_Q, dq, dq),
                                  pass_back(m, layer, RF_K, m->dk, m->dk),
                                  pass_back(m, layer, RF_V, m->dv, m->dv)};
    const rf_real *dx = rf_column_backward(&m->context, qkv, 3, m->x, t);
    clock = decoder_lap(m, RF_PHASE_QKV, clock);
    backward_norm(m, block->attention_norm_row, dx, s->h, s->rstd, t);
    decoder_lap(m, RF_PHASE_NORM, clock);
}

void decoder_backward(rf_decoder *m, const rf_tokens *tokens)
{
    for (int64_t layer = m->config.layers - 1; layer >= 0; layer--) {
        backward_mlp(m, tokens, layer);
        backward_attention(m, tokens, layer);
    }
    if (!m->embed.dw) return;
    const double clock = MPI_Wtime();
    if (m->embed_row != m->head_row)
        memset(m->embed.dw, 0, (size_t)m->params.row[m->embed_row].items * sizeof(rf_real));
    rf_embedding_backward(&m->context, &m->embed, m->dh, tokens->ids, tokens->tokens);
    decoder_lap(m, RF_PHASE_EMBED, clock);
}

/* Products with frozen weights: 2 flops forward, 2 for the input gradient; attention: two products
 * forward and five backward (the scores once more), on the visible pairs. */
double rf_decoder_mandatory_flops(const rf_decoder *m, const rf_tokens *tokens)
{
    const rf_model_config *c = &m->config;
    double linear = 0, heads = 0, pairs = 0;
    for (int64_t i = 0; i < c->layers * RF_LINEARS; i++) {
        const rf_shape *shape = &m->block[i / RF_LINEARS].linear[i % RF_LINEARS].shape;
        linear += (double)(shape->rows * shape->cols);
        if (i % RF_LINEARS == RF_Q) heads += (double)shape->rows;
    }
    for (int64_t s = 0; s < tokens->samples; s++) {
        const double n = (double)(tokens->begin[s + 1] - tokens->begin[s]);
        const double w = c->window > 0 && (double)c->window < n ? (double)c->window : n;
        pairs += w * (w + 1) / 2 + (n - w) * w;
    }
    return 4 * linear * (double)tokens->tokens + 14 * pairs * heads +
           4 * (double)(c->vocab * c->d_model) * (double)tokens->rows;
}
