#include "rf_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refract/data/samples.h"
#include "refract/io/inspect.h"
#include "refract/io/safetensors.h"
#include "refract/io/telemetry.h"
#include "refract/store/h5.h"
#include "rf_state.h"

static const char *path_of(const char *name)
{
    static char path[4200];
    snprintf(path, sizeof path, "%s/%s", rf_test_folder(), name);
    return path;
}

/* What rf_inspect prints; the caller frees it. */
static char *inspect_text(const char *path, int verify, rf_status *status)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    assert_non_null(out);
    *status = rf_inspect(out, path, verify);
    fclose(out);
    return text;
}

static void assert_says(const char *text, const char *wanted)
{
    if (!strstr(text, wanted)) fail_msg("'%s' lacks '%s'", text, wanted);
}

static void write_checkpoint(const rf_grid *grid, rf_state *state)
{
    rf_log log = rf_log_start(0);
    rf_state_make(state, grid, 3);
    assert_ok(rf_checkpoint_write(grid, &log, rf_test_folder(), 3, state->fields, RF_STATE_FIELDS,
                                  state->attributes, 3, 1));
}

static void checkpoint__whole_then_damaged__names_the_dataset(void **state)
{
    (void)state;
    rf_grid grid;
    rf_state made;
    rf_status status;
    assert_ok(rf_grid_create(&grid, MPI_COMM_WORLD, 1, 4));
    write_checkpoint(&grid, &made);
    const char *path = path_of("step-00000003.h5");
    char *text = inspect_text(path, 1, &status);
    assert_int_equal(status, RF_OK);
    assert_says(text, "refract/checkpoint, version 1, ");
    assert_says(text, "  step               3\n");
    assert_says(text, "config:\ntrain: {steps: 3}\n");
    assert_says(text, "f64   [400, 400]  ok\n");
    assert_says(text, "verified: 7 of 7 datasets carry a checksum, all hold\n");
    free(text);

    size_t length = 0;
    char *bytes = rf_test_read_file(path, &length);
    bytes[length / 2] = (char)(bytes[length / 2] ^ 1); /* inside /model/embed */
    rf_test_write_file(path, bytes, length);
    free(bytes);
    text = inspect_text(path, 1, &status);
    assert_int_equal(status, RF_INPUT);
    assert_says(text, "f64   [400, 400]  DAMAGED\n");
    assert_message_has("1 of 7 datasets");
    assert_message_has("first '/model/embed'");
    free(text);
    text = inspect_text(path, 0, &status);
    assert_int_equal(status, RF_OK);
    assert_null(strstr(text, "DAMAGED"));
    free(text);
    rf_state_free(&made);
    rf_grid_destroy(&grid);
}

static void checkpoint__attribute_changed__is_found(void **state)
{
    (void)state;
    rf_grid grid;
    rf_state made;
    rf_status status;
    rf_h5 *file = NULL;
    assert_ok(rf_grid_create(&grid, MPI_COMM_WORLD, 1, 4));
    write_checkpoint(&grid, &made);
    const char *path = path_of("step-00000003.h5");
    assert_ok(rf_h5_open(&file, path, RF_H5_EDIT, MPI_COMM_NULL));
    assert_ok(rf_h5_put_int(file, "/", "ranks", 3));
    assert_ok(rf_h5_close(&file));
    free(inspect_text(path, 1, &status));
    assert_int_equal(status, RF_INPUT);
    assert_message_has("an attribute was changed");
    rf_state_free(&made);
    rf_grid_destroy(&grid);
}

static void telemetry__while_it_is_written__is_shown(void **state)
{
    (void)state;
    rf_status status;
    rf_telemetry *telemetry = NULL;
    rf_log log = rf_log_start(0);
    const char *path = path_of("run.h5");
    const char *const phases[] = {"forward"};
    const rf_telemetry_options options = {.path = path, .phases = phases, .phase_count = 1};
    const double seconds = 1;
    const rf_step_row row = {.step = 1, .loss = 2, .phase_seconds = &seconds};
    assert_ok(rf_telemetry_open(&telemetry, 0, &log, &options));
    assert_ok(rf_telemetry_step(telemetry, &row));
    char *text = inspect_text(path, 1, &status);
    assert_int_equal(status, RF_OK);
    assert_says(text, "refract/telemetry, version 1");
    assert_says(text, "/steps/loss                                              f64   [1]\n");
    assert_says(text, "verified: 0 of ");
    free(text);
    assert_ok(rf_telemetry_close(&telemetry));
}

