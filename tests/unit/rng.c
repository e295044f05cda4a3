#include "rf_test.h"

#include "refract/base/rng.h"

/* Known answers of Philox4x32-10 from the Random123 distribution's kat_vectors. */
static void philox__known_counters__give_known_words(void **state)
{
    (void)state;
    const rf_philox_block zero = rf_philox(0, 0, 0);
    const uint32_t of_zero[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    assert_memory_equal(zero.word, of_zero, sizeof of_zero);
    const rf_philox_block ones = rf_philox(UINT64_MAX, UINT64_MAX, UINT64_MAX);
    const uint32_t of_ones[4] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
    assert_memory_equal(ones.word, of_ones, sizeof of_ones);
}

static void permutation__any_length__holds_each_index_once(void **state)
{
    (void)state;
    int64_t order[100];
    int seen[100] = {0}, moved = 0;
    rf_random_permutation(order, 100, 7, 3);
    for (int i = 0; i < 100; i++) {
        assert_in_range(order[i], 0, 99);
        seen[order[i]]++;
        moved += order[i] != i;
    }
    for (int i = 0; i < 100; i++) assert_int_equal(seen[i], 1);
    assert_true(moved > 80);
}

static void normal__many_draws__has_unit_moments(void **state)
{
    (void)state;
    double sum = 0, squares = 0;
    const int n = 100000;
    for (int i = 0; i < n; i++) {
        const double x = rf_random_normal(1, rf_stream("test", 0, 0), (uint64_t)i);
        sum += x;
        squares += x * x;
    }
    assert_near(sum / n, 0, 0, 0.02);
    assert_near(squares / n, 1, 0.02, 0);
}

static void stream__other_name_or_index__is_another_number(void **state)
{
    (void)state;
    assert_true(rf_stream("a", 0, 0) != rf_stream("b", 0, 0));
    assert_true(rf_stream("a", 1, 0) != rf_stream("a", 0, 1));
    assert_true(rf_stream("a", 1, 0) == rf_stream("a", 1, 0));
}

static const struct CMUnitTest rng[] = {
    cmocka_unit_test(philox__known_counters__give_known_words),
    cmocka_unit_test(permutation__any_length__holds_each_index_once),
    cmocka_unit_test(normal__many_draws__has_unit_moments),
    cmocka_unit_test(stream__other_name_or_index__is_another_number),
};
RF_TEST_MAIN(rng)
