#include "rf_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "refract/base/file.h"

static const char *in_folder(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", rf_test_folder(), name);
    return path;
}

static void file__written__reads_back_with_a_nul(void **state)
{
    (void)state;
    char *bytes = NULL;
    size_t length = 0;
    assert_ok(rf_file_write(in_folder("a"), "x\0y", 3));
    assert_ok(rf_file_write(in_folder("a"), "p\0qr", 4));
    assert_ok(rf_file_read(&bytes, &length, in_folder("a"), 4));
    assert_int_equal(length, 4);
    assert_memory_equal(bytes, "p\0qr", 5);
    free(bytes);
    assert_ok(rf_file_write(in_folder("empty"), "", 0));
    assert_ok(rf_file_read(&bytes, &length, in_folder("empty"), 0));
    assert_int_equal(length, 0);
    free(bytes);
}

static void read__missing_folder_or_too_long__is_named(void **state)
{
    (void)state;
    char *bytes = NULL;
    size_t length = 0;
    assert_status(rf_file_read(&bytes, &length, in_folder("none"), 9), RF_INPUT);
    assert_message_has("none: No such file");
    assert_status(rf_file_read(&bytes, &length, rf_test_folder(), 9), RF_INPUT);
    assert_message_has("not a plain file");
    rf_test_write_file(in_folder("long"), "0123456789", 10);
    assert_status(rf_file_read(&bytes, &length, in_folder("long"), 9), RF_INPUT);
    assert_message_has("10 bytes, more than the 9");
    assert_null(bytes);
}

#ifdef RF_FAULTS
static void write__failing__keeps_the_old_file_and_leaves_nothing(void **state)
{
    (void)state;
    const char *const sites[] = {"file.write:0", "file.publish:0"};
    assert_ok(rf_file_write(in_folder("kept"), "old", 3));
    for (int i = 0; i < 2; i++) {
        setenv("RF_FAULT", sites[i], 1);
        const rf_status status = rf_file_write(in_folder("kept"), "new", 3);
        unsetenv("RF_FAULT");
        assert_int_equal(status, RF_WRITE);
        assert_message_has("kept");
        size_t length = 0;
        char *bytes = rf_test_read_file(in_folder("kept"), &length);
        assert_string_equal(bytes, "old");
        free(bytes);
        assert_int_not_equal(access(in_folder("kept.tmp"), F_OK), 0);
    }
    assert_status(rf_file_write(in_folder("no/such/folder"), "", 0), RF_WRITE);
}
#endif

static void folder_make__nested_and_repeated__is_there(void **state)
{
    (void)state;
    assert_ok(rf_folder_make(in_folder("f/g/h")));
    assert_ok(rf_folder_make(in_folder("f/g/h/")));
    assert_int_equal(access(in_folder("f/g/h"), W_OK), 0);
    assert_ok(rf_file_write(in_folder("f/file"), "", 0));
    assert_status(rf_folder_make(in_folder("f/file/x")), RF_WRITE);
    assert_message_has("f/file");
    assert_status(rf_folder_make(""), RF_WRITE);
}

static const struct CMUnitTest file[] = {
    cmocka_unit_test(file__written__reads_back_with_a_nul),
    cmocka_unit_test(read__missing_folder_or_too_long__is_named),
#ifdef RF_FAULTS
    cmocka_unit_test(write__failing__keeps_the_old_file_and_leaves_nothing),
#endif
    cmocka_unit_test(folder_make__nested_and_repeated__is_there),
};
RF_TEST_MAIN(file)
