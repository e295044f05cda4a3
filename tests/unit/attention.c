/* Attention by blocks against a twin that stores every probability: windows, groups, ragged
 * samples, cached keys; gradients; the same bits on any number of threads, with or without the
 * other heads. */
#include "rf_test.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "refract/linalg/gemm.h"
#include "refract/nn/attention.h"

enum { MOST_SAMPLES = 5 };

typedef struct problem {
    int64_t d_head, kv_heads, group, window;
    int64_t queries[MOST_SAMPLES], keys[MOST_SAMPLES]; /* until queries is 0 */
} problem;

/* One problem with everything in memory; arrays are padded by 3 columns. */
typedef struct run {
    rf_attention shape;
    int64_t q_begin[MOST_SAMPLES + 1], k_begin[MOST_SAMPLES], k_end[MOST_SAMPLES];
    int64_t rows, key_rows, q_items, kv_items, lse_items;
    rf_real *q, *k, *v, *o, *lse, *d_o, *dq, *dk, *dv;
    rf_attention_scratch scratch;
    rf_workspace workspace;
    rf_arena arena;
    rf_bf16 *bf16; /* NULL: products in reals */
} run;

static void lay_out(run *r, rf_arena *arena)
{
    const rf_attention *s = &r->shape;
    const int64_t rows = r->rows > r->key_rows ? r->rows : r->key_rows;
    r->q = RF_TAKE(arena, rf_real, r->q_items);
    r->o = RF_TAKE(arena, rf_real, r->q_items);
    r->d_o = RF_TAKE(arena, rf_real, r->q_items);
    r->dq = RF_TAKE(arena, rf_real, r->q_items);
    r->k = RF_TAKE(arena, rf_real, r->kv_items);
    r->v = RF_TAKE(arena, rf_real, r->kv_items);
    r->dk = RF_TAKE(arena, rf_real, r->kv_items);
    r->dv = RF_TAKE(arena, rf_real, r->kv_items);
    r->lse = RF_TAKE(arena, rf_real, r->lse_items);
    rf_attention_scratch_layout(&r->scratch, arena, s->kv_heads, s->group, rows, s->samples);
    rf_workspace_layout(&r->workspace, arena, 4, rf_attention_items(s->group, s->d_head));
}

static void set_up(run *r, const problem *p)
{
    memset(r, 0, sizeof *r);
    int64_t n = 0;
    for (; n < MOST_SAMPLES && p->queries[n] > 0; n++) {
        r->k_begin[n] = r->key_rows;
        r->key_rows += p->keys[n] ? p->keys[n] : p->queries[n];
        r->k_end[n] = r->key_rows;
        r->rows += p->queries[n];
        r->q_begin[n + 1] = r->rows;
    }
    const int64_t q_width = p->kv_heads * p->group * p->d_head, kv_width = p->kv_heads * p->d_head;
    r->shape = (rf_attention){.d_head = p->d_head,
                              .kv_heads = p->kv_heads,
                              .group = p->group,
                              .window = p->window,
                              .samples = n,
                              .q_begin = r->q_begin,
                              .k_begin = r->k_begin,
                              .k_end = r->k_end,
                              .q_stride = q_width + 3,
                              .o_stride = q_width + 3,
                              .kv_stride = kv_width + 3};
    r->q_items = r->rows * (q_width + 3);
    r->kv_items = r->key_rows * (kv_width + 3);
    r->lse_items = r->rows * p->kv_heads * p->group;
    rf_arena plan = rf_arena_counting("attention");
    lay_out(r, &plan);
    assert_ok(rf_arena_create(&r->arena, "attention", plan.peak));
    lay_out(r, &r->arena);
    rf_test_fill(r->q, r->q_items, 1);
    rf_test_fill(r->k, r->kv_items, 2);
    rf_test_fill(r->v, r->kv_items, 3);
    rf_test_fill(r->d_o, r->q_items, 4);
    for (int64_t i = 0; i < r->q_items; i++) r->q[i] *= 3;
}

static void in_bf16(run *r)
{
    assert_ok(rf_bf16_create(&r->bf16, 4));
    r->scratch.bf16 = r->bf16;
}

static void tear_down(run *r)
{
    rf_bf16_destroy(&r->bf16);
    rf_arena_destroy(&r->arena);
}

