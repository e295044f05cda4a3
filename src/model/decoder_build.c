/* The table of tensors of a decoder, and the binding of its layers to the table. */
#include "refract/model/decoder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decoder_parts.h"

static const struct {
    const char *name; /* below model.layers.N. */
    int row_parallel;
} linears[RF_LINEARS] = {
    [RF_Q] = {"self_attn.q_proj", 0}, [RF_K] = {"self_attn.k_proj", 0},
    [RF_V] = {"self_attn.v_proj", 0}, [RF_O] = {"self_attn.o_proj", 1},
    [RF_GATE] = {"mlp.gate_proj", 0}, [RF_UP] = {"mlp.up_proj", 0},
    [RF_DOWN] = {"mlp.down_proj", 1},
};

const char *rf_phase_name(rf_phase phase)
{
    static const char *const names[RF_PHASES] = {"embed",   "norm",   "qkv",  "attention", "o",
                                                 "gate_up", "swiglu", "down", "head"};
    return names[phase];
}

/* FFN units of 32 neurons where that divides. */
static rf_cut ff_units(int64_t d_ff, int slices)
{
    const int64_t unit = d_ff % 32 == 0 ? 32 : 1;
    return (rf_cut){.units = d_ff / unit, .unit = unit, .slices = slices};
}

/* How each layer's groups and neurons are cut, by what is left of them. */
static void cut_layers(rf_decoder *m, const rf_pruning *pruning)
{
    const int slices = m->grid->slices;
    for (int64_t layer = 0; layer < m->config.layers; layer++) {
        m->block[layer].kv_cut = (rf_cut){
            .units = rf_layer_kv_heads(&m->config, pruning, layer), .unit = 1, .slices = slices};
        m->block[layer].ff_cut = ff_units(rf_layer_d_ff(&m->config, pruning, layer), slices);
    }
}

static rf_cut scaled(rf_cut cut, int64_t factor)
{
    cut.unit *= factor;
    return cut;
}

static rf_shape linear_shape(const rf_decoder *m, int64_t layer, int kind)
{
    const rf_model_config *c = &m->config;
    const rf_block *block = &m->block[layer];
    const int64_t group = c->heads / c->kv_heads;
    rf_shape shape = {.rows = c->d_model, .cols = c->d_model, .split = RF_ROWS};
    if (linears[kind].row_parallel) shape.split = RF_COLS;
    if (kind == RF_Q || kind == RF_O)
        shape.cut = scaled(block->kv_cut, group * c->d_head);
    else if (kind == RF_K || kind == RF_V)
        shape.cut = scaled(block->kv_cut, c->d_head);
    else
        shape.cut = block->ff_cut;
    *(shape.split == RF_ROWS ? &shape.rows : &shape.cols) = shape.cut.units * shape.cut.unit;
    return shape;
}

/* A path, or the end of one from a dot on. */
static int is_named(const char *name, const char *module, size_t length)
{
    const size_t tail = strlen(name);
    if (tail > length || strncmp(module + length - tail, name, tail) != 0) return 0;
    return tail == length || module[length - tail - 1] == '.';
}

static int is_saved(const rf_names *saved, const char *module)
{
    for (int i = 0; i < saved->count; i++)
        if (is_named(saved->name[i], module, strlen(module))) return 1;
    return 0;
}

/* Every name of modules_to_save must be a module of the base model. */
static rf_status check_saved(const rf_params *params, const rf_names *saved)
{
    for (int i = 0; i < saved->count; i++) {
        int found = 0;
        for (int64_t row = 0; row < params->count && !found; row++) {
            const char *tensor = params->row[row].name;
            found = is_named(saved->name[i], tensor, (size_t)(strrchr(tensor, '.') - tensor));
        }
        if (!found)
            return rf_fail(RF_USAGE,
                           "modules_to_save names '%s', which this model does not have "
                           "(lora.modules_to_save). Name modules such as lm_head",
                           saved->name[i]);
    }
    return RF_OK;
}

