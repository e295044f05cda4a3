/* A random model of SmolLM2-135M's shape with LoRA on every linear layer, and its training step. */
#include <mpi.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "refract/linalg/tree.h"
#include "refract/optim/adamw.h"

struct bench_model {
    bench_options options;
    rf_model_config config;
    rf_grid grid;
    rf_decoder *decoder;
    rf_config *method_config; /* owned; NULL: lora by plain AdamW */
    bench_method *method;     /* owned; NULL likewise */
    rf_arena run, step, scratch, own;
    rf_collector collector; /* over dp */
    rf_tree tree;           /* of gradients, micro-batches as leaves */
    rf_real *gradient, *collect_scratch;
    int32_t *ids, *position, *target;
    int64_t *row, begin[2];
    uint64_t *row_key;
    rf_dropout dropout;
    rf_norm_parts norm_parts;
    int64_t steps;
    double loss, tree_seconds, update_seconds;
};

static const rf_adamw adamw = {0.9, 0.999, 1e-8, 0.01};

rf_model_config bench_smollm2_135m(const bench_options *o)
{
    return (rf_model_config){.model_type = "llama",
                             .vocab = 49152,
                             .d_model = 576,
                             .d_ff = 1536,
                             .layers = o->layers,
                             .heads = 9,
                             .kv_heads = 3,
                             .d_head = 64,
                             .max_position = 2048,
                             .norm_eps = 1e-5,
                             .initializer_range = 0.04,
                             .rope = {.kind = RF_ROPE_DEFAULT, .theta = 10000},
                             .tied = 1,
                             .bos = -1,
                             .pad = -1};
}

static rf_status create_decoder(bench_model *m)
{
    const bench_options *o = &m->options;
    const rf_target_rules rules = {
        .all_linear = 1, .r = o->rank_r, .alpha = 2 * (double)o->rank_r, .where = "bench"};
    rf_targets *targets = NULL;
    rf_pruning *pruning = NULL;
    RF_TRY(rf_targets_create(&targets, &rules));
    if (o->is_pruned) RF_TRY(bench_prune(&pruning, &m->config, o->rank_r));
    const rf_decoder_options options = {
        .config = &m->config,
        .storage = o->storage,
        .adapter = m->method_config ? rf_adapter_for_config(m->method_config) : o->adapter,
        .targets = targets,
        .pruning = pruning,
        .adapter_options = m->method_config
                               ? rf_adapter_options_read(m->method_config)
                               : (rf_adapter_options){.dropout = o->dropout, .temperature = 0.05},
        .training = 1,
        .max_tokens = o->tokens,
        .max_samples = 1,
        .max_length = o->tokens,
        .leaves = o->micro,
        .threads = o->threads,
        .is_bf16 = o->is_bf16};
    const rf_status status = rf_decoder_create(&m->decoder, &m->grid, &options);
    rf_targets_destroy(&targets);
    rf_pruning_destroy(&pruning);
    return status;
}

static void own_layout(bench_model *m, rf_arena *arena)
{
    const int64_t items = m->decoder->params.trained_items, tokens = m->options.tokens;
    rf_collector_layout(&m->collector, arena, m->grid.dp, m->options.micro);
    rf_tree_layout(&m->tree, arena, items, rf_tree_slots(m->options.micro, m->grid.dp_size == 1));
    m->collect_scratch =
        RF_TAKE(arena, rf_real, rf_collect_scratch(&m->collector, items, m->options.micro));
    m->gradient = RF_TAKE(arena, rf_real, items);
    rf_norm_parts_layout(&m->norm_parts, arena, &m->decoder->params, m->grid.slices);
    m->ids = RF_TAKE(arena, int32_t, tokens);
    m->position = RF_TAKE(arena, int32_t, tokens);
    m->target = RF_TAKE(arena, int32_t, tokens);
    m->row = RF_TAKE(arena, int64_t, tokens);
    m->row_key = RF_TAKE(arena, uint64_t, tokens);
}

