#include "rf_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "refract/linalg/init.h"
#include "refract/nn/embedding.h"
#include "refract/nn/head.h"

/* Three rows of vocabulary beyond a multiple of the slices; two chunks of labelled rows. */
enum { VOCAB = 51, D = 12, MOST = 300, SLICES = 4 };

typedef struct head_case {
    rf_grid grid;
    rf_arena arena;
    rf_collector collector;
    rf_linear_context context;
    rf_head_scratch scratch;
    rf_linear head;
    rf_real *w, *x, *dx;
    int64_t rows;
    int32_t target[MOST];
    unsigned char correct[MOST];
} head_case;

static void setup(head_case *c, MPI_Comm comm, int tp, int64_t rows)
{
    memset(c, 0, sizeof *c);
    assert_ok(rf_grid_create(&c->grid, comm, tp, SLICES));
    assert_ok(rf_arena_create(&c->arena, "test", 64 << 20));
    const rf_cut cut = {.units = VOCAB, .unit = 1, .slices = SLICES};
    c->rows = rows;
    c->head =
        (rf_linear){.name = "head", .shape = {VOCAB, D, RF_ROWS, cut}, .dtype = RF_DTYPE_REAL};
    c->w = RF_TAKE(&c->arena, rf_real, VOCAB * D);
    c->head.w = c->w;
    c->head.dw = RF_TAKE(&c->arena, rf_real, VOCAB * D);
    c->x = RF_TAKE(&c->arena, rf_real, MOST * D);
    c->dx = RF_TAKE(&c->arena, rf_real, MOST * D);
    rf_init_fill(c->w, &c->head.shape, c->grid.slice_begin, c->grid.slice_end,
                 (rf_init){RF_INIT_UNIFORM, 1}, 4, 0);
    rf_test_fill(c->x, MOST * D, 5);
    for (int i = 0; i < MOST; i++) c->target[i] = (int32_t)(i * 7 % VOCAB);
    rf_collector_layout(&c->collector, &c->arena, c->grid.tp, SLICES);
    rf_head_scratch_layout(&c->scratch, &c->arena, &c->head, &c->grid);
    c->context = (rf_linear_context){.grid = &c->grid, .collector = &c->collector};
    c->context.exchange = RF_TAKE(&c->arena, rf_real, MOST * D);
    c->context.exchange_scratch =
        RF_TAKE(&c->arena, rf_real, rf_collect_scratch(&c->collector, MOST * D, SLICES));
    rf_workspace_layout(&c->context.workspace, &c->arena, 2,
                        rf_linear_scratch(&c->head, &c->grid, 0));
}

static void teardown(head_case *c)
{
    rf_arena_destroy(&c->arena);
    rf_grid_destroy(&c->grid);
}

static double loss_of(void *context)
{
    head_case *c = context;
    rf_head_result result = {.correct = c->correct};
    rf_head_loss(&c->context, &c->head, &c->scratch, &result, c->x, c->target, c->rows, 1, NULL);
    return result.loss;
}

static void backward(head_case *c, rf_real scale)
{
    rf_head_result result = {.correct = c->correct};
    rf_head_loss(&c->context, &c->head, &c->scratch, &result, c->x, c->target, c->rows, scale,
                 c->dx);
}

/* -log softmax(x W^T)[target] and whether the target is the first largest logit, in double. */
static double naive(const head_case *c, const rf_real *w, int64_t row, int *is_most)
{
    double logit[VOCAB], sum = 0;
    int most = 0;
    for (int v = 0; v < VOCAB; v++) {
        logit[v] = 0;
        for (int j = 0; j < D; j++) logit[v] += (double)w[v * D + j] * (double)c->x[row * D + j];
        if (logit[v] > logit[most]) most = v;
        sum += exp(logit[v]);
    }
    *is_most = most == c->target[row];
    return log(sum) - logit[c->target[row]];
}

static void loss__on_any_ranks__is_cross_entropy_with_the_serial_bits(void **state)
{
    (void)state;
    head_case *own = malloc(sizeof *own), *serial = malloc(sizeof *serial);
    setup(own, MPI_COMM_WORLD, rf_test_size(), MOST);
    setup(serial, MPI_COMM_SELF, 1, MOST);
    double wanted = 0;
    const double mine = loss_of(own), alone = loss_of(serial);
    int flags = 1;
    for (int64_t row = 0; row < MOST; row++) {
        int is_most = 0;
        wanted += naive(serial, serial->w, row, &is_most);
        flags &= own->correct[row] == is_most;
    }
    assert_near(alone, wanted, 1e-6, 0);
    assert_all(mine == alone);
    assert_all(flags);

    backward(own, (rf_real)0.5);
    backward(serial, (rf_real)0.5);
    assert_all(memcmp(own->dx, serial->dx, sizeof(rf_real) * MOST * D) == 0);
    const rf_shape *shape = &own->head.shape;
    const int64_t at = rf_slice_offset(shape, 0, own->grid.slice_begin);
    const int64_t items = rf_local_items(shape, own->grid.slice_begin, own->grid.slice_end);
    assert_all(memcmp(own->head.dw, serial->head.dw + at, sizeof(rf_real) * (size_t)items) == 0);
    teardown(own);
    teardown(serial);
    free(own);
    free(serial);
}