static rf_attention_pass pass_of(const run *r)
{
    return (rf_attention_pass){.shape = r->shape,
                               .o = r->o,
                               .lse = r->lse,
                               .q = r->q,
                               .k = r->k,
                               .v = r->v,
                               .d_o = r->d_o,
                               .dq = r->dq,
                               .dk = r->dk,
                               .dv = r->dv};
}

static void forward(run *r)
{
    const rf_attention_pass pass = pass_of(r);
    rf_attention_forward(&pass, 1, &r->scratch, &r->workspace);
}

static void backward(run *r)
{
    const rf_attention_pass pass = pass_of(r);
    rf_attention_backward(&pass, 1, &r->scratch, &r->workspace);
}

static double dot(const rf_real *x, const rf_real *y, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)y[i];
    return sum;
}

static void add(rf_real *y, double a, const rf_real *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] += (rf_real)(a * (double)x[i]);
}

/* One query of the twin: o, and (where dq is given) its share of dq, dk, dv. */
static void twin_query(run *r, int64_t s, int64_t head, int64_t query, rf_real *o, rf_real *dq,
                       rf_real *dk, rf_real *dv)
{
    const rf_attention *a = &r->shape;
    const int64_t d = a->d_head, n = a->k_end[s] - a->k_begin[s];
    const int64_t row = a->q_begin[s] + query, q_at = row * a->q_stride + head * d;
    const int64_t last = n - (a->q_begin[s + 1] - a->q_begin[s]) + query;
    const int64_t kv_at = a->k_begin[s] * a->kv_stride + head / a->group * d;
    double p[2000], sum = 0, most = -INFINITY, delta = 0;
    for (int64_t j = 0; j <= last; j++) {
        const int visible = !a->window || j > last - a->window;
        p[j] = visible ? dot(r->q + q_at, r->k + kv_at + j * a->kv_stride, d) / sqrt((double)d)
                       : -INFINITY;
        most = fmax(most, p[j]);
    }
    for (int64_t j = 0; j <= last; j++) sum += p[j] = exp(p[j] - most);
    for (int64_t j = 0; j <= last; j++) {
        p[j] /= sum;
        add(o + q_at, p[j], r->v + kv_at + j * a->kv_stride, d);
        delta += p[j] * dot(r->d_o + q_at, r->v + kv_at + j * a->kv_stride, d);
    }
    for (int64_t j = 0; dq && j <= last; j++) {
        const int64_t at = kv_at + j * a->kv_stride;
        const double ds = p[j] * (dot(r->d_o + q_at, r->v + at, d) - delta) / sqrt((double)d);
        add(dv + at, p[j], r->d_o + q_at, d);
        add(dk + at, ds, r->q + q_at, d);
        add(dq + q_at, ds, r->k + at, d);
    }
}

static void twin(run *r, rf_real *o, rf_real *dq, rf_real *dk, rf_real *dv)
{
    for (int64_t s = 0; s < r->shape.samples; s++)
        for (int64_t head = 0; head < r->shape.kv_heads * r->shape.group; head++)
            for (int64_t i = 0; i < r->q_begin[s + 1] - r->q_begin[s]; i++)
                twin_query(r, s, head, i, o, dq, dk, dv);
}

static const problem problems[] = {
    {.d_head = 64, .kv_heads = 1, .group = 3, .queries = {1, 70, 300, 1, 130}},
    {.d_head = 64, .kv_heads = 2, .group = 1, .queries = {520}},
    {.d_head = 8, .kv_heads = 3, .group = 2, .queries = {5, 33, 1}},
    {.d_head = 32, .kv_heads = 1, .group = 4, .window = 40, .queries = {300, 39, 41}},
    {.d_head = 80, .kv_heads = 1, .group = 1, .window = 300, .queries = {610}},
    {.d_head = 80, .kv_heads = 2, .group = 8, .window = 1, .queries = {70, 3}},
    {.d_head = 16, .kv_heads = 2, .group = 3, .queries = {1, 40, 3}, .keys = {290, 300, 3}},
    {.d_head = 16, .kv_heads = 1, .group = 2, .window = 30, .queries = {9, 40}, .keys = {600, 50}},
};

