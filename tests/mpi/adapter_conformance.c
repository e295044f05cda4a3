/* What every kind of adapter must hold to, whichever kinds the registry lists. */
#include "rf_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapted_model.h"
#include "refract/io/checkpoint.h"
#include "refract/train/state.h"

static const int is_double = sizeof(rf_real) == sizeof(double);
#define LIMIT(single, wide) (is_double ? (wide) : (single))

enum { MODULES = 2 * RF_LINEARS, LOGITS = ADAPTED_LOGITS * ADAPTED_VOCAB };

static const rf_adapter_init inits[] = {RF_ADAPTER_DEFAULT, RF_ADAPTER_GAUSSIAN, RF_ADAPTER_RANDOM,
                                        RF_ADAPTER_PISSA};
enum { INITS = sizeof inits / sizeof inits[0] };

static rf_adapter_options options_of(rf_adapter_init init)
{
    return (rf_adapter_options){.r = 3, .alpha = 5, .init = init, .temperature = 0.2};
}

static adapted_model *make(const rf_adapter_kind *kind, rf_adapter_init init)
{
    return adapted_model_create(MPI_COMM_WORLD, rf_test_size(), kind, options_of(init));
}

static double worst(const rf_real *a, const rf_real *b, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        const double off = fabs((double)a[i] - (double)b[i]);
        if (!(off <= most)) most = off;
    }
    return most;
}

/* Runs a check for every kind and every start. */
static void for_all(void (*check)(const rf_adapter_kind *, rf_adapter_init))
{
    for (int k = 0; k < rf_adapter_count(); k++)
        for (int i = 0; i < INITS; i++)
            if (inits[i] == RF_ADAPTER_DEFAULT || !rf_adapter_at(k)->has_own_start)
                check(rf_adapter_at(k), inits[i]);
}

static void check_start(const rf_adapter_kind *kind, rf_adapter_init init)
{
    rf_real found[LOGITS], wanted[LOGITS];
    adapted_model *model = make(kind, init), *base = make(NULL, init);
    adapted_model_logits(model, found);
    adapted_model_logits(base, wanted);
    if (rf_adapter_moves_base(&model->decoder->block[0].adapter[0]))
        assert_all(worst(found, wanted, LOGITS) < LIMIT(1e-4, 1e-12));
    else
        assert_all(memcmp(found, wanted, sizeof found) == 0);
    adapted_model_destroy(model);
    adapted_model_destroy(base);
}

static void start__any_kind__is_the_base_model(void **state)
{
    (void)state;
    for_all(check_start);
}

static void check_merge(const rf_adapter_kind *kind, rf_adapter_init init)
{
    rf_real found[LOGITS], wanted[LOGITS], unmerged[LOGITS];
    adapted_model *model = make(kind, init), *base = make(NULL, init);
    adapted_model_logits(base, unmerged);
    adapted_model_perturb(model);
    for (int64_t i = 0; i < MODULES; i++) {
        const rf_adapter *adapter = adapted_model_adapter(model, i);
        const rf_block *block = &base->decoder->block[i / RF_LINEARS];
        const rf_param *row = &base->decoder->params.row[block->weight_row[i % RF_LINEARS]];
        rf_real *w = row->data;
        memcpy(w, adapter->w, (size_t)row->items * sizeof *w);
        for (int s = adapter->slice_begin; s < adapter->slice_end; s++)
            rf_adapter_merge(adapter, s, w + rf_slice_offset(&row->shape, adapter->slice_begin, s));
    }
    adapted_model_logits(model, wanted);
    adapted_model_logits(base, found);
    assert_all(worst(found, wanted, LOGITS) < LIMIT(1e-4, 1e-12));
    assert_all(worst(unmerged, wanted, LOGITS) > 0.01);
    adapted_model_destroy(model);
    adapted_model_destroy(base);
}

static void merged__then_forward__equals_the_adapter(void **state)
{
    (void)state;
    for_all(check_merge);
}

/* A model as a reader of PEFT folders would make it: plain factors over the untouched base. */
static adapted_model *reader_of(const adapted_model *model)
{
    const rf_block *block = model->decoder->block;
    rf_adapter_options options = rf_adapter_export_options(&block[0].adapter[0]);
    options.init = RF_ADAPTER_DEFAULT;
    return adapted_model_create(MPI_COMM_WORLD, rf_test_size(),
                                rf_adapter_for_peft(model->decoder->kind->is_dora), options);
}

