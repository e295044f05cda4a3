/* Norm, rotary embedding and gated activation: gradients, oracles, and the same bits on any number
 * of threads. */
#include "rf_test.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "refract/linalg/tree.h"
#include "refract/nn/mlp.h"
#include "refract/nn/norm.h"
#include "refract/nn/rope.h"

enum { TOKENS = 300, WIDTH = 72, ITEMS = TOKENS * WIDTH };

static const double eps = 1e-5;

static rf_real *filled(int64_t n, uint64_t seed)
{
    rf_real *x = test_malloc((size_t)n * sizeof *x);
    rf_test_fill(x, n, seed);
    return x;
}

/* A linear form of an output makes a loss whose gradient there is `weight`. */
static double linear_form(const rf_real *y, const rf_real *weight, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)y[i] * (double)weight[i];
    return sum;
}

typedef struct norm_case {
    rf_real *x, *w, *y, *rstd, *dy;
    int64_t tokens;
} norm_case;

static norm_case norm_setup(void)
{
    return (norm_case){.x = filled(ITEMS, 1),
                       .w = filled(WIDTH, 2),
                       .y = filled(ITEMS, 3),
                       .rstd = filled(TOKENS, 4),
                       .dy = filled(ITEMS, 5),
                       .tokens = TOKENS};
}

static void norm_teardown(norm_case *c)
{
    test_free(c->x);
    test_free(c->w);
    test_free(c->y);
    test_free(c->rstd);
    test_free(c->dy);
}

static double norm_loss(void *context)
{
    norm_case *c = context;
    rf_rmsnorm_forward(c->y, c->rstd, c->x, c->w, c->tokens, WIDTH, eps);
    return linear_form(c->y, c->dy, c->tokens * WIDTH);
}

static void rmsnorm__of_one_row__equals_the_formula(void **state)
{
    (void)state;
    norm_case c = norm_setup();
    rf_real *h = filled(ITEMS, 6), *y = filled(ITEMS, 7), branch[WIDTH];
    norm_loss(&c);
    double squares = 0;
    for (int i = 0; i < WIDTH; i++) squares += (double)c.x[i] * (double)c.x[i];
    const double rstd = 1 / sqrt(squares / WIDTH + eps);
    for (int i = 0; i < WIDTH; i++)
        assert_near(c.y[i], (double)c.x[i] * rstd * (double)c.w[i], 1e-5, 1e-7);
    for (int i = 0; i < WIDTH; i++) {
        branch[i] = c.x[i] / 2;
        h[i] = c.x[i] / 2;
    }
    rf_rmsnorm_add_forward(y, c.rstd, h, h, branch, c.w, 1, WIDTH, eps);
    assert_memory_equal(h, c.x, sizeof branch);
    assert_memory_equal(y, c.y, sizeof branch);
    test_free(h);
    test_free(y);
    norm_teardown(&c);
}

static void rmsnorm_backward__against_differences__agrees(void **state)
{
    (void)state;
    norm_case c = norm_setup();
    rf_real *dx = filled(ITEMS, 8), dw[WIDTH];
    rf_real *scratch = filled(rf_token_chunks(TOKENS) * WIDTH, 9);
    norm_loss(&c);
    rf_rmsnorm_backward(dx, NULL, c.dy, c.x, c.rstd, c.w, TOKENS, WIDTH);
    rf_rmsnorm_backward_weight(dw, c.dy, c.x, c.rstd, TOKENS, WIDTH, scratch);
    rf_check_gradient("w", norm_loss, &c, c.w, dw, WIDTH, WIDTH);
    c.tokens = 2;
    rf_check_gradient("x", norm_loss, &c, c.x, dx, 2 * WIDTH, 2 * WIDTH);
    test_free(dx);
    test_free(scratch);
    norm_teardown(&c);
}

static void rmsnorm_backward__onto_a_residual__adds_in_place(void **state)
{
    (void)state;
    norm_case c = norm_setup();
    rf_real *dx = filled(ITEMS, 8), *sum = filled(ITEMS, 9), *residual = filled(ITEMS, 9);
    norm_loss(&c);
    rf_rmsnorm_backward(dx, NULL, c.dy, c.x, c.rstd, c.w, TOKENS, WIDTH);
    rf_rmsnorm_backward(sum, sum, c.dy, c.x, c.rstd, c.w, TOKENS, WIDTH);
    for (int64_t i = 0; i < ITEMS; i++) assert_true(sum[i] == residual[i] + dx[i]);
    rf_rmsnorm_backward(c.dy, NULL, c.dy, c.x, c.rstd, c.w, TOKENS, WIDTH);
    assert_memory_equal(c.dy, dx, ITEMS * sizeof *dx);
    test_free(dx);
    test_free(sum);
    test_free(residual);
    norm_teardown(&c);
}

/* Chunks of the whole sum, made apart and folded, make the sum: what a rank with some rows relies
 * on. */
