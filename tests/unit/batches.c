#include "rf_test.h"

#include <stdlib.h>
#include <string.h>

#include "refract/base/rng.h"
#include "refract/data/batches.h"

enum { SAMPLES = 53, LONGEST = 40, BATCH = 8, MICRO = 64 };

/* Lengths 1 to LONGEST; token t of sample i is 1000 i + t; every third label is none. */
static int64_t offsets[SAMPLES + 1];
static int32_t ids[SAMPLES * LONGEST], labels[SAMPLES * LONGEST];

static rf_samples some_samples(void)
{
    for (int i = 0; i < SAMPLES; i++) {
        const int length = 1 + (int)(rf_random_bits(9, 9, (uint64_t)i) % LONGEST);
        for (int t = 0; t < length; t++) {
            ids[offsets[i] + t] = 1000 * i + t;
            labels[offsets[i] + t] = t % 3 == 2 ? RF_NO_LABEL : 1000 * i + t;
        }
        offsets[i + 1] = offsets[i] + length;
    }
    return (rf_samples){
        .count = SAMPLES, .offset = offsets, .ids = ids, .labels = labels, .longest = LONGEST};
}

static int64_t length_of(int64_t i)
{
    return offsets[i + 1] - offsets[i];
}

static rf_batches *batches_of(const rf_samples *samples, uint64_t seed, int shuffle)
{
    rf_batches *batches = NULL;
    assert_ok(rf_batches_create(&batches, samples, BATCH, MICRO, seed, shuffle));
    return batches;
}

static void epoch__any__holds_each_sample_once_in_shuffled_order(void **state)
{
    (void)state;
    const rf_samples samples = some_samples();
    rf_batches *batches = batches_of(&samples, 7, 1);
    const int64_t steps = rf_batches_steps_per_epoch(batches);
    assert_int_equal(steps, (SAMPLES + BATCH - 1) / BATCH);
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        int64_t order[SAMPLES], at = 0;
        rf_random_permutation(order, SAMPLES, 7, rf_stream("shuffle", (uint64_t)epoch, 0));
        for (int64_t s = 0; s < steps; s++) {
            const int64_t step = epoch * steps + s;
            const rf_step_batches *laid = rf_batches_step(batches, step);
            const int64_t short_step = SAMPLES % BATCH;
            assert_int_equal(laid->samples, s == steps - 1 ? short_step : BATCH);
            int64_t i = 0;
            for (int64_t m = 0; m < laid->micro_count; m++)
                for (int64_t k = 0; k < laid->micro[m].samples; k++, i++) {
                    assert_int_equal(laid->micro[m].sample[k], order[at++]);
                    assert_int_equal(laid->micro[m].ordinal[k], step * BATCH + i);
                }
            assert_int_equal(i, laid->samples);
        }
        assert_int_equal(at, SAMPLES);
    }
    rf_batches_destroy(&batches);
    assert_null(batches);
}

static void epoch__without_shuffle__is_in_file_order(void **state)
{
    (void)state;
    const rf_samples samples = some_samples();
    rf_batches *batches = batches_of(&samples, 7, 0);
    int64_t next = 0;
    for (int64_t s = 0; s < rf_batches_steps_per_epoch(batches); s++) {
        const rf_step_batches *laid = rf_batches_step(batches, s);
        for (int64_t m = 0; m < laid->micro_count; m++)
            for (int64_t k = 0; k < laid->micro[m].samples; k++)
                assert_int_equal(laid->micro[m].sample[k], next++);
    }
    assert_int_equal(next, SAMPLES);
    rf_batches_destroy(&batches);
}

static void check_micro(const rf_micro *micro)
{
    int64_t counted = 0;
    assert_int_equal(micro->begin[0], 0);
    for (int64_t k = 0; k < micro->samples; k++) {
        const int64_t sample = micro->sample[k];
        assert_int_equal(micro->begin[k + 1] - micro->begin[k], length_of(sample));
        for (int64_t t = 0; t < length_of(sample); t++) {
            const int64_t row = micro->begin[k] + t;
            assert_int_equal(micro->ids[row], 1000 * sample + t);
            assert_int_equal(micro->labels[row], t % 3 == 2 ? RF_NO_LABEL : 1000 * sample + t);
            assert_int_equal(micro->position[row], t);
            counted += t > 0 && t % 3 != 2;
        }
    }
    assert_int_equal(micro->begin[micro->samples], micro->tokens);
    assert_int_equal(micro->label_tokens, counted);
}

static void micro__next_sample_would_exceed__starts_a_new_one(void **state)
{
    (void)state;
    const rf_samples samples = some_samples();
    rf_batches *batches = batches_of(&samples, 3, 1);
    int64_t most = 0;
    for (int64_t s = 0; s < 4 * rf_batches_steps_per_epoch(batches); s++) {
        const rf_step_batches *laid = rf_batches_step(batches, s);
        int64_t tokens = 0, label_tokens = 0;
        for (int64_t m = 0; m < laid->micro_count; m++) {
            const rf_micro *micro = &laid->micro[m];
            check_micro(micro);
            assert_true(micro->samples > 0 && micro->tokens <= MICRO);
            if (m > 0) assert_true(laid->micro[m - 1].tokens + length_of(micro->sample[0]) > MICRO);
            tokens += micro->tokens;
            label_tokens += micro->label_tokens;
        }
        assert_int_equal(laid->tokens, tokens);
        assert_int_equal(laid->label_tokens, label_tokens);
        if (laid->micro_count > most) most = laid->micro_count;
    }
    assert_true(most > 1 && most <= rf_batches_max_micro(batches));
    rf_batches_destroy(&batches);
}