static void check_export(const rf_adapter_kind *kind, rf_adapter_init init)
{
    rf_real found[LOGITS], wanted[LOGITS];
    rf_adapter_options options = options_of(init);
    options.r = 4; /* one rank for all, so that the reader needs no pattern */
    options.use_rslora = init == RF_ADAPTER_PISSA;
    adapted_model *model = adapted_model_create(MPI_COMM_WORLD, rf_test_size(), kind, options);
    adapted_model_perturb(model);
    adapted_model *reader = reader_of(model);
    for (int64_t i = 0; i < MODULES; i++) {
        const rf_adapter *from = adapted_model_adapter(model, i);
        rf_adapter *to = adapted_model_adapter(reader, i);
        rf_adapter_export(from, to->value[0], to->value[1]);
        if (!kind->is_dora) continue;
        const int64_t row = model->decoder->block[i / RF_LINEARS].adapter_row[i % RF_LINEARS] + 2;
        memcpy(to->value[2], from->value[2],
               (size_t)model->decoder->params.row[row].items * sizeof(rf_real));
    }
    rf_decoder_prepare(reader->decoder);
    adapted_model_logits(model, wanted);
    adapted_model_logits(reader, found);
    assert_all(worst(found, wanted, LOGITS) < LIMIT(2e-4, 1e-11));
    adapted_model_destroy(model);
    adapted_model_destroy(reader);
}

static void exported__over_the_base_of_the_files__is_the_same_model(void **state)
{
    (void)state;
    for_all(check_export);
}

/* 1 for factors, 0 for a kind's own tensors. */
static int is_factor(const rf_param *row)
{
    return strstr(row->name, ".lora_A.") || strstr(row->name, ".lora_B.");
}

typedef struct direction {
    adapted_model *model;
    int factors;  /* which tensors move */
    int prepares; /* 0: norms stay what they were */
} direction;

/* Loss after a step of h along fixed values; returns the slope that the gradient tells in *slope.
 */
static double loss_along(const direction *d, double h, double *slope)
{
    const rf_params *params = &d->model->decoder->params;
    const size_t bytes = (size_t)params->trained_items * sizeof(rf_real);
    rf_real *kept = malloc(bytes);
    memcpy(kept, params->value, bytes);
    *slope = 0;
    for (int64_t i = 0; i < params->count; i++) {
        const rf_param *row = &params->row[i];
        if (!row->trained || is_factor(row) != d->factors) continue;
        for (int64_t j = 0; j < row->items; j++) {
            const double v = rf_test_value((uint64_t)i, (uint64_t)j);
            params->value[row->offset + j] += (rf_real)(h * v);
            *slope += v * (double)d->model->gradient[row->offset + j];
        }
    }
    if (d->prepares) rf_decoder_prepare(d->model->decoder);
    const double loss = adapted_model_loss(d->model, 0);
    memcpy(params->value, kept, bytes);
    free(kept);
    return loss;
}

static void check_gradient(const rf_adapter_kind *kind, rf_adapter_init init)
{
    adapted_model *model = adapted_model_create(MPI_COMM_SELF, 1, kind, options_of(init));
    adapted_model_perturb(model);
    adapted_model_loss(model, 1);
    const double h = LIMIT(1e-3, 1e-6);
    for (int factors = 0; factors < 2; factors++) {
        /* norms are constants of the backward pass where factors move */
        const direction d = {model, factors, !factors || !kind->scales_output};
        double slope;
        const double up = loss_along(&d, h, &slope), down = loss_along(&d, -h, &slope);
        assert_near((up - down) / (2 * h), slope, LIMIT(3e-2, 1e-7), LIMIT(0.1, 1e-8));
        rf_decoder_prepare(model->decoder);
    }
    adapted_model_destroy(model);
}

static void gradient__along_every_tensor__equals_differences(void **state)
{
    (void)state;
    if (rf_test_rank() == 0) for_all(check_gradient);
}

static rf_real *whole(const rf_adapter *adapter, const rf_real *local, const rf_shape *shape)
{
    rf_real *global = malloc((size_t)(shape->rows * shape->cols) * sizeof *global);
    rf_shape_gather(global, local, shape, adapter->slice_begin, adapter->slice_end, sizeof *global);
    return global;
}