enum { PROBLEMS = sizeof problems / sizeof problems[0] };

static void attention__against_its_twin__agrees(void **state)
{
    (void)state;
    const double tolerance = sizeof(rf_real) == sizeof(double) ? 1e-11 : 3e-5;
    for (int i = 0; i < PROBLEMS; i++) {
        run r, wanted;
        set_up(&r, &problems[i]);
        set_up(&wanted, &problems[i]);
        forward(&r);
        backward(&r);
        twin(&wanted, wanted.o, wanted.dq, wanted.dk, wanted.dv);
        assert_reals_near(r.o, wanted.o, r.q_items, tolerance, tolerance);
        assert_reals_near(r.dq, wanted.dq, r.q_items, tolerance, tolerance);
        assert_reals_near(r.dk, wanted.dk, r.kv_items, tolerance, 20 * tolerance);
        assert_reals_near(r.dv, wanted.dv, r.kv_items, tolerance, 20 * tolerance);
        tear_down(&r);
        tear_down(&wanted);
    }
}

static double loss(void *context)
{
    run *r = context;
    forward(r);
    return dot(r->o, r->d_o, r->q_items);
}

static void attention_backward__against_differences__agrees(void **state)
{
    (void)state;
    for (int i = 0; i < PROBLEMS; i++) {
        run r;
        set_up(&r, &problems[i]);
        forward(&r);
        backward(&r);
        rf_check_gradient("q", loss, &r, r.q, r.dq, r.q_items, 12);
        rf_check_gradient("k", loss, &r, r.k, r.dk, r.kv_items, 12);
        rf_check_gradient("v", loss, &r, r.v, r.dv, r.kv_items, 12);
        tear_down(&r);
    }
}

static void check_threads(int is_bf16)
{
    const int threads = omp_get_max_threads();
    for (int i = 0; i < PROBLEMS; i++) {
        run one, more;
        set_up(&one, &problems[i]);
        if (is_bf16) in_bf16(&one);
        omp_set_num_threads(1);
        forward(&one);
        backward(&one);
        for (int n = 2; n <= 3; n++) {
            set_up(&more, &problems[i]);
            if (is_bf16) in_bf16(&more);
            omp_set_num_threads(n);
            forward(&more);
            backward(&more);
            assert_memory_equal(one.o, more.o, (size_t)one.q_items * sizeof(rf_real));
            assert_memory_equal(one.lse, more.lse, (size_t)one.lse_items * sizeof(rf_real));
            assert_memory_equal(one.dq, more.dq, (size_t)one.q_items * sizeof(rf_real));
            assert_memory_equal(one.dk, more.dk, (size_t)one.kv_items * sizeof(rf_real));
            assert_memory_equal(one.dv, more.dv, (size_t)one.kv_items * sizeof(rf_real));
            tear_down(&more);
        }
        tear_down(&one);
    }
    omp_set_num_threads(threads);
}

static void attention__on_one_two_and_three_threads__has_the_same_bits(void **state)
{
    (void)state;
    check_threads(0);
    check_threads(1);
}

static double distance(const rf_real *x, const rf_real *y, int64_t n)
{
    double far = 0, length = 0;
    for (int64_t i = 0; i < n; i++) {
        const double difference = (double)x[i] - (double)y[i];
        far += difference * difference;
        length += (double)y[i] * (double)y[i];
    }
    return sqrt(far / length);
}

/* Operands have 8 bits: results are off by parts of 2^-8 of their size, and by more than reals. */
static void assert_rounded(const rf_real *x, const rf_real *y, int64_t n)
{
    const double far = distance(x, y, n);
    assert_true(far < 1.5e-2);
    assert_true(far > 1e-5);
}

static void attention_in_bf16__is_as_near_as_the_rounding(void **state)
{
    (void)state;
    for (int i = 0; i < PROBLEMS; i++) {
        if (problems[i].window == 1) continue; /* p = 1 and ds = 0 but for rounding */
        run r, wanted;
        set_up(&r, &problems[i]);
        set_up(&wanted, &problems[i]);
        in_bf16(&r);
        forward(&r);
        backward(&r);
        twin(&wanted, wanted.o, wanted.dq, wanted.dk, wanted.dv);
        assert_rounded(r.o, wanted.o, r.q_items);
        assert_rounded(r.dq, wanted.dq, r.q_items);
        assert_rounded(r.dk, wanted.dk, r.kv_items);
        assert_rounded(r.dv, wanted.dv, r.kv_items);
        tear_down(&r);
        tear_down(&wanted);
    }
}

