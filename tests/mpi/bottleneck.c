/* Bottlenecks behind the branches of a decoder: start, formula, gradients, the same on all ranks.
 */
#include "rf_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapted_model.h"
#include "refract/nn/bottleneck.h"

enum { LOGITS = ADAPTED_LOGITS * ADAPTED_VOCAB, SIZE = 5 };

static const rf_bottlenecks both = {.size = SIZE, .activation = RF_GELU, .behind = {1, 1}};
static const rf_bottlenecks one = {.size = SIZE, .activation = RF_RELU, .behind = {0, 1}};
static const rf_bottlenecks none = {.size = 0};
static const int is_double = sizeof(rf_real) == sizeof(double);

static void start__is_the_base_model_to_the_bit(void **state)
{
    (void)state;
    rf_real found[LOGITS], wanted[LOGITS];
    adapted_model *model = adapted_model_create_bottlenecks(MPI_COMM_WORLD, 1, both);
    adapted_model *base = adapted_model_create_bottlenecks(MPI_COMM_WORLD, 1, none);
    adapted_model_logits(model, found);
    adapted_model_logits(base, wanted);
    for (int i = 0; i < LOGITS; i++) assert_all(found[i] == wanted[i]);
    adapted_model_perturb(model);
    adapted_model_logits(model, found);
    assert_all(memcmp(found, wanted, sizeof found) != 0);
    adapted_model_destroy(model);
    adapted_model_destroy(base);
}

static void parameters__are_two_matrices_and_two_biases_for_each_branch(void **state)
{
    (void)state;
    const int64_t each = 2 * 24 * SIZE + 24 + SIZE;
    adapted_model *model = adapted_model_create_bottlenecks(MPI_COMM_WORLD, 1, both);
    assert_all(rf_params_trained_global(&model->decoder->params) == 2 * 2 * each);
    adapted_model_destroy(model);
    model = adapted_model_create_bottlenecks(MPI_COMM_WORLD, 1, one);
    assert_all(rf_params_trained_global(&model->decoder->params) == 2 * each);
    adapted_model_destroy(model);
}

/* What the formula says, by three loops in double. */
static double expected(const rf_bottleneck *b, const double *y, int64_t j)
{
    double out = y[j] + (double)b->up_bias[j];
    for (int64_t k = 0; k < b->size; k++) {
        double u = (double)b->down_bias[k];
        for (int64_t i = 0; i < b->d; i++) u += (double)b->down[k * b->d + i] * y[i];
        const double act = b->activation == RF_RELU   ? (u > 0 ? u : 0)
                           : b->activation == RF_GELU ? u / 2 * (1 + erf(u / sqrt(2)))
                                                      : u / (1 + exp(-u));
        out += act * (double)b->up[j * b->size + k];
    }
    return out;
}

static void fill(rf_real *x, int64_t n, int seed)
{
    for (int64_t i = 0; i < n; i++) x[i] = (rf_real)(0.6 * sin(1.7 * (double)i + seed));
}

static void forward__of_each_activation__is_the_formula(void **state)
{
    (void)state;
    enum { D = 6, TOKENS = 131 };
    static rf_real y[TOKENS * D], kept[TOKENS * D], u[TOKENS * SIZE];
    rf_real down[SIZE * D], down_bias[SIZE], up[D * SIZE], up_bias[D];
    fill(down, SIZE * D, 1);
    fill(down_bias, SIZE, 2);
    fill(up, D * SIZE, 3);
    fill(up_bias, D, 4);
    rf_real *scratch = calloc((size_t)rf_bottleneck_scratch(D, SIZE, TOKENS), sizeof *scratch);
    assert_non_null(scratch);
    static const char *const names[] = {"relu", "gelu", "silu"};
    for (int kind = 0; kind < 3; kind++) {
        const rf_bottleneck b = {.d = D,
                                 .size = SIZE,
                                 .activation = rf_activation_parse(names[kind]),
                                 .down = down,
                                 .down_bias = down_bias,
                                 .up = up,
                                 .up_bias = up_bias};
        fill(y, TOKENS * D, 5);
        rf_bottleneck_forward(&b, y, kept, u, TOKENS, scratch);
        for (int64_t t = 0; t < TOKENS; t++) {
            double row[D];
            for (int i = 0; i < D; i++) row[i] = (double)kept[t * D + i];
            for (int i = 0; i < D; i++)
                assert_near(y[t * D + i], expected(&b, row, i), 0, is_double ? 1e-14 : 1e-5);
        }
    }
    free(scratch);
}

