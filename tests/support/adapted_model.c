#include "adapted_model.h"

#include <stdlib.h>
#include <string.h>

#include "refract/base/rng.h"
#include "refract/linalg/vecmath.h"
#include "rf_test.h"

static void lay_out(adapted_model *m)
{
    rf_arena run = rf_arena_counting("run"), step = rf_arena_counting("step"),
             scratch = rf_arena_counting("scratch");
    rf_decoder_layout(m->decoder, &run, &step, &scratch);
    assert_ok(rf_arena_create(&m->run, "run", run.peak));
    assert_ok(rf_arena_create(&m->step, "step", step.peak));
    assert_ok(rf_arena_create(&m->scratch, "scratch", scratch.peak));
    rf_decoder_layout(m->decoder, &m->run, &m->step, &m->scratch);
    rf_decoder_bind(m->decoder);
}

static void make_tokens(adapted_model *m)
{
    const int64_t begin[] = {0, 7, 25, ADAPTED_TOKENS};
    memcpy(m->begin, begin, sizeof begin);
    m->tokens = (rf_tokens){.tokens = ADAPTED_TOKENS,
                            .samples = ADAPTED_SAMPLES,
                            .begin = m->begin,
                            .ids = m->ids,
                            .position = m->position,
                            .row = m->row,
                            .target = m->target};
    for (int s = 0; s < ADAPTED_SAMPLES; s++)
        for (int64_t t = begin[s]; t < begin[s + 1]; t++) {
            m->ids[t] = (int32_t)((17 * t + 5 * s) % ADAPTED_VOCAB);
            m->position[t] = (int32_t)(t - begin[s]);
            if (t + 1 == begin[s + 1]) continue;
            m->row[m->tokens.rows] = t;
            m->target[m->tokens.rows++] = (int32_t)((17 * (t + 1) + 5 * s) % ADAPTED_VOCAB);
        }
}

static void make_decoder(adapted_model *m, const rf_adapter_kind *kind, rf_adapter_options options,
                         const rf_pruning *pruning, int has_masks, rf_bottlenecks bottlenecks)
{
    static const rf_pattern rank = {"layers\\.1\\.mlp\\.down_proj", 5};
    const rf_target_rules rules = {.all_linear = 1,
                                   .r = options.r,
                                   .alpha = options.alpha,
                                   .rank_pattern = &rank,
                                   .rank_pattern_count = options.r == 3,
                                   .where = "test"};
    rf_targets *targets = NULL;
    assert_ok(rf_targets_create(&targets, &rules));
    const rf_decoder_options decoder = {.config = &m->config,
                                        .storage = RF_DTYPE_REAL,
                                        .adapter = kind,
                                        .targets = targets,
                                        .adapter_options = options,
                                        .bottleneck = bottlenecks,
                                        .pruning = pruning,
                                        .has_masks = has_masks,
                                        .measures = has_masks,
                                        .training = 1,
                                        .max_tokens = ADAPTED_TOKENS,
                                        .max_samples = ADAPTED_SAMPLES,
                                        .max_length = ADAPTED_TOKENS,
                                        .leaves = 1,
                                        .threads = 2};
    assert_ok(rf_decoder_create(&m->decoder, &m->grid, &decoder));
    rf_targets_destroy(&targets);
}

rf_model_config adapted_model_config(void)
{
    return (rf_model_config){.vocab = ADAPTED_VOCAB,
                             .d_model = 24,
                             .d_ff = 40,
                             .layers = 2,
                             .heads = 6,
                             .kv_heads = 3, /* fewer than slices: one is empty */
                             .d_head = 8,
                             .max_position = 256,
                             .norm_eps = 1e-5,
                             .initializer_range = 0.3,
                             .rope = {.theta = 1e4},
                             .attention_bias = 1};
}

static adapted_model *create(MPI_Comm comm, int tp, const rf_adapter_kind *kind,
                             rf_adapter_options options, const rf_pruning *pruning, int has_masks,
                             rf_bottlenecks bottlenecks)
{
    adapted_model *m = calloc(1, sizeof *m);
    RF_ASSERT(m, "no memory");
    m->config = adapted_model_config();
    assert_ok(rf_grid_create(&m->grid, comm, tp, 4));
    make_decoder(m, kind, options, pruning, has_masks, bottlenecks);
    lay_out(m);
    make_tokens(m);
    rf_params_init(&m->decoder->params, &m->grid, 11, 1, 1);
    if (options.init == RF_ADAPTER_PISSA)
        assert_ok(rf_adapters_take_principal(&m->decoder->adapters, 1 << 20));
    assert_ok(rf_adapters_move_base(&m->decoder->adapters));
    rf_decoder_start_adapters(m->decoder, 1);
    m->gradient = calloc((size_t)m->decoder->params.trained_items + 1, sizeof *m->gradient);
    RF_ASSERT(m->gradient, "no memory");
    return m;
}

adapted_model *adapted_model_create(MPI_Comm comm, int tp, const rf_adapter_kind *kind,
                                    rf_adapter_options options)
{
    return adapted_model_create_part(comm, tp, kind, options, NULL, 0);
}

adapted_model *adapted_model_create_part(MPI_Comm comm, int tp, const rf_adapter_kind *kind,
                                         rf_adapter_options options, const rf_pruning *pruning,
                                         int has_masks)
{
    return create(comm, tp, kind, options, pruning, has_masks, (rf_bottlenecks){0});
}

adapted_model *adapted_model_create_bottlenecks(MPI_Comm comm, int tp, rf_bottlenecks bottlenecks)
{
    const rf_adapter_options none = {.r = 1};
    return create(comm, tp, NULL, none, NULL, 0, bottlenecks);
}

void adapted_model_destroy(adapted_model *m)
{
    rf_decoder_destroy(&m->decoder);
    rf_grid_destroy(&m->grid);
    rf_arena_destroy(&m->run);
    rf_arena_destroy(&m->step);
    rf_arena_destroy(&m->scratch);
    free(m->gradient);
    free(m);
}

void adapted_model_perturb(adapted_model *m)
{
    const rf_params *params = &m->decoder->params;
    for (int64_t i = 0; i < params->count; i++) {
        const rf_param *row = &params->row[i];
        if (!row->trained) continue;
        rf_real *change = malloc((size_t)(row->items + 1) * sizeof *change);
        RF_ASSERT(change, "no memory");
        rf_init_fill(change, &row->shape, m->grid.slice_begin, m->grid.slice_end,
                     (rf_init){RF_INIT_UNIFORM, 0.1}, 77, rf_stream(row->name, 1, 0));
        rf_add(row->data, change, row->items);
        free(change);
    }
    rf_decoder_prepare(m->decoder);
}

double adapted_model_loss(adapted_model *m, int with_gradient)
{
    rf_head_result result = {0};
    rf_decoder_loss(m->decoder, &m->tokens, 1, &result, with_gradient ? m->gradient : NULL);
    return result.loss;
}

void adapted_model_logits(adapted_model *m, rf_real *logits)
{
    int64_t row[ADAPTED_LOGITS];
    for (int64_t i = 0; i < ADAPTED_LOGITS; i++) row[i] = 5 * i;
    rf_decoder_forward(m->decoder, &m->tokens);
    rf_decoder_logits(m->decoder, row, ADAPTED_LOGITS, logits);
}

rf_adapter *adapted_model_adapter(const adapted_model *m, int64_t i)
{
    rf_adapter *adapter = &m->decoder->block[i / RF_LINEARS].bound[i % RF_LINEARS];
    return adapter->kind ? adapter : NULL;
}