static void fill_rows(rf_real *to, int64_t to_stride, const rf_real *from, int64_t from_stride,
                      int64_t rows, int64_t width)
{
    for (int64_t t = 0; t < rows; t++)
        memcpy(to + t * to_stride, from + t * from_stride, (size_t)width * sizeof *to);
}

static void assert_same_rows(const rf_real *a, int64_t a_stride, const rf_real *b, int64_t b_stride,
                             int64_t rows, int64_t width)
{
    for (int64_t t = 0; t < rows; t++)
        assert_memory_equal(a + t * a_stride, b + t * b_stride, (size_t)width * sizeof *a);
}

/* Computes kv head g of sample s of `all` alone and compares it with what `all` got. */
static void assert_alone_is_the_same(run *all, const problem *p, int64_t s, int64_t g)
{
    const problem part = {.d_head = p->d_head,
                          .kv_heads = 1,
                          .group = p->group,
                          .window = p->window,
                          .queries = {p->queries[s]},
                          .keys = {p->keys[s]}};
    run one;
    set_up(&one, &part);
    if (all->bf16) in_bf16(&one);
    const rf_attention *a = &all->shape, *b = &one.shape;
    const int64_t d = p->d_head, width = p->group * d;
    const int64_t q_at = all->q_begin[s] * a->q_stride + g * width;
    const int64_t kv_at = all->k_begin[s] * a->kv_stride + g * d;
    fill_rows(one.q, b->q_stride, all->q + q_at, a->q_stride, one.rows, width);
    fill_rows(one.d_o, b->o_stride, all->d_o + q_at, a->o_stride, one.rows, width);
    fill_rows(one.k, b->kv_stride, all->k + kv_at, a->kv_stride, one.key_rows, d);
    fill_rows(one.v, b->kv_stride, all->v + kv_at, a->kv_stride, one.key_rows, d);
    forward(&one);
    backward(&one);
    assert_same_rows(one.o, b->o_stride, all->o + q_at, a->o_stride, one.rows, width);
    assert_same_rows(one.dq, b->q_stride, all->dq + q_at, a->q_stride, one.rows, width);
    assert_same_rows(one.dk, b->kv_stride, all->dk + kv_at, a->kv_stride, one.key_rows, d);
    assert_same_rows(one.dv, b->kv_stride, all->dv + kv_at, a->kv_stride, one.key_rows, d);
    tear_down(&one);
}

static void check_alone(int is_bf16)
{
    for (int i = 0; i < PROBLEMS; i++) {
        run all;
        set_up(&all, &problems[i]);
        if (is_bf16) in_bf16(&all);
        forward(&all);
        backward(&all);
        for (int64_t s = 0; s < all.shape.samples; s++)
            for (int64_t g = 0; g < all.shape.kv_heads; g++)
                assert_alone_is_the_same(&all, &problems[i], s, g);
        tear_down(&all);
    }
}

static void attention__of_one_head_and_sample_alone__has_the_same_bits(void **state)
{
    (void)state;
    check_alone(0);
    check_alone(1);
}

static void assert_same_results(const run *a, const run *b)
{
    assert_memory_equal(a->o, b->o, (size_t)a->q_items * sizeof(rf_real));
    assert_memory_equal(a->lse, b->lse, (size_t)a->lse_items * sizeof(rf_real));
    assert_memory_equal(a->dq, b->dq, (size_t)a->q_items * sizeof(rf_real));
    assert_memory_equal(a->dk, b->dk, (size_t)a->kv_items * sizeof(rf_real));
    assert_memory_equal(a->dv, b->dv, (size_t)a->kv_items * sizeof(rf_real));
}

