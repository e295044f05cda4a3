#include "rf_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "refract/store/h5.h"

static const char *path_of(const char *name)
{
    static char path[4200];
    snprintf(path, sizeof path, "%s/%s", rf_test_folder(), name);
    return path;
}

static rf_h5 *create(const char *name)
{
    rf_h5 *file = NULL;
    assert_ok(rf_h5_open(&file, path_of(name), RF_H5_CREATE, MPI_COMM_NULL));
    return file;
}

static rf_h5 *reopen(rf_h5 *file, rf_h5_mode mode)
{
    char *path = strdup(rf_h5_path(file));
    assert_ok(rf_h5_close(&file));
    assert_ok(rf_h5_open(&file, path, mode, MPI_COMM_NULL));
    free(path);
    return file;
}

static void datasets__every_type__come_back_as_written(void **state)
{
    (void)state;
    rf_h5 *file = create("types.h5");
    unsigned char bytes[24], back[24];
    for (int i = 0; i < 24; i++) bytes[i] = (unsigned char)(i * 11 + 1);
    char path[32];
    for (rf_dtype dtype = RF_F32; dtype <= RF_U8; dtype++) {
        const rf_h5_layout layout = rf_h5_vector(dtype, 24 / (int64_t)rf_dtype_size(dtype));
        snprintf(path, sizeof path, "/group/%s", rf_dtype_name(dtype));
        assert_ok(rf_h5_create_set(file, path, &layout));
        assert_ok(rf_h5_write(file, path, dtype, NULL, NULL, bytes));
    }
    file = reopen(file, RF_H5_READ);
    for (rf_dtype dtype = RF_F32; dtype <= RF_U8; dtype++) {
        rf_h5_layout layout;
        snprintf(path, sizeof path, "/group/%s", rf_dtype_name(dtype));
        assert_ok(rf_h5_layout_of(file, path, &layout));
        assert_int_equal(layout.dtype, dtype);
        assert_int_equal(layout.dims, 1);
        assert_ok(rf_h5_read(file, path, dtype, NULL, NULL, back));
        assert_memory_equal(back, bytes, sizeof bytes);
    }
    assert_ok(rf_h5_close(&file));
}

static void slab__of_a_matrix__moves_only_its_part(void **state)
{
    (void)state;
    rf_h5 *file = create("slab.h5");
    const rf_h5_layout layout = rf_h5_matrix(RF_I32, 3, 4);
    const int32_t zeros[12] = {0}, part[4] = {1, 2, 3, 4};
    int32_t all[12], wanted[12] = {0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 0};
    const int64_t begin[2] = {1, 1}, count[2] = {2, 2}, far[2] = {1, 3};
    assert_ok(rf_h5_create_set(file, "/m", &layout));
    assert_ok(rf_h5_write(file, "/m", RF_I32, NULL, NULL, zeros));
    assert_ok(rf_h5_write(file, "/m", RF_I32, begin, count, part));
    assert_ok(rf_h5_read(file, "/m", RF_I32, NULL, NULL, all));
    assert_memory_equal(all, wanted, sizeof all);
    assert_status(rf_h5_read(file, "/m", RF_I32, far, count, all), RF_WRITE);
    assert_message_has("'/m'");
    assert_message_has("has 4 entries along axis 1, wanted [3, 5)");
    assert_ok(rf_h5_close(&file));
}