/* c [r] = <a_k, da_k> of A's rows (or B's columns); magnitude: what was added up. */
static void products(const rf_adapter *adapter, int tensor, double *c, double *magnitude)
{
    rf_adapter_tensor t[RF_ADAPTER_TENSORS];
    adapter->kind->tensors(&adapter->shape, adapter->options, t);
    const rf_shape *shape = &t[tensor].shape;
    rf_real *x = whole(adapter, adapter->value[tensor], shape);
    rf_real *dx = whole(adapter, adapter->gradient[tensor], shape);
    const int64_t r = adapter->options->r;
    memset(c, 0, (size_t)r * sizeof *c);
    for (int64_t i = 0; i < shape->rows * shape->cols; i++) {
        const double product = (double)x[i] * (double)dx[i];
        c[tensor == 0 ? i / shape->cols : i % r] += product;
        *magnitude += fabs(product);
    }
    free(x);
    free(dx);
}

static void check_identity(const rf_adapter_kind *kind, rf_adapter_init init)
{
    adapted_model *model = adapted_model_create(MPI_COMM_SELF, 1, kind, options_of(init));
    adapted_model_perturb(model);
    adapted_model_loss(model, 1);
    for (int64_t i = 0; i < MODULES; i++) {
        const rf_adapter *adapter = adapted_model_adapter(model, i);
        double a[8], b[8], magnitude = 0, sum = 0;
        products(adapter, 0, a, &magnitude);
        products(adapter, 1, b, &magnitude);
        const double bound = magnitude * LIMIT(1e-5, 1e-13);
        for (int64_t k = 0; k < adapter->options->r; k++) {
            assert_near(a[k], b[k], 0, bound);
            sum += a[k];
        }
        if (!adapter->lowrank->mid || kind->tensors != rf_adapter_beamlora.tensors) continue;
        for (int64_t k = 0; k < adapter->options->r; k++) { /* sigma_k dL/dsigma_k = a_k */
            const double sigma = (double)adapter->lowrank->mid[k];
            const double dgate = (a[k] - sigma * sum / (double)adapter->options->r) / 0.2;
            assert_near(adapter->gradient[2][k], dgate, 0, 5 * bound);
        }
    }
    adapted_model_destroy(model);
}

static void factor_gradients__of_every_rank__have_equal_products(void **state)
{
    (void)state;
    if (rf_test_rank() == 0) for_all(check_identity);
}

/* This rank's slices of a tensor of the serial run have the same bits as its own. */
static int same(const adapted_model *own, const rf_param *row, const rf_real *mine,
                const rf_real *serial)
{
    const int begin = own->grid.slice_begin;
    const int64_t at =
        row->shape.split == RF_REPLICATED ? 0 : rf_slice_offset(&row->shape, 0, begin);
    return row->items == 0 || memcmp(mine, serial + at, sizeof *mine * (size_t)row->items) == 0;
}

static void check_layouts(const rf_adapter_kind *kind, rf_adapter_init init)
{
    adapted_model *own = make(kind, init);
    adapted_model *serial = adapted_model_create(MPI_COMM_SELF, 1, kind, options_of(init));
    adapted_model_perturb(own);
    adapted_model_perturb(serial);
    assert_all(adapted_model_loss(own, 1) == adapted_model_loss(serial, 1));
    for (int64_t i = 0; i < own->decoder->params.count; i++) {
        const rf_param *row = &own->decoder->params.row[i], *all = &serial->decoder->params.row[i];
        if (!row->trained) continue;
        assert_all(same(own, row, row->data, all->data));
        assert_all(same(own, row, own->gradient + row->offset, serial->gradient + all->offset));
    }
    adapted_model_destroy(own);
    adapted_model_destroy(serial);
}

static void gradients__on_any_ranks__have_the_serial_bits(void **state)
{
    (void)state;
    for_all(check_layouts);
}

static void check_checkpoint(const rf_adapter_kind *kind, rf_adapter_init init)
{
    if (init != RF_ADAPTER_DEFAULT) return;
    adapted_model *model = make(kind, init);
    adapted_model_perturb(model);
    rf_params *params = &model->decoder->params;
    const size_t bytes = (size_t)params->trained_items * sizeof(rf_real);
    rf_real *kept = malloc(bytes);
    memcpy(kept, params->value, bytes);
    char folder[512];
    snprintf(folder, sizeof folder, "%s/%s", rf_test_folder(), kind->name);
    rf_field *fields = NULL;
    rf_checkpoint *checkpoint = NULL;
    int64_t count = 0;
    rf_log *log = NULL;
    assert_all(rf_state_fields(params, 0, &fields, &count) == RF_OK);
    assert_all(rf_checkpoint_write(&model->grid, log, folder, 3, fields, count, NULL, 0, 1) ==
               RF_OK);
    memset(params->value, 0, bytes);
    assert_all(rf_checkpoint_open_newest(&checkpoint, &model->grid, log, folder) == RF_OK);
    assert_all(rf_checkpoint_read(checkpoint, &model->grid, fields, count) == RF_OK);
    for (int64_t i = 0; i < params->count; i++) {
        const rf_param *row = &params->row[i];
        if (!row->trained) continue;
        assert_all(memcmp(row->data, kept + row->offset, (size_t)row->items * sizeof *kept) == 0);
        assert_all(strncmp(row->path, "/adapter/", 9) == 0);
    }
    rf_checkpoint_close(&checkpoint);
    free(fields);
    free(kept);
    adapted_model_destroy(model);
}