/* What a step holds, folded into one number. */
static uint64_t print_of(rf_batches *batches, int64_t step)
{
    const rf_step_batches *laid = rf_batches_step(batches, step);
    uint64_t hash = (uint64_t)laid->micro_count;
    for (int64_t m = 0; m < laid->micro_count; m++)
        for (int64_t t = 0; t < laid->micro[m].tokens; t++)
            hash = rf_random_bits(hash, (uint64_t)laid->micro[m].ids[t], (uint64_t)t);
    return hash;
}

static void step__asked_in_any_order__is_the_same(void **state)
{
    (void)state;
    const rf_samples samples = some_samples();
    rf_batches *forward = batches_of(&samples, 5, 1), *backward = batches_of(&samples, 5, 1);
    rf_batches *other = batches_of(&samples, 6, 1);
    enum { STEPS = 30 };
    uint64_t prints[STEPS];
    for (int64_t s = 0; s < STEPS; s++) prints[s] = print_of(forward, s);
    for (int64_t s = STEPS - 1; s >= 0; s--) assert_true(print_of(backward, s) == prints[s]);
    assert_true(print_of(other, 0) != prints[0]);
    assert_true(prints[0] != prints[rf_batches_steps_per_epoch(forward)]);
    rf_batches_destroy(&forward);
    rf_batches_destroy(&backward);
    rf_batches_destroy(&other);
}

static void batch__larger_than_the_data__is_one_step(void **state)
{
    (void)state;
    const rf_samples samples = some_samples();
    rf_batches *batches = NULL;
    assert_ok(rf_batches_create(&batches, &samples, 1000, MICRO, 1, 1));
    assert_int_equal(rf_batches_steps_per_epoch(batches), 1);
    const rf_step_batches *laid = rf_batches_step(batches, 2);
    assert_int_equal(laid->samples, SAMPLES);
    assert_int_equal(laid->tokens, offsets[SAMPLES]);
    assert_int_equal(laid->micro[0].ordinal[0], 2000);
    rf_batches_destroy(&batches);
}

/* Longest possible number of micro-batches: every neighbouring pair just exceeds micro_tokens. */
static void micro__alternating_lengths__stay_within_the_bound(void **state)
{
    (void)state;
    enum { PAIRS = 10, LONG = 60 };
    static int64_t begin[2 * PAIRS + 1];
    static int32_t tokens[PAIRS * (LONG + 5)];
    for (int i = 0; i < 2 * PAIRS; i++) begin[i + 1] = begin[i] + (i % 2 ? 5 : LONG);
    const rf_samples samples = {
        .count = 2 * PAIRS, .offset = begin, .ids = tokens, .labels = tokens, .longest = LONG};
    rf_batches *batches = NULL;
    assert_ok(rf_batches_create(&batches, &samples, 2 * PAIRS, MICRO, 1, 0));
    assert_int_equal(rf_batches_step(batches, 0)->micro_count, 2 * PAIRS);
    assert_true(rf_batches_max_micro(batches) >= 2 * PAIRS);
    rf_batches_destroy(&batches);
}

static void create__sample_longer_than_a_micro_batch__is_usage(void **state)
{
    (void)state;
    const rf_samples samples = some_samples();
    rf_batches *batches = NULL;
    assert_status(rf_batches_create(&batches, &samples, BATCH, 20, 1, 1), RF_USAGE);
    assert_message_has("train.micro_tokens");
    assert_null(batches);
}

static void create__no_samples__is_input(void **state)
{
    (void)state;
    rf_batches *batches = NULL;
    assert_status(rf_batches_create(&batches, &(rf_samples){0}, BATCH, 20, 1, 1), RF_INPUT);
    assert_null(batches);
}

static void create__no_memory__is_resources(void **state)
{
    (void)state;
    const rf_samples samples = some_samples();
    rf_batches *batches = NULL;
    setenv("RF_FAULT", "batches.memory:0", 1);
    const rf_status status = rf_batches_create(&batches, &samples, BATCH, MICRO, 1, 1);
    unsetenv("RF_FAULT");
    assert_status(status, RF_RESOURCES);
    assert_null(batches);
}

static const struct CMUnitTest batches[] = {
    cmocka_unit_test(epoch__any__holds_each_sample_once_in_shuffled_order),
    cmocka_unit_test(epoch__without_shuffle__is_in_file_order),
    cmocka_unit_test(micro__next_sample_would_exceed__starts_a_new_one),
    cmocka_unit_test(step__asked_in_any_order__is_the_same),
    cmocka_unit_test(batch__larger_than_the_data__is_one_step),
    cmocka_unit_test(micro__alternating_lengths__stay_within_the_bound),
    cmocka_unit_test(create__sample_longer_than_a_micro_batch__is_usage),
    cmocka_unit_test(create__no_samples__is_input),
    cmocka_unit_test(create__no_memory__is_resources),
};
RF_TEST_MAIN(batches)