/* A tensor of the base model: `module`.weight or .bias. */
static int64_t add_base(rf_decoder *m, const rf_decoder_options *o, const char *module,
                        const char *suffix, rf_shape shape, rf_dtype dtype, rf_init init)
{
    char name[RF_NAME_BYTES];
    snprintf(name, sizeof name, "%s.%s", module, suffix);
    const int trained = (o->trains && o->trains(&m->config, name)) || is_saved(&o->saved, module);
    return rf_params_add(&m->params, m->grid, name, shape, dtype, trained, init);
}

/* A prune takes a layer's input columns in runs of so many; 0 = it takes all, or rows. */
static int64_t column_run(const rf_pruning *pruning, int64_t layer, rf_linear_kind kind)
{
    if (!pruning || !linears[kind].row_parallel ||
        rf_pruning_features(pruning, layer, kind, NULL) == rf_pruning_whole(pruning, kind))
        return 0;
    return kind == RF_O ? pruning->group * pruning->d_head : 1;
}

/* Where slices or a prune would cut its blocks, a weight is held as bf16; where adapters will move
 * it, as f32: blocks would take up nothing of a small correction. */
static rf_dtype held_type(rf_decoder *m, const rf_decoder_options *o, const char *module,
                          const rf_shape *shape, int64_t run)
{
    char name[RF_NAME_BYTES + 16];
    snprintf(name, sizeof name, "%s.weight", module);
    const rf_dtype wish = o->storage_of ? o->storage_of(o->storage_context, name) : o->storage;
    if (rf_dtype_block(wish) > 1 && o->adapter && rf_adapter_moves_base(&o->adapter_options))
        return RF_F32;
    if (rf_shape_keeps_blocks(shape, wish) && run % rf_dtype_block(wish) == 0) return wish;
    m->cut_weights++;
    return RF_BF16;
}

static int64_t add_norm(rf_decoder *m, const rf_decoder_options *o, const char *module)
{
    return add_base(m, o, module, "weight", rf_shape_replicated(m->config.d_model, 1),
                    RF_DTYPE_REAL, (rf_init){RF_INIT_ONE, 0});
}

static rf_status no_memory(void)
{
    return rf_fail(RF_RESOURCES, "no memory for the table of tensors");
}

static rf_status add_linear(rf_decoder *m, const rf_decoder_options *o, int layer, int kind)
{
    rf_block *block = &m->block[layer];
    const rf_shape shape = linear_shape(m, layer, kind);
    const rf_init init = {RF_INIT_NORMAL, m->config.initializer_range};
    const int attention = kind <= RF_O;
    char module[RF_NAME_BYTES];
    snprintf(module, sizeof module, "model.layers.%d.%s", layer, linears[kind].name);
    const rf_dtype held =
        held_type(m, o, module, &shape, column_run(o->pruning, layer, (rf_linear_kind)kind));
    block->weight_row[kind] = add_base(m, o, module, "weight", shape, held, init);
    block->bias_row[kind] = -1;
    if (attention ? m->config.attention_bias : m->config.mlp_bias) {
        rf_shape bias = rf_shape_replicated(shape.rows, 1);
        if (shape.split == RF_ROWS) bias = (rf_shape){shape.rows, 1, RF_ROWS, shape.cut};
        block->bias_row[kind] =
            add_base(m, o, module, "bias", bias, RF_DTYPE_REAL, (rf_init){RF_INIT_ZERO, 0});
        if (block->bias_row[kind] < 0) return no_memory();
    }
    return block->weight_row[kind] < 0 ? no_memory() : RF_OK;
}

/* Fewer ranks at the scale that they had: s = alpha / r. */
static void keep_rank(rf_target *target, const rf_adapter_options *options, int64_t rank)
{
    const double lost = (double)rank / (double)target->r;
    target->alpha *= options->use_rslora ? sqrt(lost) : lost;
    target->r = rank;
}

