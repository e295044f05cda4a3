#include "rf_test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "refract/comm/agree.h"
#include "rf_state.h"

/* One test's ground: a folder, a grid over all ranks, the state of step 1. */
typedef struct ground {
    char folder[4200];
    rf_grid grid;
    rf_log log;
    rf_state state;
} ground;

static void start(ground *on, const char *name, int tp)
{
    memset(on, 0, sizeof *on);
    snprintf(on->folder, sizeof on->folder, "%s/%s/checkpoints", rf_test_folder(), name);
    assert_ok(rf_grid_create(&on->grid, MPI_COMM_WORLD, tp, 4));
    on->log = rf_log_start(on->grid.rank);
    on->log.quiet = 1;
    rf_state_make(&on->state, &on->grid, 1);
}

static void stop(ground *on)
{
    rf_state_free(&on->state);
    rf_grid_destroy(&on->grid);
}

static rf_status save(ground *on, int64_t step, int keep)
{
    return rf_checkpoint_write(&on->grid, &on->log, on->folder, step, on->state.fields,
                               RF_STATE_FIELDS, on->state.attributes, 3, keep);
}

static const char *file_of(const ground *on, int64_t step, const char *suffix)
{
    static char path[4300];
    snprintf(path, sizeof path, "%s/step-%08lld.h5%s", on->folder, (long long)step, suffix);
    return path;
}

static int exists(const ground *on, int64_t step, const char *suffix)
{
    MPI_Barrier(MPI_COMM_WORLD);
    return access(file_of(on, step, suffix), F_OK) == 0;
}

/* Opens the newest and compares it with the state: its step, or -1. */
static int64_t newest(ground *on)
{
    rf_checkpoint *checkpoint = NULL;
    int64_t step = -1;
    assert_all(rf_checkpoint_open_newest(&checkpoint, &on->grid, &on->log, on->folder) == RF_OK);
    if (checkpoint) {
        rf_state_clear(&on->state, &on->grid);
        assert_all(rf_checkpoint_read(checkpoint, &on->grid, on->state.fields, RF_STATE_FIELDS) ==
                   RF_OK);
        assert_all(rf_state_holds(&on->state, &on->grid));
        step = rf_checkpoint_step(checkpoint);
    }
    rf_checkpoint_close(&checkpoint);
    return step;
}

static void write__then_open__gives_state_and_attributes(void **state)
{
    (void)state;
    ground on;
    rf_checkpoint *checkpoint = NULL;
    int64_t rows = 0, cols = 0;
    start(&on, "round", rf_test_size());
    assert_all(newest(&on) == -1);
    assert_all(save(&on, 7, 3) == RF_OK);
    assert_all(newest(&on) == 7);
    assert_all(rf_checkpoint_open(&checkpoint, &on.grid, file_of(&on, 7, "")) == RF_OK);
    assert_string_equal(rf_checkpoint_path(checkpoint), file_of(&on, 7, ""));
    assert_string_equal(rf_checkpoint_attribute(checkpoint, "config"), "train: {steps: 3}\n");
    assert_string_equal(rf_checkpoint_attribute(checkpoint, "ranks"), "2");
    assert_string_equal(rf_checkpoint_attribute(checkpoint, "schema"), "refract/checkpoint");
    assert_null(rf_checkpoint_attribute(checkpoint, "nothing"));
    assert_true(rf_checkpoint_has(checkpoint, "/model/embed", &rows, &cols));
    assert_true(rows == 400 && cols == 400);
    assert_false(rf_checkpoint_has(checkpoint, "/model/none", NULL, NULL));
    rf_checkpoint_close(&checkpoint);
    stop(&on);
}

/* Saved with all ranks in one tensor-parallel group, read by groups of 1, 2 and 4. */
static void write__on_one_layout__reads_on_any_other(void **state)
{
    (void)state;
    ground on;
    start(&on, "layouts", rf_test_size());
    assert_all(save(&on, 1, 3) == RF_OK);
    for (int ranks = 1; ranks <= rf_test_size(); ranks *= 2) {
        for (int tp = 1; tp <= ranks; tp *= 2) {
            MPI_Comm part;
            rf_grid grid;
            rf_state other;
            rf_checkpoint *checkpoint = NULL;
            MPI_Comm_split(MPI_COMM_WORLD, rf_test_rank() / ranks, rf_test_rank(), &part);
            assert_all(rf_grid_create(&grid, part, tp, 4) == RF_OK);
            rf_state_make(&other, &grid, 1);
            rf_state_clear(&other, &grid);
            rf_status status = rf_checkpoint_open_newest(&checkpoint, &grid, &on.log, on.folder);
            if (status == RF_OK)
                status = rf_checkpoint_read(checkpoint, &grid, other.fields, RF_STATE_FIELDS);
            assert_all(status == RF_OK);
            assert_all(rf_state_holds(&other, &grid));
            rf_checkpoint_close(&checkpoint);
            rf_state_free(&other);
            rf_grid_destroy(&grid);
            MPI_Comm_free(&part);
        }
    }
    stop(&on);
}

