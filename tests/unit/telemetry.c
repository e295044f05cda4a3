#include "rf_test.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "refract/io/telemetry.h"
#include "refract/store/h5.h"

enum { MODULES = 2, RANKS = 3, PHASES = 2, LAYERS = 2, HEADS = 4, D_FF = 5 };

static const rf_telemetry_module modules[MODULES] = {
    {"model.layers.0.self_attn.q_proj", "q_proj", 0, 8, 8, 3, 2.0},
    {"model.layers.0.mlp.up_proj", "up_proj", 0, 8, 16, 2, 2.0},
};
static const char *const phases[PHASES] = {"forward", "backward"};

static rf_telemetry_options options_for(const char *name, int64_t resume_step)
{
    static char path[4200];
    static const rf_attribute attributes[] = {{.name = "config", .text = "method: lora\n"},
                                              {.name = "ranks", .number = 4}};
    static const rf_telemetry_data data = {"train", {.rows = 10, .used = 8, .skipped_empty = 2}};
    snprintf(path, sizeof path, "%s/%s", rf_test_folder(), name);
    return (rf_telemetry_options){.path = path,
                                  .resume_step = resume_step,
                                  .evaluated_step = resume_step,
                                  .attributes = attributes,
                                  .attribute_count = 2,
                                  .modules = modules,
                                  .module_count = MODULES,
                                  .rank_r = RANKS,
                                  .phases = phases,
                                  .phase_count = PHASES,
                                  .data = &data,
                                  .data_count = 1,
                                  .layers = LAYERS,
                                  .heads = HEADS,
                                  .d_ff = D_FF};
}

static rf_telemetry *open_telemetry(const rf_telemetry_options *options, int64_t warnings)
{
    rf_telemetry *telemetry = NULL;
    rf_log log = rf_log_start(0);
    assert_ok(rf_telemetry_open(&telemetry, 0, &log, options));
    assert_non_null(telemetry);
    assert_int_equal(log.warnings, warnings);
    return telemetry;
}

static rf_status put_step(rf_telemetry *telemetry, int64_t step)
{
    const double seconds[PHASES] = {0.5 * (double)step, 0.25};
    const rf_step_row row = {
        .step = step, .loss = 10.0 / (double)step, .tokens = 100 + step, .phase_seconds = seconds};
    return rf_telemetry_step(telemetry, &row);
}

/* A row of every table. */
static void put_all(rf_telemetry *telemetry, int64_t step)
{
    double by_rank[MODULES * RANKS], by_neuron[LAYERS * D_FF] = {0};
    uint8_t kept[LAYERS * D_FF] = {0};
    for (int i = 0; i < MODULES * RANKS; i++) by_rank[i] = i < 5 ? (double)step + i : (double)NAN;
    const int64_t pruned_of[MODULES] = {1, 0};
    const rf_eval_row eval = {.step = step, .loss = 1.5, .label_tokens = 7, .total = 3};
    const rf_beam_pair pairs[2] = {{step, 0, 2, 1, 0.1, 0.9}, {step, 1, 0, 1, 0.2, 0.8}};
    const rf_light_row light = {.step = step,
                                .head_score = by_neuron,
                                .neuron_score = by_neuron,
                                .module_score = by_rank,
                                .rank_score = by_rank,
                                .head_kept = kept,
                                .neuron_kept = kept,
                                .module_kept = kept,
                                .rank_kept = kept,
                                .head_threshold = by_neuron,
                                .neuron_threshold = by_neuron,
                                .rank_threshold = 0.5};
    assert_ok(put_step(telemetry, step));
    assert_ok(rf_telemetry_eval(telemetry, &eval));
    assert_ok(rf_telemetry_ranks(telemetry, step, by_rank, by_rank, by_rank));
    assert_ok(rf_telemetry_beam_event(telemetry, step, 0.9, 1, pruned_of));
    assert_ok(rf_telemetry_beam_pairs(telemetry, pairs, 2));
    assert_ok(rf_telemetry_reflora(telemetry, step, by_rank, by_rank, by_rank, kept));
    assert_ok(rf_telemetry_light(telemetry, &light));
}

static int64_t rows_of(rf_h5 *file, const char *path)
{
    rf_h5_layout layout;
    assert_ok(rf_h5_layout_of(file, path, &layout));
    return layout.size[0];
}

