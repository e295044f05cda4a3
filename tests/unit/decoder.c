/* The whole model's gradient along random directions, and what its memory plan promises. */
#include "rf_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "refract/model/decoder.h"

enum { TOKENS = 150, SAMPLES = 3 };

typedef struct small_model {
    rf_model_config config;
    rf_grid grid;
    rf_decoder *decoder;
    rf_arena run, step, scratch;
    rf_real *gradient, *direction;
    rf_dropout dropout;
    uint64_t row_key[TOKENS];
    int64_t begin[SAMPLES + 1], row[TOKENS];
    int32_t ids[TOKENS], position[TOKENS], target[TOKENS];
    rf_tokens tokens;
} small_model;

static void make_tokens(small_model *m, int is_dropping)
{
    static const int64_t begin[SAMPLES + 1] = {0, 1, 97, TOKENS};
    memcpy(m->begin, begin, sizeof begin);
    m->tokens = (rf_tokens){.tokens = TOKENS,
                            .samples = SAMPLES,
                            .begin = m->begin,
                            .ids = m->ids,
                            .position = m->position,
                            .row = m->row,
                            .target = m->target,
                            .dropout = is_dropping ? &m->dropout : NULL};
    m->dropout = (rf_dropout){.seed = 3, .row_key = m->row_key};
    for (int64_t s = 0; s < SAMPLES; s++)
        for (int64_t t = begin[s]; t < begin[s + 1]; t++) {
            m->ids[t] = (int32_t)(t * 31 % m->config.vocab);
            m->position[t] = (int32_t)(t - begin[s]);
            m->row_key[t] = rf_dropout_row_key(s, t - begin[s]);
            if (t == begin[s] || t % 5 == 0) continue;
            m->row[m->tokens.rows] = t - 1;
            m->target[m->tokens.rows++] = m->ids[t];
        }
}

static void lay_out(small_model *m)
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

static int trains_all(const rf_model_config *config, const char *name)
{
    (void)config;
    (void)name;
    return 1;
}

static small_model *setup(int full, double dropout, int tied)
{
    small_model *m = calloc(1, sizeof *m);
    m->config = (rf_model_config){.vocab = 61,
                                  .d_model = 24,
                                  .d_ff = 40,
                                  .layers = 2,
                                  .heads = 6,
                                  .kv_heads = 3,
                                  .d_head = 8,
                                  .max_position = 256,
                                  .norm_eps = 1e-5,
                                  .initializer_range = 0.3,
                                  .rope = {.theta = 1e4},
                                  .window = tied ? 20 : 0,
                                  .tied = tied,
                                  .attention_bias = tied,
                                  .mlp_bias = tied};
    assert_ok(rf_grid_create(&m->grid, MPI_COMM_SELF, 1, 4));
    const rf_target_rules rules = {.all_linear = 1, .r = 3, .alpha = 6, .where = "test"};
    rf_targets *targets = NULL;
    assert_ok(rf_targets_create(&targets, &rules));
    const rf_decoder_options options = {.config = &m->config,
                                        .storage = RF_DTYPE_REAL,
                                        .trains = full ? trains_all : NULL,
                                        .adapter = full ? NULL : &rf_adapter_lora,
                                        .targets = targets,
                                        .adapter_options = {.dropout = dropout},
                                        .training = 1,
                                        .max_tokens = TOKENS,
                                        .max_samples = SAMPLES,
                                        .max_length = TOKENS,
                                        .leaves = 1,
                                        .threads = 2};
    assert_ok(rf_decoder_create(&m->decoder, &m->grid, &options));
    rf_targets_destroy(&targets);
    lay_out(m);
    const int64_t items = m->decoder->params.trained_items;
    rf_params_init(&m->decoder->params, &m->grid, 11, 1, 1);
    m->gradient = calloc((size_t)items, sizeof *m->gradient);
    m->direction = calloc((size_t)items, sizeof *m->direction);
    for (int64_t i = 0; i < m->decoder->params.count; i++) { /* B and the biases not zero */
        rf_param *row = &m->decoder->params.row[i];
        if (!row->trained) continue;
        rf_test_fill(m->direction + row->offset, row->items, (uint64_t)i);
        for (int64_t j = 0; j < row->items; j++)
            m->decoder->params.value[row->offset + j] +=
                (rf_real)(0.1 * rf_test_value(77 + (uint64_t)i, (uint64_t)j));
    }
    make_tokens(m, dropout > 0);
    return m;
}

static void teardown(small_model *m)
{
    rf_decoder_destroy(&m->decoder);
    rf_grid_destroy(&m->grid);
    rf_arena_destroy(&m->run);
    rf_arena_destroy(&m->step);
    rf_arena_destroy(&m->scratch);
    free(m->gradient);
    free(m->direction);
    free(m);
}