static void checkpoint__of_every_kind__comes_back(void **state)
{
    (void)state;
    for_all(check_checkpoint);
}

/* Trained parameters of a model as the table counts them; no memory is taken for it. */
static int64_t count_of(const rf_model_config *config, const rf_adapter_kind *kind, int64_t r,
                        const char *const *modules, int module_count)
{
    rf_grid grid;
    rf_decoder *decoder = NULL;
    rf_targets *targets = NULL;
    const rf_target_rules rules = {.all_linear = module_count == 0,
                                   .modules = {modules, module_count},
                                   .r = r,
                                   .alpha = 16,
                                   .where = "test"};
    assert_ok(rf_grid_create(&grid, MPI_COMM_SELF, 1, 4));
    assert_ok(rf_targets_create(&targets, &rules));
    const rf_decoder_options options = {.config = config, .adapter = kind, .targets = targets};
    assert_ok(rf_decoder_create(&decoder, &grid, &options));
    const int64_t count = rf_params_trained_global(&decoder->params);
    rf_decoder_destroy(&decoder);
    rf_targets_destroy(&targets);
    rf_grid_destroy(&grid);
    return count;
}

static rf_model_config shape_of(int64_t d_model, int64_t d_ff, int64_t layers, int64_t heads,
                                int64_t kv_heads, int64_t vocab)
{
    return (rf_model_config){.vocab = vocab,
                             .d_model = d_model,
                             .d_ff = d_ff,
                             .layers = layers,
                             .heads = heads,
                             .kv_heads = kv_heads,
                             .d_head = d_model / heads,
                             .max_position = 4096};
}

static void parameters__of_published_models__are_the_formulas(void **state)
{
    (void)state;
    static const char *const five[] = {"q_proj", "k_proj", "v_proj", "up_proj", "down_proj"};
    const rf_model_config llama = shape_of(4096, 11008, 32, 32, 32, 32000);
    const rf_model_config llama13 = shape_of(5120, 13824, 40, 40, 40, 32000);
    const rf_model_config llama3 = shape_of(4096, 14336, 32, 32, 8, 128256);
    const rf_model_config mistral = shape_of(4096, 14336, 32, 32, 8, 32000);
    assert_int_equal(count_of(&llama, &rf_adapter_lora, 32, five, 5), 56098816);
    assert_int_equal(count_of(&llama3, &rf_adapter_lora, 32, five, 5), 56623104);
    assert_int_equal(count_of(&llama, &rf_adapter_lora, 64, NULL, 0), 159907840);
    assert_int_equal(count_of(&llama13, &rf_adapter_lora, 64, NULL, 0), 250347520);
    assert_int_equal(count_of(&mistral, &rf_adapter_lora, 64, NULL, 0), 167772160);
    /* a gate per rank, a magnitude per output */
    assert_int_equal(count_of(&llama, &rf_adapter_beamlora, 64, NULL, 0), 159907840 + 224 * 64);
    assert_int_equal(count_of(&llama, &rf_adapter_dora, 64, NULL, 0),
                     159907840 + 32 * (5 * 4096 + 2 * 11008));
}

static const struct CMUnitTest adapter_conformance[] = {
    cmocka_unit_test(start__any_kind__is_the_base_model),
    cmocka_unit_test(merged__then_forward__equals_the_adapter),
    cmocka_unit_test(exported__over_the_base_of_the_files__is_the_same_model),
    cmocka_unit_test(gradient__along_every_tensor__equals_differences),
    cmocka_unit_test(factor_gradients__of_every_rank__have_equal_products),
    cmocka_unit_test(gradients__on_any_ranks__have_the_serial_bits),
    cmocka_unit_test(checkpoint__of_every_kind__comes_back),
    cmocka_unit_test(parameters__of_published_models__are_the_formulas),
};
RF_TEST_MAIN(adapter_conformance)