static void backward__two_chunks__equals_differences(void **state)
{
    (void)state;
    head_case *c = malloc(sizeof *c);
    setup(c, MPI_COMM_SELF, 1, MOST);
    backward(c, 1);
    rf_check_gradient("x", loss_of, c, c->x, c->dx, MOST * D, 60);
    rf_check_gradient("W", loss_of, c, c->w, c->head.dw, VOCAB * D, 60);
    teardown(c);
    free(c);
}

static void backward__without_labels__leaves_zero_gradients(void **state)
{
    (void)state;
    head_case *c = malloc(sizeof *c);
    setup(c, MPI_COMM_SELF, 1, 0);
    rf_test_fill(c->head.dw, VOCAB * D, 9);
    backward(c, 1);
    for (int i = 0; i < VOCAB * D; i++) assert_true(c->head.dw[i] == 0);
    teardown(c);
    free(c);
}

static void logits__on_every_rank__are_the_products(void **state)
{
    (void)state;
    head_case *own = malloc(sizeof *own), *serial = malloc(sizeof *serial);
    rf_real *logits = malloc(sizeof *logits * 20 * VOCAB);
    setup(own, MPI_COMM_WORLD, rf_test_size(), MOST);
    setup(serial, MPI_COMM_SELF, 1, MOST);
    rf_head_logits(&own->context, &own->head, &own->scratch, logits, own->x, 20);
    double worst = 0;
    for (int row = 0; row < 20; row++)
        for (int v = 0; v < VOCAB; v++) {
            double wanted = 0;
            for (int j = 0; j < D; j++)
                wanted += (double)serial->w[v * D + j] * (double)serial->x[row * D + j];
            worst = fmax(worst, fabs((double)logits[row * VOCAB + v] - wanted));
        }
    assert_all(worst < 1e-5);
    free(logits);
    teardown(own);
    teardown(serial);
    free(own);
    free(serial);
}

static void embedding__rows_of_any_rank__come_exactly_and_gradients_add_up(void **state)
{
    (void)state;
    enum { TOKENS = 40 };
    head_case *own = malloc(sizeof *own), *serial = malloc(sizeof *serial);
    rf_real h[TOKENS * D];
    int32_t ids[TOKENS];
    setup(own, MPI_COMM_WORLD, rf_test_size(), MOST);
    setup(serial, MPI_COMM_SELF, 1, MOST);
    for (int t = 0; t < TOKENS; t++) ids[t] = (int32_t)(t * t % VOCAB);
    rf_embedding_forward(&own->context, &own->head, h, ids, TOKENS);
    int good = 1;
    for (int t = 0; t < TOKENS; t++)
        good &= memcmp(h + t * D, serial->w + ids[t] * D, sizeof(rf_real) * D) == 0;
    assert_all(good);

    /* dE of row v = sum of dh over the tokens that are v, on top of what was there */
    rf_real wanted = 3;
    for (int i = 0; i < VOCAB * D; i++) serial->head.dw[i] = 3;
    rf_embedding_backward(&serial->context, &serial->head, serial->x, ids, TOKENS);
    for (int t = 0; t < TOKENS; t++)
        if (ids[t] == 4) wanted += serial->x[t * D + 7];
    assert_true(serial->head.dw[4 * D + 7] == wanted && wanted != 3);
    teardown(own);
    teardown(serial);
    free(own);
    free(serial);
}

static const struct CMUnitTest head[] = {
    cmocka_unit_test(loss__on_any_ranks__is_cross_entropy_with_the_serial_bits),
    cmocka_unit_test(backward__two_chunks__equals_differences),
    cmocka_unit_test(backward__without_labels__leaves_zero_gradients),
    cmocka_unit_test(logits__on_every_rank__are_the_products),
    cmocka_unit_test(embedding__rows_of_any_rank__come_exactly_and_gradients_add_up),
};
RF_TEST_MAIN(head)