static double loss_along(small_model *m, double h)
{
    rf_params *params = &m->decoder->params;
    const size_t bytes = (size_t)params->trained_items * sizeof(rf_real);
    rf_real *kept = malloc(bytes);
    memcpy(kept, params->value, bytes);
    for (int64_t i = 0; i < params->trained_items; i++)
        params->value[i] += (rf_real)(h * (double)m->direction[i]);
    rf_head_result result = {0};
    rf_decoder_loss(m->decoder, &m->tokens, 1, &result, NULL);
    memcpy(params->value, kept, bytes);
    free(kept);
    return result.loss;
}

static void check_direction(int full, double dropout, int tied)
{
    small_model *m = setup(full, dropout, tied);
    const int is_double = sizeof(rf_real) == sizeof(double);
    const double h = is_double ? 2e-6 : 1e-3;
    rf_head_result result = {0};
    rf_decoder_loss(m->decoder, &m->tokens, 1, &result, m->gradient);
    double slope = 0;
    for (int64_t i = 0; i < m->decoder->params.trained_items; i++)
        slope += (double)m->gradient[i] * (double)m->direction[i];
    assert_near((loss_along(m, h) - loss_along(m, -h)) / (2 * h), slope, is_double ? 1e-7 : 2e-2,
                is_double ? 1e-7 : 0.5);
    assert_true(fabs(slope) > 1e-3);
    teardown(m);
}

static void gradient__of_every_weight__equals_the_slope(void **state)
{
    (void)state;
    check_direction(1, 0, 0);
    check_direction(1, 0, 1);
}

static void gradient__of_adapters_with_dropout__equals_the_slope(void **state)
{
    (void)state;
    check_direction(0, 0, 0);
    check_direction(0, 0.3, 1);
}

/* What the counting arenas said is what is used, to the byte. */
static void plan__of_every_arena__is_what_is_taken(void **state)
{
    (void)state;
    small_model *m = setup(0, 0, 0);
    assert_int_equal(m->run.used, m->run.size);
    assert_int_equal(m->step.used, m->step.size);
    assert_int_equal(m->scratch.used, m->scratch.size);
    teardown(m);
}

/* Tokens of one sample never change another's hidden states. */
static void samples__packed_together__do_not_see_each_other(void **state)
{
    (void)state;
    small_model *m = setup(1, 0, 0);
    rf_real before[61], after[61];
    const int64_t last = TOKENS - 1;
    rf_decoder_forward(m->decoder, &m->tokens);
    rf_decoder_logits(m->decoder, &last, 1, before);
    for (int t = 0; t < 97; t++) m->ids[t] = (int32_t)((m->ids[t] + 5) % 61);
    rf_decoder_forward(m->decoder, &m->tokens);
    rf_decoder_logits(m->decoder, &last, 1, after);
    assert_memory_equal(before, after, sizeof before);
    teardown(m);
}

static void rank__beyond_the_layer__is_refused(void **state)
{
    (void)state;
    const rf_model_config config = {.vocab = 61,
                                    .d_model = 24,
                                    .d_ff = 40,
                                    .layers = 1,
                                    .heads = 6,
                                    .kv_heads = 3,
                                    .d_head = 8,
                                    .rope = {.theta = 1e4}};
    rf_grid grid;
    rf_targets *targets = NULL;
    rf_decoder *decoder = NULL;
    const rf_target_rules rules = {.all_linear = 1, .r = 25, .alpha = 6, .where = "test"};
    assert_ok(rf_grid_create(&grid, MPI_COMM_SELF, 1, 4));
    assert_ok(rf_targets_create(&targets, &rules));
    const rf_decoder_options options = {.config = &config,
                                        .adapter = &rf_adapter_lora,
                                        .targets = targets,
                                        .training = 1,
                                        .threads = 1};
    assert_status(rf_decoder_create(&decoder, &grid, &options), RF_USAGE);
    assert_message_has("q_proj");
    rf_targets_destroy(&targets);
    rf_grid_destroy(&grid);
}

static const struct CMUnitTest decoder[] = {
    cmocka_unit_test(gradient__of_every_weight__equals_the_slope),
    cmocka_unit_test(gradient__of_adapters_with_dropout__equals_the_slope),
    cmocka_unit_test(plan__of_every_arena__is_what_is_taken),
    cmocka_unit_test(samples__packed_together__do_not_see_each_other),
    cmocka_unit_test(rank__beyond_the_layer__is_refused),
};
RF_TEST_MAIN(decoder)
