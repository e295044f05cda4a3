/* Logits, losses and gradients of tiny models against values computed with transformers and PEFT.
 */
#include "rf_test.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refract/io/hf_config.h"
#include "refract/io/safetensors.h"
#include "refract/io/weights.h"
#include "refract/linalg/gemm.h"
#include "refract/model/decoder.h"

/* Limits of the reference data's README: single precision, then double. */
static const int is_double = sizeof(rf_real) == sizeof(double);
#define LIMIT(single, wide) (is_double ? (wide) : (single))

typedef struct golden {
    char folder[512];
    rf_model_config config;
    rf_grid grid;
    rf_decoder *decoder;
    rf_arena run, step, scratch;
    rf_safetensors *values;
    rf_real *gradient;
    int64_t length;
    int32_t *ids, *labels;
} golden;

static void load_tokens(golden *g)
{
    const rf_tensor_info *info = rf_safetensors_find(g->values, "input_ids");
    assert_non_null(info);
    const int64_t items = info->items;
    int64_t *wide = malloc(sizeof *wide * (size_t)items);
    g->length = info->dim[1];
    g->ids = malloc(sizeof *g->ids * (size_t)items);
    g->labels = calloc((size_t)items, sizeof *g->labels);
    assert_ok(rf_safetensors_load(g->values, "input_ids", RF_I64, wide, items));
    for (int64_t i = 0; i < items; i++) g->ids[i] = (int32_t)wide[i];
    assert_ok(rf_safetensors_load(g->values, "labels", RF_I64, wide, items));
    for (int64_t i = 0; i < items; i++) g->labels[i] = (int32_t)wide[i];
    free(wide);
}

static rf_targets *all_linear(void)
{
    const rf_target_rules rules = {.all_linear = 1, .r = 4, .alpha = 8, .where = "test"};
    rf_targets *targets = NULL;
    assert_ok(rf_targets_create(&targets, &rules));
    return targets;
}

static golden setup(const char *name)
{
    golden g = {.folder = ""};
    char relative[256], path[1024];
    snprintf(relative, sizeof relative, "reference/tiny/%s", name);
    snprintf(g.folder, sizeof g.folder, "%s", rf_shared_path(relative));
    assert_ok(rf_hf_config_read(&g.config, g.folder));
    snprintf(path, sizeof path, "%s/golden.safetensors", g.folder);
    assert_ok(rf_safetensors_open(&g.values, path));
    load_tokens(&g);
    return g;
}

static int trains_all(const rf_model_config *config, const char *name)
{
    (void)config;
    (void)name;
    return 1;
}

static void build(golden *g, int tp, int with_adapter)
{
    assert_ok(rf_grid_create(&g->grid, MPI_COMM_WORLD, tp, 4));
    rf_targets *targets = all_linear();
    const rf_decoder_options options = {.config = &g->config,
                                        .storage = RF_DTYPE_REAL,
                                        .trains = with_adapter ? NULL : trains_all,
                                        .adapter = with_adapter ? &rf_adapter_lora : NULL,
                                        .targets = targets,
                                        .training = 1,
                                        .max_tokens = 2 * g->length,
                                        .max_samples = 2,
                                        .max_length = g->length,
                                        .leaves = 1,
                                        .threads = 2};
    assert_ok(rf_decoder_create(&g->decoder, &g->grid, &options));
    rf_targets_destroy(&targets);
    rf_arena run = rf_arena_counting("run"), step = rf_arena_counting("step"),
             scratch = rf_arena_counting("scratch");
    rf_decoder_layout(g->decoder, &run, &step, &scratch);
    assert_ok(rf_arena_create(&g->run, "run", run.peak));
    assert_ok(rf_arena_create(&g->step, "step", step.peak));
    assert_ok(rf_arena_create(&g->scratch, "scratch", scratch.peak));
    rf_decoder_layout(g->decoder, &g->run, &g->step, &g->scratch);
    rf_decoder_bind(g->decoder);
    assert_ok(rf_weights_load(&g->grid, &g->decoder->params, g->folder, g->config.tied));
    g->gradient = malloc(sizeof(rf_real) * (size_t)g->decoder->params.trained_items);
    memset(g->gradient, 0, sizeof(rf_real) * (size_t)g->decoder->params.trained_items);
}

static void teardown(golden *g)
{
    rf_decoder_destroy(&g->decoder);
    rf_grid_destroy(&g->grid);
    rf_arena_destroy(&g->run);
    rf_arena_destroy(&g->step);
    rf_arena_destroy(&g->scratch);
    free(g->gradient);
}

static void release(golden *g)
{
    rf_safetensors_close(&g->values);
    free(g->ids);
    free(g->labels);
}

/* Both rows as one packed micro-batch: samples must not see each other. */
typedef struct packed {
    int64_t begin[3], row[256];
    int32_t position[256], target[256];
    rf_tokens tokens;
} packed;

static void pack(packed *p, const golden *g)
{
    const int64_t n = g->length;
    for (int s = 0; s < 3; s++) p->begin[s] = s * n;
    p->tokens = (rf_tokens){.tokens = 2 * n,
                            .samples = 2,
                            .begin = p->begin,
                            .ids = g->ids,
                            .position = p->position,
                            .row = p->row,
                            .target = p->target};
    for (int64_t t = 0; t < 2 * n; t++) {
        p->position[t] = (int32_t)(t % n);
        if (t % n == 0 || g->labels[t] == -100) continue;
        p->row[p->tokens.rows] = t - 1;
        p->target[p->tokens.rows++] = g->labels[t];
    }
}