static rf_status allocate(bench_model *m)
{
    rf_arena run = rf_arena_counting("run"), step = rf_arena_counting("step"),
             scratch = rf_arena_counting("scratch"), own = rf_arena_counting("bench");
    rf_decoder_layout(m->decoder, &run, &step, &scratch);
    own_layout(m, &own);
    if (m->method) bench_method_layout(m->method, &run, &scratch);
    RF_TRY(rf_arena_create(&m->run, "run", run.peak));
    RF_TRY(rf_arena_create(&m->step, "step", step.peak));
    RF_TRY(rf_arena_create(&m->scratch, "scratch", scratch.peak));
    RF_TRY(rf_arena_create(&m->own, "bench", own.peak));
    rf_decoder_layout(m->decoder, &m->run, &m->step, &m->scratch);
    own_layout(m, &m->own);
    if (m->method) bench_method_layout(m->method, &m->run, &m->scratch);
    rf_decoder_bind(m->decoder);
    return RF_OK;
}

static void fill_weights(bench_model *m)
{
    rf_params *params = &m->decoder->params;
    for (int64_t i = 0; i < params->count; i++)
        if (params->row[i].init.kind == RF_INIT_NORMAL || params->row[i].init.kind == RF_INIT_ZERO)
            params->row[i].init = (rf_init){RF_INIT_UNIFORM, 0.05};
    rf_params_init(params, &m->grid, 1, 1, 1);
    rf_decoder_start_adapters(m->decoder, 1);
}

rf_status bench_model_create(bench_model **model, const bench_options *options)
{
    bench_model *m = calloc(1, sizeof *m);
    *model = m;
    if (!m) return rf_fail(RF_RESOURCES, "no memory for the benchmark");
    m->options = *options;
    m->config = bench_smollm2_135m(options);
    RF_TRY(rf_grid_create(&m->grid, MPI_COMM_WORLD, options->tensor, options->slices));
    if (options->method) RF_TRY(bench_method_config(&m->method_config, options));
    RF_TRY(create_decoder(m));
    if (options->method)
        RF_TRY(bench_method_create(&m->method, m->method_config, m->decoder, &m->grid, &adamw,
                                   options->threads));
    RF_TRY(allocate(m));
    fill_weights(m);
    return RF_OK;
}

double bench_model_bytes(const bench_model *m)
{
    return (double)(m->run.size + m->step.size + m->scratch.size + m->own.size);
}

void bench_model_destroy(bench_model **model)
{
    bench_model *m = *model;
    if (!m) return;
    bench_method_destroy(&m->method);
    rf_config_destroy(&m->method_config);
    rf_decoder_destroy(&m->decoder);
    rf_grid_destroy(&m->grid);
    rf_arena_destroy(&m->run);
    rf_arena_destroy(&m->step);
    rf_arena_destroy(&m->scratch);
    rf_arena_destroy(&m->own);
    free(m);
    *model = NULL;
}

/* Micro-batch `index` of the step: one sample, a label at every position but the first. */
static rf_tokens micro_batch(bench_model *m, int64_t index)
{
    const int64_t tokens = m->options.tokens;
    for (int64_t t = 0; t < tokens; t++) {
        m->ids[t] = (int32_t)((index * 7919 + t * 104729) % m->config.vocab);
        m->position[t] = (int32_t)t;
        m->row_key[t] = rf_dropout_row_key(index, t);
        if (t == 0) continue;
        m->row[t - 1] = t - 1;
        m->target[t - 1] = m->ids[t];
    }
    m->begin[1] = tokens;
    m->dropout = (rf_dropout){.seed = 1, .row_key = m->row_key};
    return (rf_tokens){.tokens = tokens,
                       .samples = 1,
                       .begin = m->begin,
                       .ids = m->ids,
                       .position = m->position,
                       .rows = tokens - 1,
                       .row = m->row,
                       .target = m->target,
                       .dropout = m->options.dropout > 0 ? &m->dropout : NULL};
}

/* Gradients of this rank's micro-batches, summed over all ranks. */
static void sum_gradients(bench_model *m)
{
    const int64_t leaves = m->options.micro;
    const int64_t first = rf_part_begin(leaves, m->grid.dp_rank, m->grid.dp_size);
    const int64_t end = rf_part_begin(leaves, m->grid.dp_rank + 1, m->grid.dp_size);
    const rf_real scale = (rf_real)(1.0 / (double)(leaves * (m->options.tokens - 1)));
    rf_decoder_prepare(m->decoder);
    rf_tree_start(&m->tree, leaves, first);
    for (int64_t i = first; i < end; i++) {
        rf_head_result result = {0};
        const rf_tokens tokens = micro_batch(m, i);
        rf_decoder_loss(m->decoder, &tokens, scale, &result, rf_tree_leaf(&m->tree));
        const double start = MPI_Wtime();
        rf_tree_push(&m->tree);
        m->tree_seconds += MPI_Wtime() - start;
        if (i == first) m->loss = result.loss / (double)tokens.rows;
    }
    const double start = MPI_Wtime();
    rf_collect_sum(&m->collector, m->gradient, m->tree.data, m->tree.items, leaves, NULL,
                   m->collect_scratch);
    m->tree_seconds += MPI_Wtime() - start;
}