static rf_status add_adapter(rf_decoder *m, const rf_decoder_options *o, int layer, int kind)
{
    rf_block *block = &m->block[layer];
    block->adapter_row[kind] = -1;
    if (!o->adapter) return RF_OK;
    char module[RF_NAME_BYTES], name[RF_NAME_BYTES + 32];
    rf_target target = {0};
    snprintf(module, sizeof module, "model.layers.%d.%s", layer, linears[kind].name);
    RF_TRY(rf_targets_match(o->targets, module, &target));
    if (!target.targeted || (o->pruning && o->pruning->rank[layer * RF_LINEARS + kind] == 0))
        return RF_OK;

    const rf_shape shape = linear_shape(m, layer, kind);
    const int64_t most = shape.rows < shape.cols ? shape.rows : shape.cols;
    if (o->pruning)
        keep_rank(&target, &o->adapter_options, o->pruning->rank[layer * RF_LINEARS + kind]);
    else if (target.r > most)
        return rf_fail(RF_USAGE,
                       "rank %lld of '%s' exceeds min(d_in, d_out) = %lld. Choose a smaller lora.r "
                       "or a lora.rank_pattern for it",
                       (long long)target.r, module, (long long)most);
    block->adapter[kind] = o->adapter_options;
    block->adapter[kind].r = target.r;
    block->adapter[kind].alpha = target.alpha;
    rf_adapter_tensor tensors[RF_ADAPTER_TENSORS];
    const int count = o->adapter->tensors(&shape, &block->adapter[kind], tensors);
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%s.%s", module, tensors[i].suffix);
        const int64_t row = rf_params_add(&m->params, m->grid, name, tensors[i].shape,
                                          RF_DTYPE_REAL, 1, tensors[i].init);
        if (row < 0) return no_memory();
        rf_param *param = &m->params.row[row];
        param->adapter = 1;
        param->internal = tensors[i].is_internal;
        param->lr_scale = tensors[i].lr_scale;
        snprintf(param->path, sizeof param->path, "/adapter/%.150s/%s", module, tensors[i].field);
        if (i == 0) block->adapter_row[kind] = row;
    }
    block->adapter_index[kind] = m->adapted++;
    return RF_OK;
}

/* Every pattern of the configuration must say something about this model. */
static rf_status check_targets(const rf_decoder *m, const rf_decoder_options *o)
{
    if (!o->adapter) return RF_OK;
    const int64_t count = m->config.layers * RF_LINEARS;
    char(*module)[RF_NAME_BYTES] = malloc((size_t)count * sizeof *module);
    const char **names = malloc((size_t)count * sizeof *names);
    rf_status status = module && names ? RF_OK : no_memory();
    for (int64_t i = 0; i < count && status == RF_OK; i++) {
        snprintf(module[i], sizeof module[i], "model.layers.%lld.%s", (long long)(i / RF_LINEARS),
                 linears[i % RF_LINEARS].name);
        names[i] = module[i];
    }
    if (status == RF_OK) status = rf_targets_require(o->targets, names, count);
    free(names);
    free(module);
    return status;
}