static void rmsnorm_weight_gradient__by_chunks__has_the_same_bits(void **state)
{
    (void)state;
    norm_case c = norm_setup();
    rf_real whole[WIDTH], parts[3 * WIDTH];
    rf_real *scratch = filled(rf_token_chunks(TOKENS) * WIDTH, 9);
    norm_loss(&c);
    rf_rmsnorm_backward_weight(whole, c.dy, c.x, c.rstd, TOKENS, WIDTH, scratch);
    for (int64_t k = 0, at = 0; k < 3; k++, at += RF_TOKEN_CHUNK)
        rf_rmsnorm_backward_weight(parts + k * WIDTH, c.dy + at * WIDTH, c.x + at * WIDTH,
                                   c.rstd + at, k < 2 ? RF_TOKEN_CHUNK : TOKENS - at, WIDTH,
                                   scratch);
    rf_tree_fold(parts, 3, WIDTH, WIDTH);
    assert_memory_equal(parts, whole, sizeof whole);
    rf_rmsnorm_backward_weight(whole, c.dy, c.x, c.rstd, 0, WIDTH, scratch);
    for (int i = 0; i < WIDTH; i++) assert_true(whole[i] == 0);
    test_free(scratch);
    norm_teardown(&c);
}

static void rope_frequencies__llama3__equal_the_known_values(void **state)
{
    (void)state;
    const rf_rope plain = {.kind = RF_ROPE_DEFAULT, .theta = 5e5};
    const rf_rope llama3 = {.kind = RF_ROPE_LLAMA3,
                            .theta = 5e5,
                            .factor = 8,
                            .low_freq_factor = 1,
                            .high_freq_factor = 4,
                            .original_max_position = 8192};
    const double ratio[] = {1.20748, 1.55341, 2.02631, 2.69453, 3.68425, 5.25733};
    double w[64], stretched[64];
    rf_rope_frequencies(w, &plain, 128);
    rf_rope_frequencies(stretched, &llama3, 128);
    assert_near(w[0], 1, 0, 0);
    assert_near(w[32], 1 / sqrt(5e5), 1e-14, 0);
    for (int i = 0; i < 64; i++)
        assert_near(w[i] / stretched[i], i <= 28 ? 1 : i >= 35 ? 8 : ratio[i - 29], 5e-6, 0);
}

static void rope_frequencies__linear__are_divided(void **state)
{
    (void)state;
    const rf_rope linear = {.kind = RF_ROPE_LINEAR, .theta = 1e4, .factor = 4};
    double w[4];
    rf_rope_frequencies(w, &linear, 8);
    for (int i = 0; i < 4; i++) assert_near(w[i], pow(1e4, -i / 4.0) / 4, 1e-14, 0);
}

typedef struct rope_case {
    rf_rope_table table;
    rf_arena arena;
    rf_real *x, *turned, *weight;
    int32_t position[TOKENS];
} rope_case;

enum { HEAD = 8, HEADS = WIDTH / HEAD - 1, PLACES = 40 };

static void rope_setup(rope_case *c)
{
    const rf_rope rope = {.kind = RF_ROPE_DEFAULT, .theta = 100};
    rf_arena plan = rf_arena_counting("rope");
    rf_rope_table_layout(&c->table, &plan, PLACES, HEAD);
    assert_ok(rf_arena_create(&c->arena, "rope", plan.peak));
    rf_rope_table_layout(&c->table, &c->arena, PLACES, HEAD);
    rf_rope_table_fill(&c->table, &rope);
    c->x = filled(ITEMS, 1);
    c->turned = filled(ITEMS, 1);
    c->weight = filled(ITEMS, 2);
    for (int t = 0; t < TOKENS; t++) c->position[t] = t * 7 % PLACES;
}

static void rope_teardown(rope_case *c)
{
    test_free(c->x);
    test_free(c->turned);
    test_free(c->weight);
    rf_arena_destroy(&c->arena);
}

static double rope_loss(void *context)
{
    rope_case *c = context;
    memcpy(c->turned, c->x, 2 * WIDTH * sizeof(rf_real));
    rf_rope_forward(c->turned, WIDTH, &c->table, c->position, 2, HEADS);
    return linear_form(c->turned, c->weight, 2 * WIDTH);
}

static void rope__of_one_head__equals_the_formula(void **state)
{
    (void)state;
    rope_case c;
    rope_setup(&c);
    rf_rope_forward(c.turned, WIDTH, &c.table, c.position, TOKENS, HEADS);
    for (int t = 0; t < TOKENS; t++)
        for (int i = 0; i < WIDTH; i++) {
            const int64_t at = t * WIDTH + i, k = i % HEAD, pair = k < 4 ? at + 4 : at - 4;
            const double angle = c.position[t] * pow(100, -2.0 * (double)(k % 4) / HEAD);
            const double other = (k < 4 ? -1 : 1) * (double)c.x[i < HEADS * HEAD ? pair : at];
            const double wanted = (double)c.x[at] * cos(angle) + other * sin(angle);
            if (i < HEADS * HEAD)
                assert_near(c.turned[at], wanted, 1e-5, 1e-6);
            else
                assert_true(c.turned[at] == c.x[at]); /* beyond the heads: untouched */
        }
    rf_rope_backward(c.turned, WIDTH, &c.table, c.position, TOKENS, HEADS);
    assert_reals_near(c.turned, c.x, ITEMS, 1e-5, 1e-6);
    rope_teardown(&c);
}

