#include "decoder_parts.h"

#include <string.h>

#include "refract/nn/embedding.h"
#include "refract/nn/mlp.h"
#include "refract/nn/norm.h"

double decoder_lap(rf_decoder *m, rf_phase phase, double start)
{
    const double now = MPI_Wtime();
    m->seconds[phase] += now - start;
    return now;
}

/* KV groups of this rank before a slice. */
static int64_t groups_before(const rf_decoder *m, rf_cut cut, int slice)
{
    return rf_cut_begin(cut, slice) - rf_cut_begin(cut, m->grid->slice_begin);
}

static rf_attention slice_shape(const rf_decoder *m, const rf_tokens *tokens, int64_t groups)
{
    const rf_model_config *c = &m->config;
    const int64_t group = c->heads / c->kv_heads;
    return (rf_attention){.d_head = c->d_head,
                          .kv_heads = groups,
                          .group = group,
                          .window = c->window,
                          .samples = tokens->samples,
                          .q_begin = tokens->begin,
                          .k_begin = tokens->begin,
                          .k_end = tokens->begin + 1,
                          .q_stride = groups * group * c->d_head,
                          .o_stride = groups * group * c->d_head,
                          .kv_stride = groups * c->d_head};
}

int decoder_slices(rf_decoder *m, const rf_tokens *tokens, int64_t layer, const rf_real *d_o,
                   rf_real *dq)
{
    const rf_model_config *c = &m->config;
    const int64_t group = c->heads / c->kv_heads, t = tokens->tokens;
    const rf_block_state *state = &m->state[layer];
    const rf_cut cut = m->block[layer].kv_cut;
    int count = 0;
    for (int slice = m->grid->slice_begin; slice < m->grid->slice_end; slice++) {
        const int64_t groups = rf_cut_size(cut, slice), before = groups_before(m, cut, slice);
        const int64_t q_at = t * before * group * c->d_head, kv_at = t * before * c->d_head;
        if (groups == 0) continue;
        m->slice[count++] = (rf_attention_pass){.shape = slice_shape(m, tokens, groups),
                                                .o = state->o + q_at,
                                                .lse = state->lse + t * before * group,
                                                .q = state->q + q_at,
                                                .k = state->k + kv_at,
                                                .v = state->v + kv_at,
                                                .d_o = d_o ? d_o + q_at : NULL,
                                                .dq = dq ? dq + q_at : NULL,
                                                .dk = dq ? m->dk + kv_at : NULL,
                                                .dv = dq ? m->dv + kv_at : NULL};
    }
    return count;
}

static void attend(rf_decoder *m, const rf_tokens *tokens, int64_t layer)
{
    const rf_block_state *state = &m->state[layer];
    const int count = decoder_slices(m, tokens, layer, NULL, NULL);
    for (int i = 0; i < count; i++) {
        const rf_attention *shape = &m->slice[i].shape;
        rf_rope_forward(state->q + (m->slice[i].q - state->q), shape->q_stride, &m->rope,
                        tokens->position, tokens->tokens, shape->kv_heads * shape->group);
        rf_rope_forward(state->k + (m->slice[i].k - state->k), shape->kv_stride, &m->rope,
                        tokens->position, tokens->tokens, shape->kv_heads);
    }
    decoder_cache_keys(m, tokens, layer, count);
    rf_attention_forward(m->slice, count, &m->attention, &m->context.workspace);
}

rf_linear_pass decoder_pass(const rf_decoder *m, int64_t layer, int kind, rf_real *y)
{
    const rf_block_state *s = &m->state[layer];
    return (rf_linear_pass){
        .linear = &m->block[layer].linear[kind], .y = y, .xs = s->xs[kind], .z = s->z[kind]};
}

/* Layers that share their input, before anything else is done to their outputs. */
static void measure_group(rf_decoder *m, int64_t layer, const rf_linear_pass *group, int count,
                          int64_t tokens)
{
    const rf_block *block = &m->block[layer];
    for (int i = 0; i < count; i++)
        decoder_measure(m, &group[i], block->adapter_index[group[i].linear - block->linear],
                        group[i].y, tokens);
}

static void forward_block(rf_decoder *m, const rf_tokens *tokens, int64_t layer)
{
    const rf_block *block = &m->block[layer];
    rf_block_state *s = &m->state[layer];
    const int64_t t = tokens->tokens;
    double clock = MPI_Wtime();

    const rf_linear_pass qkv[] = {decoder_pass(m, layer, RF_Q, s->q),
                                  decoder_pass(m, layer, RF_K, s->k),
                                  decoder_pass(m, layer, RF_V, s->v)};
    rf_column_forward(&m->context, qkv, 3, m->x, t);
    measure_group(m, layer, qkv, 3, t);
    clock = decoder_lap(m, RF_PHASE_QKV, clock);
    attend(m, tokens, layer);
    clock = decoder_lap(m, RF_PHASE_ATTENTION, clock);
    const rf_linear_pass o = decoder_pass(m, layer, RF_O, NULL);
    const rf_real *heads = decoder_masked_heads(m, layer, t, m->wide[0]);
    const rf_real *branch = rf_row_forward(&m->context, &o, heads, t);
    decoder_measure(m, &o, block->adapter_index[RF_O], branch, t);
    decoder_bottleneck(m, layer, RF_BRANCH_ATTENTION, t);
    clock = decoder_lap(m, RF_PHASE_O, clock);

    rf_rmsnorm_add_forward(m->x, s->rstd_mid, s->h_mid, s->h, branch,
                           decoder_norm(m, block->mlp_norm_row), t, m->config.d_model,
                           m->config.norm_eps);
    clock = decoder_lap(m, RF_PHASE_NORM, clock);
    const rf_linear_pass gate_up[] = {decoder_pass(m, layer, RF_GATE, s->gate),
                                      decoder_pass(m, layer, RF_UP, s->up)};
    rf_column_forward(&m->context, gate_up, 2, m->x, t);
    measure_group(m, layer, gate_up, 2, t);
    clock = decoder_lap(m, RF_PHASE_GATE_UP, clock);
    rf_swiglu_forward(m->wide[0], s->gate, s->up, t * decoder_ff_width(m, layer));
    decoder_mask_neurons(m, layer, t, m->wide[0]);
    clock = decoder_lap(m, RF_PHASE_SWIGLU, clock);
    const rf_linear_pass down = decoder_pass(m, layer, RF_DOWN, NULL);
    branch = rf_row_forward(&m->context, &down, m->wide[0], t);
    decoder_measure(m, &down, block->adapter_index[RF_DOWN], branch, t);
    decoder_bottleneck(m, layer, RF_BRANCH_MLP, t);
    decoder_lap(m, RF_PHASE_DOWN, clock);
}

