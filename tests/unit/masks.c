/* Trained masks, what adapters say beside their layers, and models that a prune has cut down. */
#include "rf_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapted_model.h"
#include "method_bench.h"
#include "refract/method/light.h"
#include "refract/nn/ratio.h"
#include "refract/optim/adamw.h"

static const int is_double = sizeof(rf_real) == sizeof(double);
enum { LOGITS = ADAPTED_LOGITS * ADAPTED_VOCAB, R = 3 };

static adapted_model *make(const rf_pruning *pruning, int has_masks)
{
    adapted_model *m =
        adapted_model_create_part(MPI_COMM_SELF, 1, &rf_adapter_lora,
                                  (rf_adapter_options){.r = R, .alpha = 6}, pruning, has_masks);
    if (!pruning) adapted_model_perturb(m);
    return m;
}

static rf_real *mask_of(const adapted_model *m, int64_t layer, int is_head)
{
    const rf_block *block = &m->decoder->block[layer];
    return m->decoder->params.row[is_head ? block->head_mask_row : block->neuron_mask_row].data;
}

static void set_masks(const adapted_model *m, rf_real value)
{
    for (int64_t i = 0; i < 2 * m->config.layers; i++) {
        const int64_t count = i % 2 ? m->config.heads : m->config.d_ff;
        for (int64_t k = 0; k < count; k++) mask_of(m, i / 2, (int)(i % 2))[k] = value;
    }
}

static void masks__of_one__change_nothing(void **state)
{
    (void)state;
    rf_real masked[LOGITS], plain[LOGITS];
    adapted_model *a = make(NULL, 1), *b = make(NULL, 0);
    set_masks(a, 1);
    adapted_model_logits(a, masked);
    adapted_model_logits(b, plain);
    assert_memory_equal(masked, plain, sizeof plain);
    adapted_model_destroy(a);
    adapted_model_destroy(b);
}

/* Some groups, neurons of both layers, some adapters and all ranks of the others. */
static rf_pruning *some_pruning(void)
{
    const rf_model_config config = adapted_model_config();
    rf_pruning *p = NULL;
    assert_ok(rf_pruning_create(&p, &config));
    p->group_kept[1] = 0;
    p->group_kept[3 + 0] = p->group_kept[3 + 2] = 0;
    for (int64_t j = 0; j < config.d_ff; j++) p->neuron_kept[j] = j % 3 != 1;
    for (int64_t j = 0; j < config.d_ff; j++) p->neuron_kept[config.d_ff + j] = j > 20;
    for (int64_t i = 0; i < config.layers * RF_LINEARS; i++)
        p->rank[i] = i == 2 * RF_LINEARS - 1 ? 5 : R;
    return p;
}

/* Row and column of a kept item in the whole tensor. */
static void copy_kept(const rf_grid *grid, const rf_param *to, const rf_param *from,
                      const int64_t *kept)
{
    rf_real *part = malloc((size_t)(to->shape.rows * to->shape.cols) * sizeof *part);
    rf_real *whole = malloc((size_t)(from->shape.rows * from->shape.cols) * sizeof *whole);
    rf_shape_gather(whole, from->data, &from->shape, 0, grid->slices, sizeof *whole);
    for (int64_t i = 0; i < to->shape.rows; i++)
        for (int64_t j = 0; j < to->shape.cols; j++)
            part[i * to->shape.cols + j] =
                whole[(to->shape.split == RF_ROWS && kept ? kept[i] : i) * from->shape.cols +
                      (to->shape.split == RF_COLS && kept ? kept[j] : j)];
    rf_shape_scatter(to->data, part, &to->shape, 0, grid->slices, sizeof *part);
    free(part);
    free(whole);
}

static void cut_weights(const adapted_model *to, const adapted_model *from, const rf_pruning *p)
{
    const rf_params *params = &to->decoder->params;
    int64_t kept[64];
    for (int64_t row = 0; row < params->count; row++) {
        const rf_param *other = rf_params_find(&from->decoder->params, params->row[row].name);
        int is_cut = 0;
        for (int64_t i = 0; i < to->config.layers * RF_LINEARS; i++) {
            const rf_block *block = &to->decoder->block[i / RF_LINEARS];
            const int kind = (int)(i % RF_LINEARS);
            if (row != block->weight_row[kind] && row != block->bias_row[kind] &&
                row != block->adapter_row[kind] && row != block->adapter_row[kind] + 1)
                continue;
            rf_pruning_features(p, i / RF_LINEARS, (rf_linear_kind)kind, kept);
            is_cut = 1;
            break;
        }
        assert_non_null(other);
        copy_kept(&to->grid, &params->row[row], other, is_cut ? kept : NULL);
    }
    rf_decoder_prepare(to->decoder);
}

