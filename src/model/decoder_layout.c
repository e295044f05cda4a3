/* Memory of a decoder, and the pointers of its layers. */
#include "decoder_parts.h"

int64_t decoder_q_width(const rf_decoder *m, int64_t layer)
{
    return rf_linear_width(&m->block[layer].linear[RF_Q], m->grid);
}

int64_t decoder_kv_width(const rf_decoder *m, int64_t layer)
{
    return rf_linear_width(&m->block[layer].linear[RF_K], m->grid);
}

int64_t decoder_ff_width(const rf_decoder *m, int64_t layer)
{
    return rf_linear_width(&m->block[layer].linear[RF_GATE], m->grid);
}

int64_t decoder_most(const rf_decoder *m, int64_t (*width)(const rf_decoder *m, int64_t layer))
{
    int64_t most = 0;
    for (int64_t layer = 0; layer < m->config.layers; layer++)
        if (width(m, layer) > most) most = width(m, layer);
    return most;
}

/* Rank columns that ride along with the widest reduction of a block. */
static int64_t riding_ranks(const rf_decoder *m)
{
    int64_t most = 0;
    for (int64_t layer = 0; layer < m->config.layers; layer++) {
        const rf_block *block = &m->block[layer];
        int64_t r[RF_LINEARS] = {0};
        for (int kind = 0; kind < RF_LINEARS; kind++)
            if (block->adapter_row[kind] >= 0) r[kind] = block->adapter[kind].r;
        const int64_t sums[] = {r[RF_Q] + r[RF_K] + r[RF_V], r[RF_O], r[RF_GATE] + r[RF_UP],
                                r[RF_DOWN]};
        for (int i = 0; i < 4; i++)
            if (sums[i] > most) most = sums[i];
    }
    return most;
}

static int64_t thread_items(const rf_decoder *m)
{
    const int64_t group = m->config.heads / m->config.kv_heads;
    int64_t most = rf_attention_items(group, m->config.d_head);
    const int64_t head = rf_linear_scratch(&m->head, m->grid, m->bf16 != NULL);
    if (head > most) most = head;
    for (int64_t i = 0; i < m->config.layers * RF_LINEARS; i++) { /* each as it is held */
        const rf_linear *linear = &m->block[i / RF_LINEARS].linear[i % RF_LINEARS];
        const int64_t items = rf_linear_scratch(linear, m->grid, m->bf16 != NULL);
        if (items > most) most = items;
    }
    const int64_t adapter = rf_adapters_scratch(&m->adapters), measure = decoder_measure_items(m);
    if (measure > most) most = measure;
    return adapter > most ? adapter : most;
}

/* Items of the widest operand that is rounded to bf16. */
static int64_t rounded_items(const rf_decoder *m)
{
    static const struct {
        int first, count;
    } group[] = {{RF_Q, 3}, {RF_O, 1}, {RF_GATE, 2}, {RF_DOWN, 1}};
    int64_t most = rf_linear_rounded(&m->head, 1, m->grid, RF_HEAD_ROWS);
    for (int64_t i = 0; i < 4 * m->config.layers; i++) {
        const int64_t items = rf_linear_rounded(&m->block[i / 4].linear[group[i % 4].first],
                                                group[i % 4].count, m->grid, m->max_tokens);
        if (items > most) most = items;
    }
    return most;
}

static int scales_output(const rf_decoder *m)
{
    return m->kind && m->kind->scales_output;
}

/* Columns of a layer's output on this rank. */
static int64_t output_width(const rf_decoder *m, const rf_linear *linear)
{
    return linear->shape.split == RF_ROWS ? rf_linear_width(linear, m->grid) : linear->shape.rows;
}

/* A layer's own width when its state is kept, the largest one when all layers share one state. */
static int64_t state_width(const rf_decoder *m, int64_t layer,
                           int64_t (*width)(const rf_decoder *m, int64_t layer))
{
    return m->training ? width(m, layer) : decoder_most(m, width);
}

/* Evaluation keeps one block's state and writes over it. */
static void state_layout(rf_decoder *m, rf_arena *step)
{
    const int64_t tokens = m->max_tokens, d = m->config.d_model;
    for (int64_t layer = 0; layer < m->config.layers; layer++) {
        rf_block_state *state = &m->state[layer];
        if (layer > 0 && !m->training) {
            *state = m->state[0];
            continue;
        }
        const int64_t q = state_width(m, layer, decoder_q_width);
        const int64_t kv = state_width(m, layer, decoder_kv_width);
        const int64_t ff = state_width(m, layer, decoder_ff_width);
        state->h = RF_TAKE(step, rf_real, tokens * d);
        state->h_mid = RF_TAKE(step, rf_real, tokens * d);
        state->rstd = RF_TAKE(step, rf_real, tokens);
        state->rstd_mid = RF_TAKE(step, rf_real, tokens);
        state->q = RF_TAKE(step, rf_real, tokens * q);
        state->k = RF_TAKE(step, rf_real, tokens * kv);
        state->v = RF_TAKE(step, rf_real, tokens * kv);
        state->o = RF_TAKE(step, rf_real, tokens * q);
        state->lse = RF_TAKE(step, rf_real, tokens * (q / m->config.d_head));
        state->gate = RF_TAKE(step, rf_real, tokens * ff);
        state->up = RF_TAKE(step, rf_real, tokens * ff);
        decoder_bottleneck_state(m, state, step);
        for (int kind = 0; kind < RF_LINEARS; kind++) {
            int64_t r = 0;
            for (int64_t l = layer; l < (m->training ? layer + 1 : m->config.layers); l++)
                if (m->block[l].adapter_row[kind] >= 0 && m->block[l].adapter[kind].r > r)
                    r = m->block[l].adapter[kind].r;
            state->xs[kind] = RF_TAKE(step, rf_real, tokens * r);
            if (scales_output(m) && m->training && m->block[layer].adapter_row[kind] >= 0)
                state->z[kind] =
                    RF_TAKE(step, rf_real, tokens * output_width(m, &m->block[layer].linear[kind]));
        }
    }
}