static void rows__appended__grow_the_dataset(void **state)
{
    (void)state;
    rf_h5 *file = create("rows.h5");
    const rf_h5_layout numbers = {.dtype = RF_F64, .dims = 3, .size = {0, 2, 2}, .chunk = 2};
    const rf_h5_layout names = {.text = 5, .dims = 1, .size = {0}, .chunk = 4};
    double row[4], back[4];
    rf_h5_set *set = NULL, *text = NULL;
    assert_ok(rf_h5_create_set(file, "/a/b/rows", &numbers));
    assert_ok(rf_h5_create_set(file, "/a/names", &names));
    assert_ok(rf_h5_set_open(&set, file, "/a/b/rows"));
    assert_ok(rf_h5_set_open(&text, file, "/a/names"));
    for (int r = 0; r < 5; r++) {
        for (int i = 0; i < 4; i++) row[i] = r + 0.25 * i;
        assert_ok(rf_h5_set_append(set, RF_F64, 1, row));
    }
    assert_ok(rf_h5_set_append_text(text, 2, "abcdexy\0\0\0"));
    rf_h5_set_close(&set);
    rf_h5_set_close(&text);
    file = reopen(file, RF_H5_READ);
    const int64_t begin[3] = {4, 0, 0}, count[3] = {1, 2, 2};
    assert_ok(rf_h5_read(file, "/a/b/rows", RF_F64, begin, count, back));
    assert_near(back[3], 4.75, 0, 0);
    assert_ok(rf_h5_set_open(&text, file, "/a/names"));
    assert_int_equal(rf_h5_set_layout(text)->size[0], 2);
    char packed[11] = "";
    assert_ok(rf_h5_set_read_text(text, 0, 2, packed));
    assert_memory_equal(packed, "abcdexy\0\0", 10);
    rf_h5_set_close(&text);
    assert_ok(rf_h5_close(&file));
}

static void attributes__of_any_length__come_back(void **state)
{
    (void)state;
    rf_h5 *file = create("attributes.h5");
    const size_t length = 200000; /* beyond the 64 KiB of a compact attribute */
    char *config = malloc(length + 1), *text = NULL;
    memset(config, 'x', length);
    config[length] = '\0';
    int64_t step = 0;
    double rate = 0;
    assert_ok(rf_h5_put_text(file, "/", "config", config));
    assert_ok(rf_h5_put_text(file, "/", "empty", ""));
    assert_ok(rf_h5_put_int(file, "/", "step", 7));
    assert_ok(rf_h5_put_int(file, "/", "step", INT64_C(1) << 40));
    assert_ok(rf_h5_put_number(file, "/", "rate", 0.5));
    file = reopen(file, RF_H5_READ);
    assert_ok(rf_h5_get_text(file, "/", "config", &text));
    assert_string_equal(text, config);
    free(text);
    assert_ok(rf_h5_get_text(file, "/", "empty", &text));
    assert_string_equal(text, "");
    free(text);
    assert_ok(rf_h5_get_int(file, "/", "step", &step));
    assert_true(step == INT64_C(1) << 40);
    assert_ok(rf_h5_get_number(file, "/", "rate", &rate));
    assert_near(rate, 0.5, 0, 0);
    assert_true(rf_h5_is_text(file, "/", "config") && !rf_h5_is_text(file, "/", "step"));
    assert_false(rf_h5_has_attribute(file, "/", "nothing"));
    assert_status(rf_h5_get_text(file, "/", "step", &text), RF_INPUT);
    assert_message_has("'step' that is a string");
    assert_status(rf_h5_get_int(file, "/none", "step", &step), RF_INPUT);
    free(config);
    assert_ok(rf_h5_close(&file));
}

static rf_status join(void *context, const char *name)
{
    strcat(strcat(context, name), " ");
    return strcmp(name, "stop") == 0 ? rf_fail(RF_CONFLICT, "stopped") : RF_OK;
}

