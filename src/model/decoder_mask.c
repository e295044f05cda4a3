/* Trained masks on heads and neurons, and how much adapters say beside their layers. */
#include <stdio.h>
#include <string.h>

#include "decoder_parts.h"
#include "refract/nn/mask.h"
#include "refract/nn/ratio.h"

static int64_t add_mask(rf_decoder *m, int64_t layer, const char *name, rf_cut cut)
{
    char full[RF_NAME_BYTES];
    const rf_shape shape = {cut.units * cut.unit, 1, RF_ROWS, cut};
    snprintf(full, sizeof full, "model.layers.%lld.%s", (long long)layer, name);
    const int64_t row = rf_params_add(&m->params, m->grid, full, shape, RF_DTYPE_REAL, 1,
                                      (rf_init){RF_INIT_ONE, 0});
    if (row < 0) return row;
    rf_param *param = &m->params.row[row];
    param->adapter = param->internal = 1;
    snprintf(param->path, sizeof param->path, "/mask/%s", full);
    return row;
}

rf_status decoder_add_masks(rf_decoder *m)
{
    for (int64_t layer = 0; layer < m->config.layers; layer++) {
        rf_block *block = &m->block[layer];
        rf_cut heads = block->kv_cut;
        heads.unit = m->config.heads / m->config.kv_heads;
        block->head_mask_row = add_mask(m, layer, "self_attn.head_mask", heads);
        block->neuron_mask_row = add_mask(m, layer, "mlp.neuron_mask", block->ff_cut);
        if (block->head_mask_row < 0 || block->neuron_mask_row < 0)
            return rf_fail(RF_RESOURCES, "no memory for the table of masks");
    }
    return RF_OK;
}

void decoder_mask_layout(rf_decoder *m, rf_arena *run, rf_arena *scratch)
{
    const int64_t own = m->grid->slice_end - m->grid->slice_begin;
    if (m->has_masks && m->training)
        m->mask_scratch =
            RF_TAKE(scratch, rf_real,
                    rf_mask_scratch(m->max_tokens, decoder_most(m, decoder_ff_width) +
                                                       decoder_most(m, decoder_q_width)));
    if (!m->measures) return;
    m->ratio = RF_TAKE(run, double, m->adapted);
    m->squares = RF_TAKE(scratch, double, own * m->adapted * 2 * m->max_tokens);
    m->all_squares = RF_TAKE(scratch, double, m->grid->slices * m->adapted * 2 * m->max_tokens);
}

int64_t decoder_measure_items(const rf_decoder *m)
{
    int64_t most = 0;
    for (int64_t i = 0; m->measures && i < m->config.layers * RF_LINEARS; i++) {
        const int64_t items = rf_ratio_items(&m->block[i / RF_LINEARS].linear[i % RF_LINEARS]);
        if (items > most) most = items;
    }
    return most;
}

/* The mask of one slice: of heads (unit d_head) or neurons (unit 1). */
static rf_mask_pass slice_mask(const rf_decoder *m, int64_t row, int64_t unit, int64_t tokens,
                               int slice, int64_t *before)
{
    const rf_param *param = &m->params.row[row];
    const int64_t at = rf_slice_offset(&param->shape, m->grid->slice_begin, slice);
    rf_real *gradient = decoder_gradient(m, row);
    *before = tokens * at * unit;
    return (rf_mask_pass){.mask = (const rf_real *)param->data + at,
                          .dmask = gradient ? gradient + at : NULL,
                          .count = rf_slice_rows(&param->shape, slice),
                          .unit = unit,
                          .tokens = tokens};
}

static void mask_slices(const rf_decoder *m, int64_t row, int64_t unit, int64_t tokens, rf_real *y,
                        const rf_real *x)
{
    for (int s = m->grid->slice_begin; s < m->grid->slice_end; s++) {
        int64_t at = 0;
        const rf_mask_pass pass = slice_mask(m, row, unit, tokens, s, &at);
        rf_mask_forward(&pass, y + at, x + at);
    }
}

static void mask_slices_backward(const rf_decoder *m, int64_t row, int64_t unit, int64_t tokens,
                                 rf_real *dy, const rf_real *x)
{
    for (int s = m->grid->slice_begin; s < m->grid->slice_end; s++) {
        int64_t at = 0;
        const rf_mask_pass pass = slice_mask(m, row, unit, tokens, s, &at);
        rf_mask_backward(&pass, dy + at, x + at, m->mask_scratch);
    }
}

const rf_real *decoder_masked_heads(const rf_decoder *m, int64_t layer, int64_t tokens, rf_real *y)
{
    const rf_real *o = m->state[layer].o;
    if (!m->has_masks) return o;
    mask_slices(m, m->block[layer].head_mask_row, m->config.d_head, tokens, y, o);
    return y;
}

void decoder_mask_heads_backward(const rf_decoder *m, int64_t layer, int64_t tokens, rf_real *d_o)
{
    if (m->has_masks)
        mask_slices_backward(m, m->block[layer].head_mask_row, m->config.d_head, tokens, d_o,
                             m->state[layer].o);
}

void decoder_mask_neurons(const rf_decoder *m, int64_t layer, int64_t tokens, rf_real *act)
{
    if (m->has_masks) mask_slices(m, m->block[layer].neuron_mask_row, 1, tokens, act, act);
}

void decoder_mask_neurons_backward(const rf_decoder *m, int64_t layer, int64_t tokens,
                                   rf_real *dact, const rf_real *act)
{
    if (m->has_masks)
        mask_slices_backward(m, m->block[layer].neuron_mask_row, 1, tokens, dact, act);
}

void decoder_measure(rf_decoder *m, const rf_linear_pass *pass, int64_t index, const rf_real *y,
                     int64_t tokens)
{
    if (!m->is_measuring || !pass->linear->lowrank) return;
    rf_ratio_squares(&m->context, pass, y, tokens, m->squares + index * 2 * tokens,
                     m->adapted * 2 * tokens);
}

void decoder_sum_ratios(rf_decoder *m, int64_t tokens)
{
    if (!m->is_measuring) return;
    rf_collect_sum_wide(&m->tp_collector, m->all_squares, m->squares, m->adapted * 2 * tokens,
                        m->grid->slices);
    for (int64_t i = 0; i < m->adapted; i++)
        m->ratio[i] = rf_ratio_sum(m->all_squares + i * 2 * tokens, tokens);
}