static void update(bench_model *m)
{
    const double start = MPI_Wtime();
    const double norm =
        rf_gradient_norm(&m->grid, &m->decoder->params, m->gradient, &m->norm_parts);
    const double scale = rf_clip_scale(norm, 1);
    m->steps++;
    if (m->method)
        bench_method_update(m->method, m->gradient, scale, 1e-4, m->steps);
    else
        rf_adamw_update(&adamw, &m->decoder->params, m->gradient, scale, 1e-4, m->steps);
    m->update_seconds += MPI_Wtime() - start;
}

void bench_model_step(bench_model *m)
{
    memset(m->decoder->seconds, 0, sizeof m->decoder->seconds);
    m->decoder->context.reduce_seconds = m->tree_seconds = m->update_seconds = 0;
    sum_gradients(m);
    update(m);
}

double bench_model_flops(const bench_model *m)
{
    const int64_t begin[2] = {0, m->options.tokens};
    const rf_tokens tokens = {
        .tokens = m->options.tokens, .samples = 1, .begin = begin, .rows = m->options.tokens - 1};
    return (double)m->options.micro * rf_decoder_mandatory_flops(m->decoder, &tokens);
}

double bench_model_phase_flops(const bench_model *m, int phase)
{
    const rf_model_config *c = &m->config;
    const double tokens = (double)(m->options.micro * m->options.tokens);
    const double layer = 4 * tokens * (double)(c->d_model * c->layers);
    switch (phase) {
    case RF_PHASE_QKV:
        return layer * (double)((c->heads + 2 * c->kv_heads) * c->d_head);
    case RF_PHASE_O:
        return layer * (double)(c->heads * c->d_head);
    case RF_PHASE_GATE_UP:
        return layer * (double)(2 * c->d_ff);
    case RF_PHASE_DOWN:
        return layer * (double)c->d_ff;
    case RF_PHASE_ATTENTION:
        return 7 * tokens * (double)((m->options.tokens + 1) * c->heads * c->d_head * c->layers);
    case RF_PHASE_HEAD:
        return 4 * (double)(m->options.micro * (m->options.tokens - 1)) *
               (double)(c->vocab * c->d_model);
    default:
        return 0;
    }
}

/* Norms: h, branch, sum, y forward; h, x and dh, dx, h, dh backward. SwiGLU: gate, up, act, twice;
 * dact, gate, up, dgate, dup. Update: the gradient twice; moments and values read and written. */
double bench_model_phase_bytes(const bench_model *m, int phase)
{
    const rf_model_config *c = &m->config;
    const double tokens = (double)(m->options.micro * m->options.tokens);
    const double trained = (double)m->decoder->params.trained_items;
    const double real = sizeof(rf_real);
    switch (phase) {
    case RF_PHASE_EMBED:
        return real * 2 * tokens * (double)c->d_model;
    case RF_PHASE_NORM:
        return real * 10 * tokens * (double)(2 * c->layers * c->d_model);
    case RF_PHASE_SWIGLU:
        return real * 11 * tokens * (double)(c->layers * c->d_ff);
    case BENCH_PHASE_TREE:
        return real * 3 * trained * (double)(m->options.micro - 1);
    case BENCH_PHASE_UPDATE:
        return real * 8 * trained;
    default:
        return 0;
    }
}

double bench_model_loss(const bench_model *m)
{
    return m->loss;
}

double bench_model_seconds(const bench_model *m, int phase)
{
    if (phase == BENCH_PHASE_TREE) return m->tree_seconds;
    if (phase == BENCH_PHASE_UPDATE) return m->update_seconds;
    if (phase == BENCH_PHASE_TP) return m->decoder->context.reduce_seconds;
    return m->decoder->seconds[phase];
}

const char *bench_phase_name(int phase)
{
    if (phase == BENCH_PHASE_TREE) return "gradient sum";
    if (phase == BENCH_PHASE_UPDATE) return "update";
    if (phase == BENCH_PHASE_TP) return "(reductions)";
    return rf_phase_name((rf_phase)phase);
}