static void open__on_other_ranks__does_nothing(void **state)
{
    (void)state;
    const rf_telemetry_options options = options_for("other/run.h5", 0);
    rf_telemetry *telemetry = NULL;
    rf_log log = rf_log_start(1);
    assert_ok(rf_telemetry_open(&telemetry, 1, &log, &options));
    assert_null(telemetry);
    assert_ok(put_step(telemetry, 1));
    assert_ok(rf_telemetry_close(&telemetry));
}

static void rows__of_every_table__are_read_back(void **state)
{
    (void)state;
    static const char *const once[] = {"/steps/loss",     "/evals/loss",        "/ranks/norm_b",
                                       "/beam/pruned",    "/reflora/condition", "/light/rank_kept",
                                       "/timing/seconds", "/light/neuron_score"};
    const rf_telemetry_options options = options_for("all.h5", 0);
    rf_telemetry *telemetry = open_telemetry(&options, 0);
    put_all(telemetry, 1);
    put_all(telemetry, 2);
    assert_ok(rf_telemetry_close(&telemetry));
    rf_h5 *file = NULL;
    double importance[2 * MODULES * RANKS];
    assert_ok(rf_h5_open(&file, options.path, RF_H5_READ, MPI_COMM_NULL));
    for (size_t i = 0; i < sizeof once / sizeof *once; i++)
        assert_int_equal(rows_of(file, once[i]), 2);
    assert_int_equal(rows_of(file, "/beam/pairs/module"), 4);
    assert_int_equal(rows_of(file, "/data/used"), 1);
    assert_ok(rf_h5_read(file, "/ranks/importance", RF_F64, NULL, NULL, importance));
    assert_near(importance[MODULES * RANKS + 4], 6, 0, 0);
    assert_true(isnan(importance[2 * MODULES * RANKS - 1]));
    assert_ok(rf_h5_close(&file));
}

