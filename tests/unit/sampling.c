/* One token out of its logits. */
#include "rf_test.h"

#include <math.h>

#include "sampling.h"

enum { VOCAB = 6, DRAWS = 40000 };

static const rf_real logits[VOCAB] = {0, 2, 1, 2, -1, (rf_real)0.5};

static int32_t take(const rf_sampling *sampling, const rf_real *x, int64_t index, int64_t token)
{
    candidate heap[VOCAB];
    int32_t id = -1;
    assert_ok(sampling_take(sampling, x, VOCAB, index, token, heap, &id));
    return id;
}

static void greedy__of_equal_logits__is_the_lowest_id(void **state)
{
    (void)state;
    const rf_sampling greedy = rf_sampling_greedy(1);
    assert_int_equal(take(&greedy, logits, 0, 0), 1);
}

/* Tokens that a draw may give, and how often: against the probabilities by hand. */
static void check_shares(rf_sampling sampling, const double *wanted)
{
    int64_t seen[VOCAB] = {0};
    for (int64_t i = 0; i < DRAWS; i++) seen[take(&sampling, logits, i / 100, i % 100)]++;
    for (int i = 0; i < VOCAB; i++) {
        const double spread = sqrt(wanted[i] * (1 - wanted[i]) / DRAWS);
        if (wanted[i] == 0) assert_int_equal(seen[i], 0);
        assert_near((double)seen[i] / DRAWS, wanted[i], 0, 4.5 * spread);
    }
}

static void normalise(double *p)
{
    double sum = 0;
    for (int i = 0; i < VOCAB; i++) sum += p[i];
    for (int i = 0; i < VOCAB; i++) p[i] /= sum;
}

static void powers(double *p, double temperature)
{
    for (int i = 0; i < VOCAB; i++) p[i] = exp((double)logits[i] / temperature);
    normalise(p);
}

static void all_tokens__are_drawn_by_their_softmax(void **state)
{
    (void)state;
    double p[VOCAB];
    const double temperatures[] = {1, 0.5, 3};
    for (int i = 0; i < 3; i++) {
        powers(p, temperatures[i]);
        check_shares((rf_sampling){.temperature = temperatures[i], .top_p = 1, .seed = 9}, p);
    }
}

static void top_k__keeps_the_largest_and_ties_with_the_last(void **state)
{
    (void)state;
    double p[VOCAB];
    powers(p, 1);
    p[0] = p[4] = p[5] = 0;
    normalise(p);
    check_shares((rf_sampling){.temperature = 1, .top_p = 1, .top_k = 3}, p);
    p[2] = 0; /* 1 and 3 tie: both stay with top_k = 1 */
    normalise(p);
    check_shares((rf_sampling){.temperature = 1, .top_p = 1, .top_k = 1}, p);
}

static void top_p__keeps_the_fewest_that_reach_it(void **state)
{
    (void)state;
    double p[VOCAB];
    powers(p, 1);
    const double two = p[1] + p[3];
    p[0] = p[2] = p[4] = p[5] = 0;
    normalise(p);
    check_shares((rf_sampling){.temperature = 1, .top_p = two - 1e-6}, p);
    powers(p, 1);
    p[0] = p[4] = p[5] = 0;
    normalise(p);
    check_shares((rf_sampling){.temperature = 1, .top_p = two + 1e-6}, p);
    check_shares((rf_sampling){.temperature = 1, .top_p = 0.999, .top_k = 3}, p);
}

static void tiny_top_p_or_one_top_k__without_ties__is_greedy(void **state)
{
    (void)state;
    rf_real x[VOCAB] = {0, 2, 1, (rf_real)2.5, -1, 0};
    for (int64_t i = 0; i < 200; i++) {
        assert_int_equal(take(&(rf_sampling){.temperature = 9, .top_p = 1e-9}, x, i, i), 3);
        assert_int_equal(take(&(rf_sampling){.temperature = 9, .top_p = 1, .top_k = 1}, x, i, i),
                         3);
        assert_int_equal(take(&(rf_sampling){.temperature = 1e-4, .top_p = 1}, x, i, i), 3);
    }
}

static void draws__are_a_function_of_seed_index_and_token(void **state)
{
    (void)state;
    const rf_sampling a = {.temperature = 2, .top_p = 1, .seed = 1};
    rf_sampling b = a;
    int seed = 0, index = 0, token = 0;
    b.seed = 2;
    for (int64_t i = 0; i < 100; i++) {
        const int32_t id = take(&a, logits, i, 3);
        assert_int_equal(id, take(&a, logits, i, 3));
        seed += id != take(&b, logits, i, 3);
        index += id != take(&a, logits, i + 1000, 3);
        token += id != take(&a, logits, i, 4);
    }
    assert_true(seed > 20 && index > 20 && token > 20);
}

static void numbers_that_are_not_finite__are_refused(void **state)
{
    (void)state;
    const rf_sampling greedy = rf_sampling_greedy(1);
    const rf_real bad[] = {(rf_real)NAN, (rf_real)INFINITY, -(rf_real)INFINITY};
    for (int i = 0; i < 3; i++) {
        rf_real x[VOCAB] = {0};
        candidate heap[VOCAB];
        int32_t id = 0;
        x[4] = bad[i];
        assert_status(sampling_take(&greedy, x, VOCAB, 7, 0, heap, &id), RF_NONFINITE);
        assert_message_has("prompt 7");
    }
}

static const struct CMUnitTest sampling[] = {
    cmocka_unit_test(greedy__of_equal_logits__is_the_lowest_id),
    cmocka_unit_test(all_tokens__are_drawn_by_their_softmax),
    cmocka_unit_test(top_k__keeps_the_largest_and_ties_with_the_last),
    cmocka_unit_test(top_p__keeps_the_fewest_that_reach_it),
    cmocka_unit_test(tiny_top_p_or_one_top_k__without_ties__is_greedy),
    cmocka_unit_test(draws__are_a_function_of_seed_index_and_token),
    cmocka_unit_test(numbers_that_are_not_finite__are_refused),
};
RF_TEST_MAIN(sampling)
