#include "rf_test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "refract/base/nearest.h"
#include "refract/base/stop.h"

static void signals__twice_in_a_row__only_set_the_flag(void **state)
{
    (void)state;
    const rf_stop_watch watch = {.start = rf_clock_seconds()};
    rf_stop_install();
    assert_int_equal(rf_stop_local(&watch), RF_STOP_NONE);
    raise(SIGTERM);
    raise(SIGTERM);
    assert_int_equal(rf_stop_requested(), SIGTERM);
    raise(SIGUSR1);
    raise(SIGUSR2);
    raise(SIGINT);
    assert_int_equal(rf_stop_requested(), SIGINT);
    assert_int_equal(rf_stop_local(&watch), RF_STOP_SIGNAL);
    rf_stop_forget();
    assert_int_equal(rf_stop_local(&watch), RF_STOP_NONE);
}

static void time_limit__less_the_reserve__stops(void **state)
{
    (void)state;
    rf_stop_watch watch = {.start = rf_clock_seconds(), .limit = 100, .reserve = 10};
    assert_int_equal(rf_stop_local(&watch), RF_STOP_NONE);
    watch.reserve = 101;
    assert_int_equal(rf_stop_local(&watch), RF_STOP_TIME);
    watch = (rf_stop_watch){.start = rf_clock_seconds() - 1000};
    assert_int_equal(rf_stop_local(&watch), RF_STOP_NONE);
}

static rf_stop_watch watch_until(const char *job_end, double limit)
{
    rf_stop_watch watch = {.start = rf_clock_seconds() - 5, .limit = limit};
    setenv("SLURM_JOB_END_TIME", job_end, 1);
    rf_stop_watch_job(&watch);
    unsetenv("SLURM_JOB_END_TIME");
    return watch;
}

static void end_of_the_job__lowers_the_limit(void **state)
{
    (void)state;
    char soon[32], now[32];
    snprintf(soon, sizeof soon, "%lld", (long long)time(NULL) + 100);
    snprintf(now, sizeof now, "%lld", (long long)time(NULL) + 2);
    assert_near(watch_until(soon, 0).limit, 105 - RF_JOB_MARGIN, 0, 2);
    assert_near(watch_until(soon, 1000).limit, 105 - RF_JOB_MARGIN, 0, 2);
    assert_near(watch_until(soon, 50).limit, 50, 0, 0);
    rf_stop_watch watch = watch_until(soon, 0);
    assert_int_equal(rf_stop_local(&watch), RF_STOP_NONE);
    watch.reserve = 100;
    assert_int_equal(rf_stop_local(&watch), RF_STOP_TIME);
    watch = watch_until(now, 0);
    assert_int_equal(rf_stop_local(&watch), RF_STOP_TIME);
}

static void end_of_the_job__that_makes_no_sense__is_ignored(void **state)
{
    (void)state;
    static const char *const odd[] = {"", "0", "-1", "1600000000", "soon", "9999999999x"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        assert_near(watch_until(odd[i], 0).limit, 0, 0, 0);
    rf_stop_watch watch = {.limit = 7};
    assert_near(rf_stop_watch_job(&watch), 0, 0, 0);
    assert_near(watch.limit, 7, 0, 0);
}

static void stop_file__is_seen(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/STOP", rf_test_folder());
    const rf_stop_watch watch = {.start = rf_clock_seconds(), .stop_file = path};
    assert_int_equal(rf_stop_local(&watch), RF_STOP_NONE);
    rf_test_write_file(path, "", 0);
    assert_int_equal(rf_stop_local(&watch), RF_STOP_FILE);
    unlink(path);
}

static void durations__are_read_strictly(void **state)
{
    (void)state;
    double seconds = 0;
    assert_true(rf_duration_parse("01:02:03", &seconds));
    assert_near(seconds, 3723, 0, 0);
    assert_true(rf_duration_parse("100:00:00", &seconds));
    assert_near(seconds, 360000, 0, 0);
    const char *const wrong[] = {"",        "1",        "1:2",       "1:60:0", "1:0:60",
                                 "-1:0:0",  "1:0:0 ",   "a:b:c",     "1::1",   "0:0:0",
                                 "1:2:3:4", "1:002:03", "123456:0:0"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(rf_duration_parse(wrong[i], &seconds));
}

static void edit_distance__counts_edits_and_swaps(void **state)
{
    (void)state;
    assert_int_equal(rf_edit_distance("", "abc"), 3);
    assert_int_equal(rf_edit_distance("abc", "abc"), 0);
    assert_int_equal(rf_edit_distance("alhpa", "alpha"), 1);
    assert_int_equal(rf_edit_distance("kitten", "sitting"), 3);
    rf_nearest search = rf_nearest_start("trian");
    assert_false(rf_nearest_offer(&search, "methods"));
    assert_null(search.best);
    assert_true(rf_nearest_offer(&search, "train"));
    assert_false(rf_nearest_offer(&search, "brian"));
    assert_string_equal(search.best, "train");
}

static const struct CMUnitTest stop[] = {
    cmocka_unit_test(signals__twice_in_a_row__only_set_the_flag),
    cmocka_unit_test(time_limit__less_the_reserve__stops),
    cmocka_unit_test(end_of_the_job__lowers_the_limit),
    cmocka_unit_test(end_of_the_job__that_makes_no_sense__is_ignored),
    cmocka_unit_test(stop_file__is_seen),
    cmocka_unit_test(durations__are_read_strictly),
    cmocka_unit_test(edit_distance__counts_edits_and_swaps),
};
RF_TEST_MAIN(stop)