static void scratch_layout(rf_decoder *m, rf_arena *scratch)
{
    const int64_t tokens = m->max_tokens, d = m->config.d_model;
    const int64_t q = decoder_most(m, decoder_q_width), ff = decoder_most(m, decoder_ff_width);
    const int64_t kv = decoder_most(m, decoder_kv_width), kv_heads = kv / m->config.d_head;
    m->x = RF_TAKE(scratch, rf_real, tokens * d);
    m->h_last = RF_TAKE(scratch, rf_real, tokens * d);
    m->h_rows = RF_TAKE(scratch, rf_real, tokens * d);
    m->rstd_rows = RF_TAKE(scratch, rf_real, tokens);
    for (int i = 0; i < 2; i++) m->wide[i] = RF_TAKE(scratch, rf_real, tokens * (q > ff ? q : ff));
    if (m->training) {
        m->dh = RF_TAKE(scratch, rf_real, tokens * d);
        m->dk = RF_TAKE(scratch, rf_real, tokens * kv);
        m->dv = RF_TAKE(scratch, rf_real, tokens * kv);
        if (scales_output(m)) m->dz = RF_TAKE(scratch, rf_real, tokens * d);
        m->norm_scratch = RF_TAKE(scratch, rf_real, rf_token_chunks(tokens) * d);
    }
    const int64_t exchange = tokens * (d + riding_ranks(m));
    m->context.exchange = RF_TAKE(scratch, rf_real, exchange);
    m->context.exchange_scratch =
        RF_TAKE(scratch, rf_real, rf_collect_scratch(&m->tp_collector, exchange, m->grid->slices));
    if (m->bf16) m->context.rounded = RF_TAKE(scratch, uint16_t, rounded_items(m));
    rf_workspace_layout(&m->context.workspace, scratch, m->threads, thread_items(m));
    rf_head_scratch_layout(&m->head_scratch, scratch, &m->head, m->grid);
    rf_attention_scratch_layout(&m->attention, scratch, kv_heads,
                                m->config.heads / m->config.kv_heads, tokens, m->max_samples);
    m->attention.bf16 = m->bf16;
}

void rf_decoder_layout(rf_decoder *m, rf_arena *run, rf_arena *step, rf_arena *scratch)
{
    rf_params_layout(&m->params, run, m->training);
    rf_rope_table_layout(&m->rope, run, m->max_length, m->config.d_head);
    rf_collector_layout_as(&m->tp_collector, run, m->grid->tp, m->grid->tp_rank, m->grid->tp_size,
                           m->grid->slices);
    m->slice = RF_TAKE(run, rf_attention_pass, m->grid->slice_end - m->grid->slice_begin);
    m->adapters.grid = m->grid;
    m->adapters.collector = &m->tp_collector;
    m->adapters.workspace = &m->context.workspace;
    rf_adapters_layout(&m->adapters, run);
    m->context.grid = m->grid;
    m->context.bf16 = m->bf16;
    m->context.collector = &m->tp_collector;
    state_layout(m, step);
    scratch_layout(m, scratch);
    decoder_bottleneck_layout(m, scratch);
    decoder_mask_layout(m, run, scratch);
}

static void bind_block(rf_decoder *m, rf_block *block)
{
    for (int kind = 0; kind < RF_LINEARS; kind++) {
        rf_linear *linear = &block->linear[kind];
        linear->w = m->params.row[block->weight_row[kind]].data;
        if (block->bias_row[kind] >= 0) linear->bias = m->params.row[block->bias_row[kind]].data;
    }
}

void rf_decoder_bind(rf_decoder *m)
{
    rf_rope_table_fill(&m->rope, &m->config.rope);
    for (int64_t layer = 0; layer < m->config.layers; layer++) bind_block(m, &m->block[layer]);
    m->embed.w = m->params.row[m->embed_row].data;
    m->head.w = m->params.row[m->head_row].data;
    rf_decoder_bind_gradients(m, NULL);
}

rf_real *decoder_gradient(const rf_decoder *m, int64_t row)
{
    if (row < 0 || !m->gradient || !m->params.row[row].trained) return NULL;
    return m->gradient + m->params.row[row].offset;
}

void rf_decoder_bind_gradients(rf_decoder *m, rf_real *base)
{
    m->gradient = base;
    for (int64_t layer = 0; layer < m->config.layers; layer++) {
        rf_block *block = &m->block[layer];
        for (int kind = 0; kind < RF_LINEARS; kind++) {
            block->linear[kind].dw = decoder_gradient(m, block->weight_row[kind]);
            block->linear[kind].dbias = decoder_gradient(m, block->bias_row[kind]);
            decoder_bind_adapter(m, block, kind);
        }
    }
    m->embed.dw = decoder_gradient(m, m->embed_row);
    m->head.dw = decoder_gradient(m, m->head_row);
}

const rf_real *decoder_norm(const rf_decoder *m, int64_t row)
{
    return m->params.row[row].data;
}

rf_real *decoder_norm_gradient(const rf_decoder *m, int64_t row)
{
    return decoder_gradient(m, row);
}
