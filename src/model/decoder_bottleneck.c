/* Bottleneck adapters of the decoder: rows of the table, memory, and their passes. */
#include <stdio.h>

#include "decoder_parts.h"

static const char *const modules[RF_BRANCHES] = {"self_attn", "mlp"};

static int stands(const rf_decoder *m, int branch)
{
    return m->bottleneck.size > 0 && m->bottleneck.behind[branch];
}

enum { DOWN, DOWN_BIAS, UP, UP_BIAS, TENSORS };

/* D starts small, U and both biases at 0: the model starts as it was. */
static int64_t add_one(rf_decoder *m, int64_t layer, int branch)
{
    const int64_t d = m->config.d_model, size = m->bottleneck.size;
    const struct {
        const char *name, *field;
        rf_shape shape;
        rf_init init;
    } tensors[TENSORS] = {
        {"down.weight", "down", rf_shape_replicated(size, d), {RF_INIT_NORMAL, 0.02}},
        {"down.bias", "down_bias", rf_shape_replicated(size, 1), {RF_INIT_ZERO, 0}},
        {"up.weight", "up", rf_shape_replicated(d, size), {RF_INIT_ZERO, 0}},
        {"up.bias", "up_bias", rf_shape_replicated(d, 1), {RF_INIT_ZERO, 0}}};
    int64_t first = -1;
    for (int i = 0; i < TENSORS; i++) {
        char name[RF_NAME_BYTES];
        snprintf(name, sizeof name, "model.layers.%lld.%s.bottleneck.%s", (long long)layer,
                 modules[branch], tensors[i].name);
        const int64_t row = rf_params_add(&m->params, m->grid, name, tensors[i].shape,
                                          RF_DTYPE_REAL, 1, tensors[i].init);
        if (row < 0) return -1;
        rf_param *param = &m->params.row[row];
        param->adapter = param->internal = 1;
        snprintf(param->path, sizeof param->path, "/adapter/model.layers.%lld.%s/%s",
                 (long long)layer, modules[branch], tensors[i].field);
        if (i == 0) first = row;
    }
    return first;
}

rf_status decoder_add_bottlenecks(rf_decoder *m)
{
    for (int64_t layer = 0; layer < m->config.layers; layer++)
        for (int branch = 0; branch < RF_BRANCHES; branch++) {
            int64_t *row = &m->block[layer].bottleneck_row[branch];
            if (!stands(m, branch)) continue;
            *row = add_one(m, layer, branch);
            if (*row < 0) return rf_fail(RF_RESOURCES, "no memory for the table of bottlenecks");
        }
    return RF_OK;
}

void decoder_bottleneck_state(const rf_decoder *m, rf_block_state *state, rf_arena *step)
{
    for (int branch = 0; branch < RF_BRANCHES; branch++) {
        if (!stands(m, branch)) continue;
        state->branch[branch] = RF_TAKE(step, rf_real, m->max_tokens * m->config.d_model);
        state->narrow[branch] = RF_TAKE(step, rf_real, m->max_tokens * m->bottleneck.size);
    }
}

void decoder_bottleneck_layout(rf_decoder *m, rf_arena *scratch)
{
    if (m->bottleneck.size == 0) return;
    m->bottleneck_scratch =
        RF_TAKE(scratch, rf_real,
                rf_bottleneck_scratch(m->config.d_model, m->bottleneck.size, m->max_tokens));
    if (m->training) m->dbranch = RF_TAKE(scratch, rf_real, m->max_tokens * m->config.d_model);
}

static rf_bottleneck bound(const rf_decoder *m, int64_t layer, int branch)
{
    const int64_t first = m->block[layer].bottleneck_row[branch];
    const rf_param *row = &m->params.row[first];
    return (rf_bottleneck){.d = m->config.d_model,
                           .size = m->bottleneck.size,
                           .activation = m->bottleneck.activation,
                           .down = row[DOWN].data,
                           .down_bias = row[DOWN_BIAS].data,
                           .up = row[UP].data,
                           .up_bias = row[UP_BIAS].data,
                           .ddown = decoder_gradient(m, first + DOWN),
                           .ddown_bias = decoder_gradient(m, first + DOWN_BIAS),
                           .dup = decoder_gradient(m, first + UP),
                           .dup_bias = decoder_gradient(m, first + UP_BIAS)};
}

void decoder_bottleneck(rf_decoder *m, int64_t layer, int branch, int64_t tokens)
{
    rf_block_state *s = &m->state[layer];
    if (!stands(m, branch)) return;
    const rf_bottleneck bottleneck = bound(m, layer, branch);
    rf_bottleneck_forward(&bottleneck, m->context.exchange, s->branch[branch], s->narrow[branch],
                          tokens, m->bottleneck_scratch);
}

const rf_real *decoder_bottleneck_backward(rf_decoder *m, int64_t layer, int branch, int64_t tokens)
{
    const rf_block_state *s = &m->state[layer];
    if (!stands(m, branch)) return m->dh;
    const rf_bottleneck bottleneck = bound(m, layer, branch);
    rf_bottleneck_backward(&bottleneck, m->dbranch, m->dh, s->branch[branch], s->narrow[branch],
                           tokens, m->bottleneck_scratch);
    return m->dbranch;
}