static void write__again_and_again__keeps_the_newest(void **state)
{
    (void)state;
    ground on;
    start(&on, "keep", 1);
    for (int64_t step = 1; step <= 4; step++) assert_all(save(&on, step, 2) == RF_OK);
    assert_all(!exists(&on, 2, "") && exists(&on, 3, "") && exists(&on, 4, ""));
    stop(&on);
}

static void open__other_field__names_it(void **state)
{
    (void)state;
    ground on;
    rf_checkpoint *checkpoint = NULL;
    start(&on, "fields", 1);
    assert_all(save(&on, 1, 3) == RF_OK);
    assert_all(rf_checkpoint_open(&checkpoint, &on.grid, file_of(&on, 1, "")) == RF_OK);
    rf_field field = on.state.fields[0];
    strcpy(field.path, "/adapter/none/A");
    assert_all(rf_checkpoint_read(checkpoint, &on.grid, &field, 1) == RF_INPUT);
    assert_message_has("no dataset '/adapter/none/A'");
    field = on.state.fields[0];
    field.shape.cols++;
    assert_all(rf_checkpoint_read(checkpoint, &on.grid, &field, 1) == RF_INPUT);
    assert_message_has("is 4 x 12, wanted 4 x 13");
    field = on.state.fields[0];
    field.dtype = RF_I32;
    assert_all(rf_checkpoint_read(checkpoint, &on.grid, &field, 1) == RF_INPUT);
    assert_message_has("holds f32, wanted i32");
    rf_checkpoint_close(&checkpoint);
    stop(&on);
}

static void write__replicas_that_differ__is_a_bug_that_names_the_field(void **state)
{
    (void)state;
    ground on;
    if (rf_test_size() == 1) return;
    start(&on, "replicas", 1);
    float *a = on.state.fields[0].data;
    if (rf_test_rank() == rf_test_size() - 1) a[5] += 1.0f;
    assert_all(save(&on, 1, 3) == RF_BUG);
    assert_message_has("/adapter/layers.0.q_proj/A");
    if (rf_test_rank() == rf_test_size() - 1) a[5] -= 1.0f;
    float *b = on.state.fields[1].data; /* a shard: replicated over dp */
    if (rf_test_rank() == rf_test_size() - 1) b[0] += 1.0f;
    assert_all(save(&on, 1, 3) == RF_BUG);
    assert_message_has("/adapter/layers.0.q_proj/B");
    assert_all(!exists(&on, 1, ".tmp") && !exists(&on, 1, ""));
    stop(&on);
}

/* Every site, failing on the last rank and on all: one status everywhere, the old checkpoint stays.
 */
static void faults__at_every_site__leave_the_previous_checkpoint(void **state)
{
    (void)state;
    static const char *const sites[] = {"checkpoint.create", "checkpoint.write", "checkpoint.flush",
                                        "checkpoint.verify", "checkpoint.rename"};
    ground on;
    char fault[64];
    start(&on, "faults", rf_test_size());
    assert_all(save(&on, 1, 1) == RF_OK);
    for (size_t i = 0; i < 2 * sizeof sites / sizeof *sites; i++) {
        snprintf(fault, sizeof fault, "%s:%d", sites[i / 2], rf_test_size() - 1);
        if (i % 2) snprintf(fault, sizeof fault, "%s:*", sites[i / 2]);
        setenv("RF_FAULT", fault, 1);
        const rf_status status = save(&on, 2, 1);
        unsetenv("RF_FAULT");
        assert_all(status == RF_WRITE);
        assert_message_has("step-00000002.h5");
        assert_all(!exists(&on, 2, "") && !exists(&on, 2, ".tmp") && exists(&on, 1, ""));
    }
    assert_all(newest(&on) == 1);
    stop(&on);
}

static void prune__that_fails__is_a_warning(void **state)
{
    (void)state;
    ground on;
    start(&on, "prune", 1);
    assert_all(save(&on, 1, 1) == RF_OK);
    setenv("RF_FAULT", "checkpoint.prune:*", 1);
    const rf_status status = save(&on, 2, 1);
    unsetenv("RF_FAULT");
    assert_all(status == RF_OK);
    assert_all(on.log.warnings == (rf_test_rank() == 0));
    assert_all(exists(&on, 1, "") && exists(&on, 2, ""));
    assert_all(newest(&on) == 2);
    stop(&on);
}

/* A limit on file size stands in for a full disk: on all ranks (seen before anything is written),
   then on the last one alone (seen in the middle of the arrays). */
static void write__on_a_full_disk__leaves_the_previous_checkpoint(void **state)
{
    (void)state;
    ground on;
    struct rlimit before, small;
    start(&on, "full", 1);
    assert_all(save(&on, 1, 1) == RF_OK);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 20000;
    for (int only_last = 0; only_last < 2; only_last++) {
        if (!only_last || rf_test_rank() == rf_test_size() - 1) setrlimit(RLIMIT_FSIZE, &small);
        const rf_status status = save(&on, 2, 1);
        setrlimit(RLIMIT_FSIZE, &before);
        assert_all(status == RF_WRITE);
        assert_message_has("step-00000002.h5");
        assert_all(!exists(&on, 2, "") && !exists(&on, 2, ".tmp"));
        assert_all(newest(&on) == 1);
    }
    stop(&on);
}