void rf_decoder_forward(rf_decoder *m, const rf_tokens *tokens)
{
    const int64_t t = tokens->tokens, d = m->config.d_model;
    RF_ASSERT(t <= m->max_tokens && tokens->samples <= m->max_samples,
              "%lld tokens in %lld samples", (long long)t, (long long)tokens->samples);
    m->context.dropout = tokens->dropout;
    if (!m->cache) m->context.by_row = 0;
    double clock = MPI_Wtime();
    rf_embedding_forward(&m->context, &m->embed, m->state[0].h, tokens->ids, t);
    clock = decoder_lap(m, RF_PHASE_EMBED, clock);
    rf_rmsnorm_forward(m->x, m->state[0].rstd, m->state[0].h,
                       decoder_norm(m, m->block[0].attention_norm_row), t, d, m->config.norm_eps);
    decoder_lap(m, RF_PHASE_NORM, clock);
    for (int64_t layer = 0; layer < m->config.layers; layer++) {
        forward_block(m, tokens, layer);
        if (layer + 1 == m->config.layers) break;
        clock = MPI_Wtime();
        rf_block_state *next = &m->state[layer + 1];
        rf_rmsnorm_add_forward(
            m->x, next->rstd, next->h, m->state[layer].h_mid, m->context.exchange,
            decoder_norm(m, m->block[layer + 1].attention_norm_row), t, d, m->config.norm_eps);
        decoder_lap(m, RF_PHASE_NORM, clock);
    }
    const rf_real *h_mid = m->state[m->config.layers - 1].h_mid, *branch = m->context.exchange;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < t * d; i++) m->h_last[i] = h_mid[i] + branch[i];
}

/* Normed hidden states of the given rows in m->x; their unnormed ones in m->h_rows. */
static void norm_rows(rf_decoder *m, const int64_t *row, int64_t count)
{
    const int64_t d = m->config.d_model;
    for (int64_t i = 0; i < count; i++)
        memcpy(m->h_rows + i * d, m->h_last + row[i] * d, (size_t)d * sizeof(rf_real));
    rf_rmsnorm_forward(m->x, m->rstd_rows, m->h_rows, decoder_norm(m, m->norm_row), count, d,
                       m->config.norm_eps);
}

void rf_decoder_logits(rf_decoder *m, const int64_t *row, int64_t count, rf_real *logits)
{
    norm_rows(m, row, count);
    rf_head_logits(&m->context, &m->head, &m->head_scratch, logits, m->x, count);
}

/* dh [tokens, d_model] from the gradient dx of the normed rows. */
static void spread_rows(rf_decoder *m, const rf_tokens *tokens, const rf_real *dx)
{
    const int64_t d = m->config.d_model;
    rf_real *dw = decoder_norm_gradient(m, m->norm_row);
    if (dw)
        rf_rmsnorm_backward_weight(dw, dx, m->h_rows, m->rstd_rows, tokens->rows, d,
                                   m->norm_scratch);
    rf_rmsnorm_backward(m->h_rows, NULL, dx, m->h_rows, m->rstd_rows, decoder_norm(m, m->norm_row),
                        tokens->rows, d);
    memset(m->dh, 0, (size_t)(tokens->tokens * d) * sizeof(rf_real));
    for (int64_t i = 0; i < tokens->rows; i++)
        memcpy(m->dh + tokens->row[i] * d, m->h_rows + i * d, (size_t)d * sizeof(rf_real));
}

void rf_decoder_loss(rf_decoder *m, const rf_tokens *tokens, rf_real scale, rf_head_result *result,
                     rf_real *gradient)
{
    if (gradient) rf_decoder_bind_gradients(m, gradient);
    m->is_measuring = m->measures && gradient;
    rf_decoder_forward(m, tokens);
    decoder_sum_ratios(m, tokens->tokens);
    m->is_measuring = 0;
    double clock = MPI_Wtime();
    norm_rows(m, tokens->row, tokens->rows);
    rf_head_loss(&m->context, &m->head, &m->head_scratch, result, m->x, tokens->target,
                 tokens->rows, scale, gradient ? m->x : NULL);
    if (!gradient) {
        decoder_lap(m, RF_PHASE_HEAD, clock);
        return;
    }
    spread_rows(m, tokens, m->x);
    decoder_lap(m, RF_PHASE_HEAD, clock);
    decoder_backward(m, tokens);
    rf_adapters_finish(&m->adapters);
}