/* What read_telemetry.py says of the file; NULL (and the test is skipped) without h5py. */
static const char *read_with_h5py(const char *path)
{
    static char text[4096];
    char command[9000];
    const char *python = getenv("RF_PYTHON");
    if (!python) python = "/usr/bin/python3";
    snprintf(command, sizeof command, "%s -c 'import h5py' 2>/dev/null", python);
    if (system(command) != 0) {
        print_message("skipped: %s has no h5py (set RF_PYTHON)\n", python);
        skip();
    }
    snprintf(command, sizeof command, "%s '%s' '%s' 2>&1", python, RF_READ_TELEMETRY, path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    const size_t length = fread(text, 1, sizeof text - 1, pipe);
    text[length] = '\0';
    pclose(pipe);
    return text;
}

static void assert_says(const char *text, const char *wanted)
{
    if (!strstr(text, wanted)) fail_msg("'%s' lacks '%s'", text, wanted);
}

static void live_file__read_by_h5py__shows_every_row_and_describes_itself(void **state)
{
    (void)state;
    const rf_telemetry_options options = options_for("live.h5", 0);
    rf_telemetry *telemetry = open_telemetry(&options, 0);
    const char *text = read_with_h5py(options.path);
    assert_says(text, "rows 0 last nan modules model.layers.0.self_attn.q_proj,model.layers.0.mlp");
    assert_says(text, "phases forward,backward");
    assert_says(text, "schema refract/telemetry 1 config method: lora");
    assert_null(strstr(text, "undescribed"));
    for (int64_t step = 1; step <= 3; step++) assert_ok(put_step(telemetry, step));
    assert_says(read_with_h5py(options.path), "rows 3 last 3.33333");
    assert_ok(put_step(telemetry, 4));
    assert_says(read_with_h5py(options.path), "rows 4 last 2.5");
    assert_ok(rf_telemetry_close(&telemetry));
}

/* A job in a process of its own that ends by SIGKILL after `steps` rows. */
static void run_killed_job(const rf_telemetry_options *options, int64_t steps)
{
    const pid_t child = fork();
    if (child == 0) {
        rf_telemetry *telemetry = NULL;
        rf_log log = rf_log_start(0);
        if (rf_telemetry_open(&telemetry, 0, &log, options) != RF_OK) _exit(1);
        for (int64_t step = options->resume_step + 1; step <= steps; step++)
            if (put_step(telemetry, step) != RF_OK) _exit(1);
        raise(SIGKILL);
    }
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
}

static void killed_file__resumed__goes_on_behind_the_checkpoint(void **state)
{
    (void)state;
    rf_telemetry_options options = options_for("killed.h5", 0);
    run_killed_job(&options, 9);
    assert_says(read_with_h5py(options.path), "rows 9 last 1.11111");
    options.resume_step = 6;
    run_killed_job(&options, 7);
    assert_says(read_with_h5py(options.path), "rows 7 last 1.42857");
    options.resume_step = 7;
    rf_telemetry *telemetry = open_telemetry(&options, 0);
    assert_ok(put_step(telemetry, 8));
    assert_ok(rf_telemetry_close(&telemetry));
    rf_h5 *file = NULL;
    int64_t steps[8];
    double seconds[16];
    assert_ok(rf_h5_open(&file, options.path, RF_H5_READ, MPI_COMM_NULL));
    assert_int_equal(rows_of(file, "/steps/step"), 8);
    assert_int_equal(rows_of(file, "/modules/name"), MODULES);
    assert_ok(rf_h5_read(file, "/steps/step", RF_I64, NULL, NULL, steps));
    assert_ok(rf_h5_read(file, "/timing/seconds", RF_F64, NULL, NULL, seconds));
    for (int i = 0; i < 8; i++) {
        assert_int_equal(steps[i], i + 1);
        assert_near(seconds[2 * i], 0.5 * (i + 1), 0, 0);
    }
    assert_ok(rf_h5_close(&file));
}

static void resume__other_tables__are_cut_by_their_own_step(void **state)
{
    (void)state;
    rf_telemetry_options options = options_for("tables.h5", 0);
    rf_telemetry *telemetry = open_telemetry(&options, 0);
    for (int64_t step = 1; step <= 4; step++) put_all(telemetry, step);
    assert_ok(rf_telemetry_close(&telemetry));
    options.resume_step = 3;
    options.evaluated_step = 2;
    telemetry = open_telemetry(&options, 0);
    assert_ok(rf_telemetry_close(&telemetry));
    rf_h5 *file = NULL;
    assert_ok(rf_h5_open(&file, options.path, RF_H5_READ, MPI_COMM_NULL));
    assert_int_equal(rows_of(file, "/evals/step"), 2);
    assert_int_equal(rows_of(file, "/beam/pairs/step"), 6);
    assert_int_equal(rows_of(file, "/light/rank_score"), 3);
    assert_ok(rf_h5_close(&file));
}

static void resume__unreadable_file__is_kept_aside_with_a_warning(void **state)
{
    (void)state;
    char aside[4300];
    rf_telemetry_options options = options_for("torn.h5", 5);
    rf_telemetry *telemetry = open_telemetry(&options, 1); /* no file at all */
    assert_ok(rf_telemetry_close(&telemetry));
    rf_test_write_file(options.path, "torn", 4);
    telemetry = open_telemetry(&options, 1);
    assert_ok(put_step(telemetry, 6));
    assert_ok(rf_telemetry_close(&telemetry));
    snprintf(aside, sizeof aside, "%s.old", options.path);
    assert_int_equal(access(aside, F_OK), 0);
    snprintf(aside, sizeof aside, "%s.tmp", options.path);
    assert_int_not_equal(access(aside, F_OK), 0);
}

static void append__that_fails__says_so_and_still_closes(void **state)
{
    (void)state;
    const rf_telemetry_options options = options_for("fault.h5", 0);
    rf_telemetry *telemetry = open_telemetry(&options, 0);
    setenv("RF_FAULT", "telemetry.append:0", 1);
    assert_status(put_step(telemetry, 1), RF_WRITE);
    unsetenv("RF_FAULT");
    assert_message_has("/steps/step");
    assert_ok(rf_telemetry_close(&telemetry));
}

static const struct CMUnitTest telemetry[] = {
    cmocka_unit_test(open__on_other_ranks__does_nothing),
    cmocka_unit_test(rows__of_every_table__are_read_back),
    cmocka_unit_test(live_file__read_by_h5py__shows_every_row_and_describes_itself),
    cmocka_unit_test(killed_file__resumed__goes_on_behind_the_checkpoint),
    cmocka_unit_test(resume__other_tables__are_cut_by_their_own_step),
    cmocka_unit_test(resume__unreadable_file__is_kept_aside_with_a_warning),
    cmocka_unit_test(append__that_fails__says_so_and_still_closes),
};
RF_TEST_MAIN(telemetry)