static void token_store__whole_then_damaged__names_the_dataset(void **state)
{
    (void)state;
    static const char rows[] = "{\"input_ids\": [1, 2, 3]}\n{\"input_ids\": [4, 5]}\n";
    rf_status status;
    rf_samples *samples = NULL;
    rf_log log = rf_log_start(0);
    log.quiet = 1;
    char jsonl[4200];
    snprintf(jsonl, sizeof jsonl, "%s", path_of("tokens.jsonl"));
    const char *const paths[] = {jsonl};
    rf_test_write_file(jsonl, rows, sizeof rows - 1);
    const rf_data_options options = {
        .paths = paths, .path_count = 1, .format = "tokens", .template = "auto", .max_length = 8};
    assert_ok(rf_samples_load(&samples, MPI_COMM_SELF, &options, NULL, &log));
    const char *path = path_of("tokens.h5");
    assert_ok(rf_samples_write(samples, MPI_COMM_SELF, path, &options, NULL));
    char *text = inspect_text(path, 1, &status);
    assert_int_equal(status, RF_OK);
    assert_says(text, "refract/tokens, version 1");
    assert_says(text, "i32   [5]  ok\n");
    free(text);

    const int32_t other = 7;
    const int64_t at = 2, one = 1;
    rf_h5 *file = NULL;
    assert_ok(rf_h5_open(&file, path, RF_H5_EDIT, MPI_COMM_NULL));
    assert_ok(rf_h5_write(file, "/ids", RF_I32, &at, &one, &other));
    assert_ok(rf_h5_close(&file));
    free(inspect_text(path, 1, &status));
    assert_int_equal(status, RF_INPUT);
    assert_message_has("first '/ids'");
    rf_samples_destroy(&samples);
}

static void safetensors__a_file_and_a_folder__list_their_tensors(void **state)
{
    (void)state;
    rf_grid grid;
    rf_status status;
    float data[6] = {1, 2, 3, 4, 5, 6};
    const rf_field field = {
        .path = "layer.weight", .shape = rf_shape_replicated(2, 3), .dtype = RF_F32, .data = data};
    assert_ok(rf_grid_create(&grid, MPI_COMM_WORLD, 1, 4));
    assert_ok(rf_safetensors_write(&grid, rf_test_folder(), &field, 1, NULL));
    char *text = inspect_text(path_of("model.safetensors"), 1, &status);
    assert_int_equal(status, RF_OK);
    assert_says(text, "safetensors, 1 tensors, 6 numbers, 24 bytes\n");
    assert_says(text, "F32   [2, 3]\n");
    assert_says(text, "no checksums");
    free(text);
    text = inspect_text(rf_test_folder(), 0, &status);
    assert_int_equal(status, RF_OK);
    assert_says(text, "layer.weight");
    free(text);
    rf_grid_destroy(&grid);
}

static void other_files__are_refused_with_the_reason(void **state)
{
    (void)state;
    rf_status status;
    rf_h5 *file = NULL;
    free(inspect_text(path_of("none"), 0, &status));
    assert_int_equal(status, RF_INPUT);
    assert_message_has("No such file");
    rf_test_write_file(path_of("notes.txt"), "hello there", 11);
    free(inspect_text(path_of("notes.txt"), 0, &status));
    assert_int_equal(status, RF_INPUT);
    assert_message_has("of no kind that is known");
    rf_test_write_file(path_of("empty.h5"), "", 0);
    free(inspect_text(path_of("empty.h5"), 0, &status));
    assert_int_equal(status, RF_INPUT);
    assert_message_has("is empty");
    assert_ok(rf_h5_open(&file, path_of("foreign.h5"), RF_H5_CREATE, MPI_COMM_NULL));
    assert_ok(rf_h5_close(&file));
    free(inspect_text(path_of("foreign.h5"), 0, &status));
    assert_int_equal(status, RF_INPUT);
    assert_message_has("no attribute 'schema'");
}

static const struct CMUnitTest inspect[] = {
    cmocka_unit_test(checkpoint__whole_then_damaged__names_the_dataset),
    cmocka_unit_test(checkpoint__attribute_changed__is_found),
    cmocka_unit_test(telemetry__while_it_is_written__is_shown),
    cmocka_unit_test(token_store__whole_then_damaged__names_the_dataset),
    cmocka_unit_test(safetensors__a_file_and_a_folder__list_their_tensors),
    cmocka_unit_test(other_files__are_refused_with_the_reason),
};
RF_TEST_MAIN(inspect)