static rf_status build_table(rf_decoder *m, const rf_decoder_options *o)
{
    const rf_model_config *c = &m->config;
    const rf_init init = {RF_INIT_NORMAL, c->initializer_range};
    const rf_shape vocab = {
        .rows = c->vocab, .cols = c->d_model, .split = RF_ROWS, .cut = m->vocab_cut};
    m->embed_row = add_base(m, o, "model.embed_tokens", "weight", vocab,
                            held_type(m, o, "model.embed_tokens", &vocab, 0), init);
    for (int layer = 0; layer < (int)c->layers; layer++) {
        rf_block *block = &m->block[layer];
        char module[RF_NAME_BYTES];
        snprintf(module, sizeof module, "model.layers.%d.input_layernorm", layer);
        block->attention_norm_row = add_norm(m, o, module);
        for (int kind = RF_Q; kind <= RF_O; kind++) RF_TRY(add_linear(m, o, layer, kind));
        snprintf(module, sizeof module, "model.layers.%d.post_attention_layernorm", layer);
        block->mlp_norm_row = add_norm(m, o, module);
        for (int kind = RF_GATE; kind < RF_LINEARS; kind++) RF_TRY(add_linear(m, o, layer, kind));
        if (block->attention_norm_row < 0 || block->mlp_norm_row < 0) return no_memory();
    }
    m->norm_row = add_norm(m, o, "model.norm");
    m->head_row = c->tied ? m->embed_row
                          : add_base(m, o, "lm_head", "weight", vocab,
                                     held_type(m, o, "lm_head", &vocab, 0), init);
    if (m->embed_row < 0 || m->norm_row < 0 || m->head_row < 0) return no_memory();
    RF_TRY(check_saved(&m->params, &o->saved));
    for (int layer = 0; layer < (int)c->layers; layer++)
        for (int kind = 0; kind < RF_LINEARS; kind++) RF_TRY(add_adapter(m, o, layer, kind));
    RF_TRY(decoder_add_bottlenecks(m));
    return m->has_masks ? decoder_add_masks(m) : RF_OK;
}

rf_status rf_decoder_create(rf_decoder **decoder, const rf_grid *grid,
                            const rf_decoder_options *options)
{
    const rf_model_config *c = options->config;
    rf_decoder *m = calloc(1, sizeof *m);
    *decoder = m;
    if (!m) return no_memory();
    m->config = *c;
    m->grid = grid;
    m->kind = options->adapter;
    m->training = options->training;
    m->bottleneck = options->bottleneck;
    m->has_masks = options->has_masks;
    m->measures = options->measures;
    m->max_tokens = options->max_tokens;
    m->max_samples = options->max_samples;
    m->max_length = options->max_length;
    m->leaves = options->leaves;
    m->threads = options->threads;
    m->vocab_cut = (rf_cut){.units = c->vocab, .unit = 1, .slices = grid->slices};
    m->block = calloc((size_t)c->layers, sizeof *m->block);
    m->state = calloc((size_t)c->layers, sizeof *m->state);
    rf_status status = m->block && m->state ? check_targets(m, options) : no_memory();
    if (status == RF_OK && options->is_bf16) status = rf_bf16_create(&m->bf16, m->threads);
    if (status == RF_OK) cut_layers(m, options->pruning);
    if (status == RF_OK) status = build_table(m, options);
    if (status != RF_OK) {
        rf_decoder_destroy(decoder);
        return status;
    }
    for (int layer = 0; layer < (int)c->layers; layer++)
        for (int kind = 0; kind < RF_LINEARS; kind++) {
            rf_linear *linear = &m->block[layer].linear[kind];
            linear->shape = linear_shape(m, layer, kind);
            linear->dtype = m->params.row[m->block[layer].weight_row[kind]].dtype;
            linear->name = m->params.row[m->block[layer].weight_row[kind]].name;
            if (m->block[layer].adapter_row[kind] < 0) continue;
            m->block[layer].lowrank[kind].r = m->block[layer].adapter[kind].r;
            linear->lowrank = &m->block[layer].lowrank[kind];
            status = decoder_add_adapter(m, &m->block[layer], kind);
            if (status != RF_OK) {
                rf_decoder_destroy(decoder);
                return status;
            }
        }
    const rf_param *embed = &m->params.row[m->embed_row], *head = &m->params.row[m->head_row];
    m->embed = (rf_linear){.name = embed->name, .shape = embed->shape, .dtype = embed->dtype};
    m->head = (rf_linear){.name = head->name, .shape = head->shape, .dtype = head->dtype};
    return RF_OK;
}

void rf_decoder_destroy(rf_decoder **decoder)
{
    if (!*decoder) return;
    rf_params_destroy(&(*decoder)->params);
    rf_adapters_destroy(&(*decoder)->adapters);
    rf_bf16_destroy(&(*decoder)->bf16);
    free((*decoder)->block);
    free((*decoder)->state);
    free(*decoder);
    *decoder = NULL;
}