static void walk__over_datasets_and_attributes__is_in_order_of_names(void **state)
{
    (void)state;
    rf_h5 *file = create("walk.h5");
    const rf_h5_layout one = rf_h5_vector(RF_U8, 1);
    char names[200] = "";
    assert_ok(rf_h5_create_set(file, "/z", &one));
    assert_ok(rf_h5_create_set(file, "/b/y", &one));
    assert_ok(rf_h5_create_set(file, "/b/a", &one));
    assert_ok(rf_h5_each_set(file, join, names));
    assert_string_equal(names, "/b/a /b/y /z ");
    assert_ok(rf_h5_describe(file, "/z", "nats", "a loss"));
    names[0] = '\0';
    assert_ok(rf_h5_each_attribute(file, "/z", join, names));
    assert_string_equal(names, "description unit ");
    assert_ok(rf_h5_put_text(file, "/", "stop", ""));
    assert_status(rf_h5_each_attribute(file, "/", join, names), RF_CONFLICT);
    assert_true(rf_h5_has(file, "/b") && !rf_h5_has(file, "/c/d"));
    assert_ok(rf_h5_close(&file));
}

static void failures__name_file_dataset_and_cause(void **state)
{
    (void)state;
    rf_h5 *file = NULL;
    double x = 0;
    assert_status(rf_h5_open(&file, path_of("none.h5"), RF_H5_READ, MPI_COMM_NULL), RF_INPUT);
    assert_message_has("none.h5': No such file");
    assert_null(file);
    rf_test_write_file(path_of("text.h5"), "this is no HDF5 file", 20);
    assert_status(rf_h5_open(&file, path_of("text.h5"), RF_H5_READ, MPI_COMM_NULL), RF_INPUT);
    assert_message_has("text.h5'");
    assert_message_has("signature");
    assert_status(rf_h5_open(&file, path_of("no/folder.h5"), RF_H5_CREATE, MPI_COMM_NULL),
                  RF_WRITE);
    assert_message_has("No such file");
    file = reopen(create("empty.h5"), RF_H5_READ);
    assert_status(rf_h5_read(file, "/a/b", RF_F64, NULL, NULL, &x), RF_INPUT);
    assert_message_has("'/a/b' of '");
    assert_message_has("empty.h5'");
    assert_ok(rf_h5_close(&file));
    file = create("type.h5");
    const rf_h5_layout layout = rf_h5_vector(RF_F32, 1);
    assert_ok(rf_h5_create_set(file, "/x", &layout));
    assert_status(rf_h5_create_set(file, "/x", &layout), RF_WRITE);
    assert_message_has("exists");
    assert_status(rf_h5_read(file, "/x", RF_F64, NULL, NULL, &x), RF_WRITE);
    assert_message_has("holds f32, wanted f64");
    assert_ok(rf_h5_close(&file));
}

static void lock__held_by_another_writer__hints_at_the_variable(void **state)
{
    (void)state;
    rf_h5 *file = create("locked.h5");
    char command[4400];
    snprintf(command, sizeof command,
             "/usr/bin/flock -x '%s' -c 'touch %s.held; sleep 2' >/dev/null 2>&1 &",
             rf_h5_path(file), rf_h5_path(file));
    assert_ok(rf_h5_close(&file));
    if (system(command) != 0) skip();
    char held[4300];
    snprintf(held, sizeof held, "%s.held", path_of("locked.h5"));
    for (int i = 0; i < 100 && access(held, F_OK) != 0; i++) usleep(20000);
    if (access(held, F_OK) != 0) skip();
    assert_status(rf_h5_open(&file, path_of("locked.h5"), RF_H5_READ, MPI_COMM_NULL), RF_INPUT);
    assert_message_has("HDF5_USE_FILE_LOCKING=FALSE");
}

static const struct CMUnitTest h5[] = {
    cmocka_unit_test(datasets__every_type__come_back_as_written),
    cmocka_unit_test(slab__of_a_matrix__moves_only_its_part),
    cmocka_unit_test(rows__appended__grow_the_dataset),
    cmocka_unit_test(attributes__of_any_length__come_back),
    cmocka_unit_test(walk__over_datasets_and_attributes__is_in_order_of_names),
    cmocka_unit_test(failures__name_file_dataset_and_cause),
    cmocka_unit_test(lock__held_by_another_writer__hints_at_the_variable),
};
RF_TEST_MAIN(h5)