static void rope_backward__against_differences__agrees(void **state)
{
    (void)state;
    rope_case c;
    rope_setup(&c);
    rf_real *dx = filled(ITEMS, 2);
    rf_rope_backward(dx, WIDTH, &c.table, c.position, 2, HEADS);
    rf_check_gradient("x", rope_loss, &c, c.x, dx, 2 * WIDTH, 2 * WIDTH);
    test_free(dx);
    rope_teardown(&c);
}

typedef struct swiglu_case {
    rf_real *gate, *up, *act, *dact;
    int64_t n;
} swiglu_case;

static double swiglu_loss(void *context)
{
    swiglu_case *c = context;
    rf_swiglu_forward(c->act, c->gate, c->up, c->n);
    return linear_form(c->act, c->dact, c->n);
}

static void swiglu_backward__against_differences__agrees(void **state)
{
    (void)state;
    enum { N = 100 };
    swiglu_case c = {filled(N, 1), filled(N, 2), filled(N, 3), filled(N, 4), N};
    rf_real dgate[N], dup[N];
    for (int i = 0; i < N; i++) c.gate[i] *= 8;
    rf_swiglu_backward(dgate, dup, c.dact, c.gate, c.up, N);
    rf_check_gradient("gate", swiglu_loss, &c, c.gate, dgate, N, N);
    rf_check_gradient("up", swiglu_loss, &c, c.up, dup, N, N);
    swiglu_loss(&c);
    for (int i = 0; i < N; i++) {
        const double g = (double)c.gate[i];
        assert_near(c.act[i], g / (1 + exp(-g)) * (double)c.up[i], 1e-6, 1e-6);
    }
    rf_swiglu_backward(c.gate, c.up, c.dact, c.gate, c.up, N);
    assert_memory_equal(c.gate, dgate, sizeof dgate);
    assert_memory_equal(c.up, dup, sizeof dup);
    test_free(c.gate);
    test_free(c.up);
    test_free(c.act);
    test_free(c.dact);
}

/* Everything above once, its outputs laid end to end in out. */
static void run_all(rf_real *out)
{
    norm_case c = norm_setup();
    rope_case r;
    rope_setup(&r);
    rf_real *scratch = filled(rf_token_chunks(TOKENS) * WIDTH, 9);
    rf_rmsnorm_add_forward(out, out + ITEMS, c.x, c.x, c.y, c.w, TOKENS, WIDTH, eps);
    out += ITEMS + TOKENS;
    rf_rmsnorm_backward(out, c.x, c.dy, c.x, c.rstd, c.w, TOKENS, WIDTH);
    out += ITEMS;
    rf_rmsnorm_backward_weight(out, c.dy, c.x, c.rstd, TOKENS, WIDTH, scratch);
    out += WIDTH;
    rf_rope_forward(r.turned, WIDTH, &r.table, r.position, TOKENS, HEADS);
    memcpy(out, r.turned, ITEMS * sizeof *out);
    out += ITEMS;
    rf_swiglu_forward(out, c.x, c.y, ITEMS);
    out += ITEMS;
    rf_swiglu_backward(out, out + ITEMS, c.dy, c.x, c.y, ITEMS);
    test_free(scratch);
    rope_teardown(&r);
    norm_teardown(&c);
}

static void everything__on_one_two_and_three_threads__has_the_same_bits(void **state)
{
    (void)state;
    const size_t bytes = (6 * ITEMS + TOKENS + WIDTH) * sizeof(rf_real);
    rf_real *one = test_calloc(1, bytes), *more = test_calloc(1, bytes);
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    run_all(one);
    for (int n = 2; n <= 3; n++) {
        omp_set_num_threads(n);
        run_all(more);
        assert_memory_equal(one, more, bytes);
    }
    omp_set_num_threads(threads);
    test_free(one);
    test_free(more);
}

static const struct CMUnitTest nn_local[] = {
    cmocka_unit_test(rmsnorm__of_one_row__equals_the_formula),
    cmocka_unit_test(rmsnorm_backward__against_differences__agrees),
    cmocka_unit_test(rmsnorm_backward__onto_a_residual__adds_in_place),
    cmocka_unit_test(rmsnorm_weight_gradient__by_chunks__has_the_same_bits),
    cmocka_unit_test(rope_frequencies__llama3__equal_the_known_values),
    cmocka_unit_test(rope_frequencies__linear__are_divided),
    cmocka_unit_test(rope__of_one_head__equals_the_formula),
    cmocka_unit_test(rope_backward__against_differences__agrees),
    cmocka_unit_test(swiglu_backward__against_differences__agrees),
    cmocka_unit_test(everything__on_one_two_and_three_threads__has_the_same_bits),
};
RF_TEST_MAIN(nn_local)