/* The key oracle: a mask of 0 is the structure taken out, through the real decoder. */
static void mask__of_zero__is_the_pruned_model(void **state)
{
    (void)state;
    rf_real masked[LOGITS], pruned[LOGITS], whole[LOGITS];
    rf_pruning *p = some_pruning();
    adapted_model *a = make(NULL, 1), *b = make(p, 0);
    set_masks(a, 1);
    adapted_model_logits(a, whole);
    cut_weights(b, a, p);
    for (int64_t layer = 0; layer < a->config.layers; layer++) {
        for (int64_t h = 0; h < a->config.heads; h++) {
            const int64_t group = h / 2;
            mask_of(a, layer, 1)[h] = (rf_real)p->group_kept[layer * 3 + group];
        }
        for (int64_t j = 0; j < a->config.d_ff; j++)
            mask_of(a, layer, 0)[j] = (rf_real)p->neuron_kept[layer * a->config.d_ff + j];
    }
    adapted_model_logits(a, masked);
    adapted_model_logits(b, pruned);
    double differs = 0;
    for (int i = 0; i < LOGITS; i++) {
        assert_near(pruned[i], masked[i], 0, is_double ? 1e-13 : 1e-4);
        differs = fmax(differs, fabs((double)whole[i] - (double)masked[i]));
    }
    assert_true(differs > 0.1);
    const double loss = adapted_model_loss(a, 0);
    assert_near(adapted_model_loss(b, 1), loss, is_double ? 1e-13 : 1e-5, 0);
    adapted_model_destroy(a);
    adapted_model_destroy(b);
    rf_pruning_destroy(&p);
}

/* A pruned model's own gradient: finite differences along its trained tensors. */
static double loss_of(void *context)
{
    adapted_model *m = context;
    rf_decoder_prepare(m->decoder);
    return adapted_model_loss(m, 0);
}

static void gradient__of_a_pruned_model__equals_the_slope(void **state)
{
    (void)state;
    rf_pruning *p = some_pruning();
    adapted_model *a = make(NULL, 0), *b = make(p, 0);
    cut_weights(b, a, p);
    adapted_model_loss(b, 1);
    for (int64_t i = 0; i < b->decoder->params.count; i++) {
        const rf_param *row = &b->decoder->params.row[i];
        if (row->trained)
            rf_check_gradient(row->name, loss_of, b, row->data, b->gradient + row->offset,
                              row->items, 2);
    }
    adapted_model_destroy(a);
    adapted_model_destroy(b);
    rf_pruning_destroy(&p);
}

static void gradient__of_every_mask__equals_the_slope(void **state)
{
    (void)state;
    adapted_model *m = make(NULL, 1);
    adapted_model_loss(m, 1);
    for (int64_t i = 0; i < 2 * m->config.layers; i++) {
        const rf_block *block = &m->decoder->block[i / 2];
        const rf_param *row =
            &m->decoder->params.row[i % 2 ? block->head_mask_row : block->neuron_mask_row];
        rf_check_gradient(row->name, loss_of, m, row->data, m->gradient + row->offset, row->items,
                          row->items);
    }
    adapted_model_destroy(m);
}

/* With no gradient but the penalty's, AdamW drives a mask down by the learning rate a step. */
static void penalty__alone__drives_masks_down_by_the_rate(void **state)
{
    (void)state;
    static const rf_adamw adamw = {.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-12};
    adapted_model *m = make(NULL, 1);
    set_masks(m, 1);
    for (int step = 1; step <= 5; step++) {
        memset(m->gradient, 0, (size_t)m->decoder->params.trained_items * sizeof *m->gradient);
        rf_light_penalise(m->decoder, 1e-4, m->gradient);
        rf_adamw_update(&adamw, &m->decoder->params, m->gradient, 1, 0.01, step);
        assert_near(mask_of(m, 1, 1)[2], 1 - 0.01 * step, 1e-5, 0);
        assert_near(mask_of(m, 0, 0)[7], 1 - 0.01 * step, 1e-5, 0);
    }
    mask_of(m, 0, 0)[3] = (rf_real)-0.5;
    mask_of(m, 0, 0)[4] = 0;
    memset(m->gradient, 0, (size_t)m->decoder->params.trained_items * sizeof *m->gradient);
    rf_light_penalise(m->decoder, 0.25, m->gradient);
    const rf_real *d =
        m->gradient + m->decoder->params.row[m->decoder->block[0].neuron_mask_row].offset;
    assert_near(d[2], 0.25, 0, 0);
    assert_near(d[3], -0.25, 0, 0);
    assert_near(d[4], 0, 0, 0);
    adapted_model_destroy(m);
}

