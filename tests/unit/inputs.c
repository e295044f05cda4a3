/* The input files that come with the program are ones it takes, and full-example.yaml tells the
 * truth. */
#include "rf_test.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "refract/base/config.h"

static const char *input_path(const char *name)
{
    static char path[4096];
    const char *folder = getenv("RF_INPUTS");
    snprintf(path, sizeof path, "%s/%s", folder ? folder : "inputs", name);
    return path;
}

static rf_config *parse_input(const char *name)
{
    rf_config *config = NULL;
    size_t length = 0;
    char *text = rf_test_read_file(input_path(name), &length);
    assert_ok(rf_config_parse(&config, text, length, name, NULL, 0));
    free(text);
    return config;
}

static void every_input_file__is_accepted(void **state)
{
    (void)state;
    DIR *folder = opendir(input_path(""));
    assert_non_null(folder);
    int files = 0;
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".yaml") != 0 || strncmp(entry->d_name, "sweep-", 6) == 0) continue;
        rf_config *config = parse_input(entry->d_name);
        assert_ok(rf_config_check(config));
        rf_config_destroy(&config);
        files++;
    }
    closedir(folder);
    assert_true(files >= 4);
}

static void full_example__sets_every_key(void **state)
{
    (void)state;
    rf_config *config = parse_input("full-example.yaml");
    for (int i = 0; i < rf_config_key_count(); i++) {
        if (rf_config_is_set(config, rf_config_key(i))) continue;
        print_error("%s is not in inputs/full-example.yaml\n", rf_config_key(i));
        fail();
    }
    rf_config_destroy(&config);
}

static void full_example__shows_the_defaults(void **state)
{
    (void)state;
    static const char *const example[] = {"output=runs/name", "model.path=path/to/model",
                                          "data.train=train.jsonl"};
    rf_config *config = parse_input("full-example.yaml"), *defaults = NULL;
    assert_ok(rf_config_parse(&defaults, "", 0, "nothing", example, 3));
    char *shown = rf_config_yaml(config), *wanted = rf_config_yaml(defaults);
    assert_string_equal(shown, wanted);
    free(shown);
    free(wanted);
    rf_config_destroy(&config);
    rf_config_destroy(&defaults);
}

static const struct CMUnitTest inputs[] = {
    cmocka_unit_test(every_input_file__is_accepted),
    cmocka_unit_test(full_example__sets_every_key),
    cmocka_unit_test(full_example__shows_the_defaults),
};
RF_TEST_MAIN(inputs)