/* Loss with every trained value moved by h along its gradient; the slope is the gradient's square.
 */
static double loss_along(adapted_model *m, const rf_real *gradient, double h)
{
    const rf_params *params = &m->decoder->params;
    for (int64_t i = 0; i < params->trained_items; i++)
        params->value[i] += (rf_real)(h * (double)gradient[i]);
    const double loss = adapted_model_loss(m, 0);
    for (int64_t i = 0; i < params->trained_items; i++)
        params->value[i] -= (rf_real)(h * (double)gradient[i]);
    return loss;
}

static void gradient__along_itself_and_along_each_tensor__equals_differences(void **state)
{
    (void)state;
    for (int kind = RF_RELU; kind <= RF_SILU && rf_test_rank() == 0; kind++) {
        rf_bottlenecks options = both;
        options.activation = (rf_activation)kind;
        adapted_model *m = adapted_model_create_bottlenecks(MPI_COMM_SELF, 1, options);
        adapted_model_perturb(m);
        adapted_model_loss(m, 1);
        const rf_params *params = &m->decoder->params;
        rf_real *along = calloc((size_t)params->trained_items + 1, sizeof *along);
        assert_non_null(along);
        for (int64_t i = 0; i < params->count; i++) {
            const rf_param *row = &params->row[i];
            double slope = 0;
            if (!row->trained) continue;
            memset(along, 0, (size_t)params->trained_items * sizeof *along);
            for (int64_t k = row->offset; k < row->offset + row->items; k++) {
                along[k] = m->gradient[k];
                slope += (double)along[k] * (double)along[k];
            }
            assert_true(slope > 0);
            const double h = (is_double ? 1e-5 : 3e-3) / sqrt(slope);
            const double up = loss_along(m, along, h), down = loss_along(m, along, -h);
            assert_near((up - down) / (2 * h), slope, is_double ? 1e-5 : 0.2, 0.02 * !is_double);
        }
        free(along);
        adapted_model_destroy(m);
    }
}

static void gradient__on_any_number_of_ranks__has_the_same_bits(void **state)
{
    (void)state;
    adapted_model *alone = adapted_model_create_bottlenecks(MPI_COMM_SELF, 1, both);
    adapted_model *cut = adapted_model_create_bottlenecks(MPI_COMM_WORLD, rf_test_size(), both);
    adapted_model_perturb(alone);
    adapted_model_perturb(cut);
    const double wanted = adapted_model_loss(alone, 1), found = adapted_model_loss(cut, 1);
    assert_all(wanted == found);
    assert_all(memcmp(alone->gradient, cut->gradient,
                      (size_t)alone->decoder->params.trained_items * sizeof(rf_real)) == 0);
    adapted_model_destroy(alone);
    adapted_model_destroy(cut);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(start__is_the_base_model_to_the_bit),
    cmocka_unit_test(parameters__are_two_matrices_and_two_biases_for_each_branch),
    cmocka_unit_test(forward__of_each_activation__is_the_formula),
    cmocka_unit_test(gradient__along_itself_and_along_each_tensor__equals_differences),
    cmocka_unit_test(gradient__on_any_number_of_ranks__has_the_same_bits),
};

RF_TEST_MAIN(tests)