/* One stored module: the mean ratio over all its tokens. */
static double ratio_of(const reference *data, int step, int module)
{
    int64_t x_items = 0, b_items = 0, n_out = 0;
    double *all[] = {reference_load(data, NULL, "m%d.W0", module),
                     reference_load(data, &n_out, "m%d.bias", module),
                     reference_load(data, &x_items, "step%d.m%d.x", step, module),
                     reference_load(data, NULL, "step%d.m%d.A", step, module),
                     reference_load(data, &b_items, "step%d.m%d.B", step, module)};
    double *counted = reference_load(data, NULL, "attention_mask");
    const int64_t tokens = 18, n_in = x_items / tokens, r = b_items / n_out;
    double sum = 0, count = 0;
    rf_real *xs = calloc((size_t)(tokens * r), sizeof *xs);
    rf_real *y = calloc((size_t)(tokens * n_out), sizeof *y);
    rf_real *b = calloc((size_t)b_items, sizeof *b);
    for (int64_t i = 0; i < b_items; i++) b[i] = (rf_real)all[4][i];
    int64_t kept = 0;
    for (int64_t t = 0; t < tokens; t++) {
        if (counted[t] == 0) continue;
        const double *x = all[2] + t * n_in;
        for (int64_t k = 0; k < r; k++) {
            double inner = 0;
            for (int64_t j = 0; j < n_in; j++) inner += all[3][k * n_in + j] * x[j];
            xs[kept * r + k] = (rf_real)(2 * inner);
        }
        for (int64_t i = 0; i < n_out; i++) {
            double out = all[1][i];
            for (int64_t j = 0; j < n_in; j++) out += all[0][i * n_in + j] * x[j];
            for (int64_t k = 0; k < r; k++) out += (double)xs[kept * r + k] * all[4][i * r + k];
            y[kept * n_out + i] = (rf_real)out;
        }
        kept++;
    }
    rf_grid grid;
    rf_arena arena = {0};
    assert_ok(rf_grid_create(&grid, MPI_COMM_SELF, 1, 1));
    const rf_lowrank lowrank = {.r = r, .scaling = 2, .b = b};
    const rf_linear linear = {.shape = {n_out, n_in, RF_ROWS, {n_out, 1, 1}}, .lowrank = &lowrank};
    rf_linear_context context = {.grid = &grid};
    assert_ok(rf_arena_create(&arena, "test", 1 << 20));
    rf_workspace_layout(&context.workspace, &arena, 2, rf_ratio_items(&linear));
    double *squares = calloc((size_t)(2 * kept), sizeof *squares);
    const rf_linear_pass pass = {.linear = &linear, .xs = xs};
    rf_ratio_squares(&context, &pass, y, kept, squares, 2 * kept);
    sum = rf_ratio_sum(squares, kept);
    count = (double)kept;
    rf_arena_destroy(&arena);
    rf_grid_destroy(&grid);
    for (int i = 0; i < 5; i++) free(all[i]);
    free(squares);
    free(counted);
    free(xs);
    free(y);
    free(b);
    return sum / count;
}

static void ratio__of_stored_steps__is_the_released_one(void **state)
{
    (void)state;
    enum { MODULES = 12 };
    static const int steps[] = {0, 3, 6};
    skip_without("reference/methods/lightpeft_scores.safetensors");
    reference data = reference_open("lightpeft_scores");
    double *wanted = reference_load(&data, NULL, "ratio_per_step");
    for (int i = 0; i < 3 * MODULES; i++)
        assert_near(ratio_of(&data, steps[i / MODULES], i % MODULES),
                    wanted[steps[i / MODULES] * MODULES + i % MODULES], is_double ? 1e-12 : 1e-4,
                    0);
    free(wanted);
    reference_close(&data);
}