static void attention__of_three_slices_in_one_call__equals_each_alone(void **state)
{
    (void)state;
    enum { SLICES = 3 };
    run alone[SLICES], together[SLICES];
    rf_attention_pass passes[SLICES];
    rf_attention_scratch scratch;
    rf_arena arena;
    for (int i = 0; i < SLICES; i++) {
        const problem p = {
            .d_head = 16, .kv_heads = i + 1, .group = 3, .window = 200, .queries = {300, 7, 80}};
        set_up(&alone[i], &p);
        set_up(&together[i], &p);
        forward(&alone[i]);
        backward(&alone[i]);
        passes[i] = pass_of(&together[i]);
    }
    assert_ok(rf_arena_create(&arena, "scratch", 1 << 20));
    rf_attention_scratch_layout(&scratch, &arena, 1 + 2 + 3, 3, together[0].rows, 3);
    for (int threads = 1; threads <= 3; threads++) {
        omp_set_num_threads(threads);
        rf_attention_forward(passes, SLICES, &scratch, &together[0].workspace);
        rf_attention_backward(passes, SLICES, &scratch, &together[0].workspace);
        for (int i = 0; i < SLICES; i++) assert_same_results(&together[i], &alone[i]);
    }
    omp_set_num_threads(1);
    rf_arena_destroy(&arena);
    for (int i = 0; i < SLICES; i++) {
        tear_down(&alone[i]);
        tear_down(&together[i]);
    }
}

static void attention__of_the_last_queries__equals_their_part_of_all(void **state)
{
    (void)state;
    const problem whole = {.d_head = 32, .kv_heads = 2, .group = 2, .window = 90, .queries = {310}};
    problem tail = whole;
    tail.queries[0] = 1;
    tail.keys[0] = 310;
    run all, last;
    set_up(&all, &whole);
    set_up(&last, &tail);
    const int64_t at = 309 * all.shape.q_stride;
    memcpy(last.q, all.q + at, (size_t)last.q_items * sizeof(rf_real));
    forward(&all);
    forward(&last);
    assert_reals_near(last.o, all.o + at, last.q_items, 1e-5, 1e-6);
    tear_down(&all);
    tear_down(&last);
}

static void attention__of_huge_scores__stays_finite(void **state)
{
    (void)state;
    run r, wanted;
    set_up(&r, &problems[3]);
    set_up(&wanted, &problems[3]);
    for (int64_t i = 0; i < r.q_items; i++) {
        r.q[i] *= 3000;
        wanted.q[i] *= 3000;
    }
    forward(&r);
    backward(&r);
    twin(&wanted, wanted.o, NULL, NULL, NULL);
    assert_reals_near(r.o, wanted.o, r.q_items, 2e-2, 2e-2);
    for (int64_t i = 0; i < r.kv_items; i++) assert_true(isfinite(r.dk[i]));
    tear_down(&r);
    tear_down(&wanted);
}

static void attention__with_a_nan_in_one_sample__spoils_that_one_only(void **state)
{
    (void)state;
    const problem p = {.d_head = 16, .kv_heads = 1, .group = 1, .queries = {20, 30, 20}};
    run r;
    set_up(&r, &p);
    r.k[r.k_begin[1] * r.shape.kv_stride + 4] = (rf_real)NAN;
    forward(&r);
    for (int64_t row = 0; row < r.rows; row++)
        for (int64_t i = 0; i < p.d_head; i++)
            assert_int_equal(isnan(r.o[row * r.shape.o_stride + i]) != 0, row >= 20 && row < 50);
    tear_down(&r);
}

static int one_blas_thread(void **state)
{
    (void)state;
    rf_blas_single_thread();
    omp_set_num_threads(1);
    return 0;
}

static const struct CMUnitTest attention[] = {
    cmocka_unit_test_setup(attention__against_its_twin__agrees, one_blas_thread),
    cmocka_unit_test(attention_backward__against_differences__agrees),
    cmocka_unit_test(attention_in_bf16__is_as_near_as_the_rounding),
    cmocka_unit_test(attention__on_one_two_and_three_threads__has_the_same_bits),
    cmocka_unit_test(attention__of_one_head_and_sample_alone__has_the_same_bits),
    cmocka_unit_test(attention__of_three_slices_in_one_call__equals_each_alone),
    cmocka_unit_test(attention__of_the_last_queries__equals_their_part_of_all),
    cmocka_unit_test(attention__of_huge_scores__stays_finite),
    cmocka_unit_test(attention__with_a_nan_in_one_sample__spoils_that_one_only),
};
RF_TEST_MAIN(attention)