static void damage(const char *path, size_t at)
{
    size_t length = 0;
    if (rf_test_rank() == 0) {
        char *bytes = rf_test_read_file(path, &length);
        bytes[at % length] = (char)(bytes[at % length] ^ 0x10);
        rf_test_write_file(path, bytes, length);
        free(bytes);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static void open_newest__damaged_and_half_written__passed_over_by_name(void **state)
{
    (void)state;
    ground on;
    start(&on, "damaged", rf_test_size());
    for (int64_t step = 1; step <= 3; step++) assert_all(save(&on, step, 3) == RF_OK);
    damage(file_of(&on, 3, ""), 700000); /* inside /model/embed */
    if (rf_test_rank() == 0) {
        assert_int_equal(truncate(file_of(&on, 2, ""), 4000), 0);
        rf_test_write_file(file_of(&on, 9, ".tmp"), "x", 1);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    assert_all(newest(&on) == 1);
    assert_all(on.log.warnings == (rf_test_rank() == 0 ? 3 : 0));
    assert_all(!exists(&on, 9, ".tmp"));
    rf_checkpoint *checkpoint = NULL;
    assert_all(rf_checkpoint_open(&checkpoint, &on.grid, file_of(&on, 3, "")) == RF_INPUT);
    assert_message_has("/model/embed");
    stop(&on);
}

/* One bit changed at `at`, undone by the second call. */
static void flip(const char *path, size_t at)
{
    unsigned char byte = 0;
    FILE *file = fopen(path, "r+b");
    RF_ASSERT(file && fseek(file, (long)at, SEEK_SET) == 0 && fread(&byte, 1, 1, file) == 1 &&
                  fseek(file, (long)at, SEEK_SET) == 0,
              "cannot change %s", path);
    byte ^= 0x20;
    RF_ASSERT(fwrite(&byte, 1, 1, file) == 1 && fclose(file) == 0, "cannot change %s", path);
}

/* The state and every attribute are as written, or the file is refused. */
static int is_refused_or_equal(ground *on, const char *path, int *refused)
{
    rf_checkpoint *opened = NULL;
    rf_status status = rf_checkpoint_open(&opened, &on->grid, path);
    int same = 1;
    if (status == RF_OK) {
        rf_state_clear(&on->state, &on->grid);
        status = rf_checkpoint_read(opened, &on->grid, on->state.fields, RF_STATE_FIELDS);
        same = status == RF_OK && rf_state_holds(&on->state, &on->grid) &&
               strcmp(rf_checkpoint_attribute(opened, "config"), "train: {steps: 3}\n") == 0 &&
               strcmp(rf_checkpoint_attribute(opened, "ranks"), "2") == 0;
    }
    *refused += status == RF_INPUT;
    rf_checkpoint_close(&opened);
    return same && (status == RF_OK || status == RF_INPUT);
}

/* RF_FLIPS sets their number, for a longer search. */
static void open__any_byte_damaged__is_refused_or_harmless(void **state)
{
    (void)state;
    ground on;
    size_t length = 0;
    int refused = 0, tried = 0;
    const char *flips = getenv("RF_FLIPS");
    const size_t most = flips ? strtoul(flips, NULL, 10) : 200;
    if (rf_test_size() > 1) return;
    start(&on, "bytes", 1);
    assert_ok(save(&on, 1, 1));
    const char *path = file_of(&on, 1, "");
    char *bytes = rf_test_read_file(path, &length);
    const size_t metadata = 48 + 1400; /* superblock and the first headers: every byte of a part */
    for (size_t i = 0; i < most; i++) {
        const size_t at = i % 2 ? i * metadata / most : i * length / most;
        flip(path, at);
        if (!is_refused_or_equal(&on, path, &refused))
            fail_msg("a changed byte at %zu gave a wrong state", at);
        flip(path, at);
        tried++;
    }
    print_message("%d of %d changed bytes refused, the others harmless\n", refused, tried);
    assert_true(refused > tried / 2);
    free(bytes);
    stop(&on);
}

static const struct CMUnitTest checkpoint[] = {
    cmocka_unit_test(write__then_open__gives_state_and_attributes),
    cmocka_unit_test(write__on_one_layout__reads_on_any_other),
    cmocka_unit_test(write__again_and_again__keeps_the_newest),
    cmocka_unit_test(open__other_field__names_it),
    cmocka_unit_test(write__replicas_that_differ__is_a_bug_that_names_the_field),
    cmocka_unit_test(faults__at_every_site__leave_the_previous_checkpoint),
    cmocka_unit_test(prune__that_fails__is_a_warning),
    cmocka_unit_test(write__on_a_full_disk__leaves_the_previous_checkpoint),
    cmocka_unit_test(open_newest__damaged_and_half_written__passed_over_by_name),
    cmocka_unit_test(open__any_byte_damaged__is_refused_or_harmless),
};
RF_TEST_MAIN(checkpoint)