/* Every adapter is measured; with B = 0 none says anything. */
static void ratio__of_every_adapter__is_zero_without_b(void **state)
{
    (void)state;
    adapted_model *m = make(NULL, 1);
    adapted_model_loss(m, 1);
    const rf_decoder *d = m->decoder;
    for (int64_t i = 0; i < d->adapted; i++) {
        assert_true(isfinite(d->ratio[i]) && d->ratio[i] > 0);
        assert_true(d->ratio[i] < 100.0 * ADAPTED_TOKENS);
    }
    for (int64_t i = 0; i < d->config.layers * RF_LINEARS; i++) {
        const rf_param *b =
            &d->params.row[d->block[i / RF_LINEARS].adapter_row[i % RF_LINEARS] + 1];
        memset(b->data, 0, (size_t)b->items * sizeof(rf_real));
    }
    rf_decoder_prepare(m->decoder);
    adapted_model_loss(m, 1);
    for (int64_t i = 0; i < d->adapted; i++) assert_near(d->ratio[i], 0, 0, 0);
    adapted_model_destroy(m);
}

/* Rows or columns of a stored tensor that a module keeps. */
static void expect_slice(const reference *data, int module, const char *what, const int64_t *rows,
                         const int64_t *cols)
{
    int64_t before_items = 0, after_items = 0;
    double *before = reference_load(data, &before_items, "slice.before.m%d.%s", module, what);
    double *after = reference_load(data, &after_items, "slice.after.m%d.%s", module, what);
    char key[64];
    snprintf(key, sizeof key, "slice.after.m%d.%s", module, what);
    const rf_tensor_info *small = rf_safetensors_find(data->values, key);
    snprintf(key, sizeof key, "slice.before.m%d.%s", module, what);
    const rf_tensor_info *large = rf_safetensors_find(data->values, key);
    const int64_t n = small->dims > 1 ? small->dim[1] : 1,
                  whole = large->dims > 1 ? large->dim[1] : 1;
    for (int64_t i = 0; i < after_items; i++) {
        const int64_t row = rows ? rows[i / n] : i / n, col = cols ? cols[i % n] : i % n;
        assert_near(before[row * whole + col], after[i], 0, 0);
    }
    free(before);
    free(after);
}

static void features__of_the_stored_prune__are_the_released_slices(void **state)
{
    (void)state;
    static const rf_linear_kind kinds[] = {RF_Q, RF_K, RF_V, RF_O, RF_UP, RF_DOWN};
    const rf_model_config config = {
        .layers = 2, .heads = 4, .kv_heads = 4, .d_head = 3, .d_ff = 12};
    skip_without("reference/methods/lightpeft_pruning.safetensors");
    reference data = reference_open("lightpeft_pruning");
    rf_pruning *p = NULL;
    assert_ok(rf_pruning_create(&p, &config));
    assert_ok(rf_safetensors_load(data.values, "slice.heads_kept", RF_U8, p->group_kept, 8));
    assert_ok(rf_safetensors_load(data.values, "slice.neurons_kept", RF_U8, p->neuron_kept, 24));
    for (int i = 0; i < 12; i++) {
        int64_t kept[64];
        const rf_linear_kind kind = kinds[i % 6];
        const int is_row = kind == RF_O || kind == RF_DOWN;
        rf_pruning_features(p, i / 6, kind, kept);
        expect_slice(&data, i, "W", is_row ? NULL : kept, is_row ? kept : NULL);
        expect_slice(&data, i, "bias", is_row ? NULL : kept, NULL);
        expect_slice(&data, i, "A", NULL, is_row ? kept : NULL);
        expect_slice(&data, i, "B", is_row ? NULL : kept, NULL);
    }
    assert_int_equal(rf_pruning_is_uniform(p), 0);
    rf_pruning_destroy(&p);
    reference_close(&data);
}

static const struct CMUnitTest masks[] = {
    cmocka_unit_test(masks__of_one__change_nothing),
    cmocka_unit_test(mask__of_zero__is_the_pruned_model),
    cmocka_unit_test(gradient__of_a_pruned_model__equals_the_slope),
    cmocka_unit_test(gradient__of_every_mask__equals_the_slope),
    cmocka_unit_test(penalty__alone__drives_masks_down_by_the_rate),
    cmocka_unit_test(ratio__of_stored_steps__is_the_released_one),
    cmocka_unit_test(ratio__of_every_adapter__is_zero_without_b),
    cmocka_unit_test(features__of_the_stored_prune__are_the_released_slices),
};
RF_TEST_MAIN(masks)
