#include "rf_test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "refract/train/run.h"

/* A checked configuration with a fresh run folder; `more` is YAML of the train section. */
static rf_config *configure(const char *more, char output[512])
{
    static int count;
    char text[1024];
    rf_config *config = NULL;
    snprintf(output, 512, "%s/run-%d", rf_test_folder(), count++);
    snprintf(text, sizeof text, "output: %s\ntrain: {%s}\n", output, more);
    assert_all(rf_config_parse(&config, text, strlen(text), "a.yaml", NULL, 0) == RF_OK);
    assert_all(rf_config_check(config) == RF_OK);
    return config;
}

static rf_status open_run(rf_run *run, rf_config *config, rf_log *log)
{
    *log = rf_log_start(rf_test_rank());
    log->quiet = 1;
    return rf_run_open(run, MPI_COMM_WORLD, config, log, rf_clock_seconds());
}

static int file_has(const char *folder, const char *name, const char *text)
{
    char path[1024];
    size_t length = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    char *bytes = rf_test_read_file(path, &length);
    const int found = strstr(bytes, text) != NULL;
    free(bytes);
    return found;
}

static void run__writes_config_and_log(void **state)
{
    (void)state;
    char output[512];
    rf_config *config = configure("steps: 5", output);
    rf_run run = {0};
    rf_log log;
    assert_all(open_run(&run, config, &log) == RF_OK);
    assert_all(rf_run_write_config(&run) == RF_OK);
    if (rf_test_rank() == rf_test_size() - 1) rf_log_warning(&log, "from the last rank");
    rf_run_close(&run);
    MPI_Barrier(MPI_COMM_WORLD);
    assert_all(file_has(output, "config.yaml", "  micro_tokens: 512\n"));
    assert_all(file_has(output, "run.log", "auto: train.micro_tokens = 512\n"));
    assert_all(file_has(output, "run.log", "] from the last rank\n"));
    rf_config_destroy(&config);
}

static void run__stops_for_its_limit_and_for_signals(void **state)
{
    (void)state;
    char output[512];
    rf_config *config = configure("max_time: '00:01:00'", output);
    rf_run run = {0};
    rf_log log;
    assert_all(open_run(&run, config, &log) == RF_OK);
    assert_all(rf_run_should_stop(&run) == RF_STOP_NONE);
    if (rf_test_rank() == 0) run.watch.reserve = 61;
    assert_all(rf_run_should_stop(&run) == RF_STOP_TIME);
    if (rf_test_rank() == rf_test_size() - 1) raise(SIGTERM);
    assert_all(rf_run_should_stop(&run) == RF_STOP_SIGNAL);
    assert_all(rf_run_stopped(RF_STOP_SIGNAL, 7) == RF_STOPPED);
    assert_all(strstr(rf_status_message(), "stopped by a signal after step 7") != NULL);
    rf_stop_forget();
    rf_run_close(&run);
    rf_config_destroy(&config);
}

static void run__stops_before_its_job_ends_on_one_ranks_word(void **state)
{
    (void)state;
    char output[512], end[32];
    rf_config *config = configure("max_time: '01:00:00'", output);
    rf_run run = {0};
    rf_log log;
    snprintf(end, sizeof end, "%lld", (long long)time(NULL) + 60);
    if (rf_test_rank() == 0) setenv("SLURM_JOB_END_TIME", end, 1);
    assert_all(open_run(&run, config, &log) == RF_OK);
    assert_all(file_has(output, "run.log", "the batch job ends in 0:0"));
    assert_all(rf_run_should_stop(&run) == RF_STOP_NONE);
    run.watch.reserve = 60;
    assert_all(rf_run_should_stop(&run) == RF_STOP_TIME);
    unsetenv("SLURM_JOB_END_TIME");
    rf_run_close(&run);
    rf_config_destroy(&config);
}

static void run__in_a_folder_in_use_or_without_one__fails_everywhere(void **state)
{
    (void)state;
    char output[512];
    rf_config *config = configure("steps: 5", output), *nowhere = NULL;
    rf_run run = {0}, other = {0};
    rf_log log, other_log;
    assert_all(open_run(&run, config, &log) == RF_OK);
    assert_all(open_run(&other, config, &other_log) == RF_CONFLICT);
    assert_all(strstr(rf_status_message(), "in use by process") != NULL);
    rf_run_close(&run);
    MPI_Barrier(MPI_COMM_WORLD);
    assert_all(rf_config_parse(&nowhere, "", 0, "a.yaml", NULL, 0) == RF_OK);
    assert_all(open_run(&other, nowhere, &other_log) == RF_USAGE);
    assert_all(strstr(rf_status_message(), "'output' is not set") != NULL);
    rf_config_destroy(&config);
    rf_config_destroy(&nowhere);
}

static void config_that_cannot_be_written__fails_everywhere(void **state)
{
    (void)state;
    char output[512];
    rf_config *config = configure("steps: 5", output);
    rf_run run = {0};
    rf_log log;
    assert_all(open_run(&run, config, &log) == RF_OK);
    setenv("RF_FAULT", "file.write:0", 1);
    assert_all(rf_run_write_config(&run) == RF_WRITE);
    unsetenv("RF_FAULT");
    assert_all(rf_run_write_config(&run) == RF_OK);
    rf_run_close(&run);
    rf_config_destroy(&config);
}

static const struct CMUnitTest run_tests[] = {
    cmocka_unit_test(run__writes_config_and_log),
    cmocka_unit_test(run__stops_for_its_limit_and_for_signals),
    cmocka_unit_test(run__stops_before_its_job_ends_on_one_ranks_word),
    cmocka_unit_test(run__in_a_folder_in_use_or_without_one__fails_everywhere),
    cmocka_unit_test(config_that_cannot_be_written__fails_everywhere),
};
RF_TEST_MAIN(run_tests)