static double worst(const rf_real *got, const double *wanted, int64_t n, double *scale)
{
    double most = 0;
    *scale = 0;
    for (int64_t i = 0; i < n; i++) {
        const double off = fabs((double)got[i] - wanted[i]);
        if (!(off <= most)) most = off;
        if (fabs(wanted[i]) > *scale) *scale = fabs(wanted[i]);
    }
    return most;
}

static void check_logits(golden *g, const packed *p, const char *key)
{
    const int64_t n = 2 * g->length, vocab = g->config.vocab;
    double *wanted = malloc(sizeof *wanted * (size_t)(n * vocab)), scale;
    rf_real *logits = malloc(sizeof *logits * (size_t)(n * vocab));
    int64_t row[256];
    for (int64_t i = 0; i < n; i++) row[i] = i;
    assert_ok(rf_safetensors_load(g->values, key, RF_F64, wanted, n * vocab));
    rf_decoder_forward(g->decoder, &p->tokens);
    rf_decoder_logits(g->decoder, row, n, logits);
    assert_all(worst(logits, wanted, n * vocab, &scale) < LIMIT(5e-5, 1e-11));
    free(wanted);
    free(logits);
}

/* Gradients of every trained tensor; `prefix` + name is the key of the reference. */
static void check_gradients(golden *g, const char *prefix, double limit)
{
    const rf_params *params = &g->decoder->params;
    int checked = 0;
    for (int64_t i = 0; i < params->count; i++) {
        const rf_param *row = &params->row[i];
        if (!row->trained) continue;
        const int64_t items = row->shape.rows * row->shape.cols;
        char key[512];
        snprintf(key, sizeof key, "%s%s", prefix, row->name);
        double *wanted = malloc(sizeof *wanted * (size_t)items), scale = 0;
        assert_ok(rf_safetensors_load(g->values, key, RF_F64, wanted, items));
        double *mine = malloc(sizeof *mine * (size_t)items);
        rf_shape_scatter(mine, wanted, &row->shape, g->grid.slice_begin, g->grid.slice_end,
                         sizeof *mine);
        for (int64_t j = 0; j < items; j++) scale = fmax(scale, fabs(wanted[j]));
        double own;
        const double off = worst(g->gradient + row->offset, mine, row->items, &own) / scale;
        if (!(off < limit)) print_error("%s is off by %g of its largest entry\n", key, off);
        assert_all(off < limit);
        checked++;
        free(wanted);
        free(mine);
    }
    assert_true(checked > 0);
}

static void check_model(const char *name, int tp)
{
    golden g = setup(name);
    double wanted;
    packed *p = calloc(1, sizeof *p);
    pack(p, &g);
    const rf_real scale = (rf_real)(1.0 / (double)p->tokens.rows);
    rf_head_result result = {0};

    build(&g, tp, 0);
    check_logits(&g, p, "logits");
    rf_decoder_loss(g.decoder, &p->tokens, scale, &result, g.gradient);
    assert_ok(rf_safetensors_load(g.values, "loss", RF_F64, &wanted, 1));
    assert_near(result.loss / (double)p->tokens.rows, wanted, 0, LIMIT(3e-6, 1e-11));
    check_gradients(&g, "grad.", LIMIT(2e-5, 1e-7));
    teardown(&g);

    build(&g, tp, 1);
    rf_safetensors *adapter = NULL;
    char path[1024];
    snprintf(path, sizeof path, "%s/adapter/adapter_model.safetensors", g.folder);
    assert_ok(rf_safetensors_open(&adapter, path));
    rf_field *fields = NULL;
    int64_t count = 0;
    assert_ok(rf_params_fields(&g.decoder->params, RF_ROWS_ADAPTER, &fields, &count));
    for (int64_t i = 0; i < count; i++) {
        char tail[256];
        memcpy(tail, fields[i].path, sizeof tail);
        snprintf(fields[i].path, sizeof fields[i].path, "base_model.model.%.200s", tail);
    }
    assert_ok(rf_safetensors_read(adapter, &g.grid, fields, count, NULL, 0));
    check_logits(&g, p, "lora.logits");
    rf_decoder_loss(g.decoder, &p->tokens, scale, &result, g.gradient);
    assert_ok(rf_safetensors_load(g.values, "lora.loss", RF_F64, &wanted, 1));
    assert_near(result.loss / (double)p->tokens.rows, wanted, 0, LIMIT(3e-6, 1e-11));
    check_gradients(&g, "lora.grad.base_model.model.", LIMIT(2e-5, 1e-11));
    free(fields);
    rf_safetensors_close(&adapter);
    teardown(&g);
    release(&g);
    free(p);
}

static void each_layout(const char *name)
{
    for (int tp = 1; tp <= rf_test_size(); tp *= 2)
        if (rf_test_size() % tp == 0) check_model(name, tp);
}

static void llama_gqa__against_transformers__agrees(void **state)
{
    (void)state;
    skip_without("reference/tiny/llama-gqa");
    each_layout("llama-gqa");
}

static void llama3_rope_biases_tied__against_transformers__agrees(void **state)
{
    (void)state;
    skip_without("reference/tiny/llama3-rope");
    each_layout("llama3-rope");
}

static void mistral_window__against_transformers__agrees(void **state)
{
    (void)state;
    skip_without("reference/tiny/mistral-window");
    each_layout("mistral-window");
}

static const struct CMUnitTest golden_models[] = {
    cmocka_unit_test(llama_gqa__against_transformers__agrees),
    cmocka_unit_test(llama3_rope_biases_tied__against_transformers__agrees),
    cmocka_unit_test(mistral_window__against_transformers__agrees),
};
RF_TEST_MAIN(golden_models)
