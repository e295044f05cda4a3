#include "rf_test.h"

#include <stdlib.h>
#include <string.h>

#include "refract/base/config.h"
#include "refract/base/rng.h"

static rf_status parse_with(rf_config **config, const char *text, const char *const *overrides,
                            int count)
{
    return rf_config_parse(config, text, strlen(text), "a.yaml", overrides, count);
}

static rf_status parse(rf_config **config, const char *text)
{
    return parse_with(config, text, NULL, 0);
}

static rf_status override(rf_config **config, const char *text)
{
    return parse_with(config, "", &text, 1);
}

static void refused(const char *text, const char *message)
{
    rf_config *config = NULL;
    assert_status(parse(&config, text), RF_USAGE);
    assert_message_has(message);
    assert_null(config);
}

static void refused_override(const char *text, const char *message)
{
    rf_config *config = NULL;
    assert_status(override(&config, text), RF_USAGE);
    assert_message_has(message);
    assert_null(config);
}

static void empty_file__gives_the_defaults(void **state)
{
    (void)state;
    rf_config *config = NULL;
    assert_ok(parse(&config, ""));
    assert_int_equal(rf_config_int(config, "lora.r"), 16);
    assert_near(rf_config_number(config, "train.learning_rate"), 2.0e-4, 0, 0);
    assert_true(rf_config_bool(config, "data.shuffle"));
    assert_string_equal(rf_config_string(config, "method"), "lora");
    assert_null(rf_config_string(config, "train.max_time"));
    assert_true(rf_config_is_auto(config, "parallel.tensor"));
    assert_string_equal(rf_config_string(config, "model.storage"), "auto");
    assert_int_equal(rf_config_list_count(config, "data.train"), 0);
    assert_int_equal(rf_config_map_count(config, "lora.rank_pattern"), 0);
    assert_false(rf_config_is_set(config, "lora.r"));
    assert_string_equal(rf_config_where(config, "lora.r"), "default");
    rf_config_destroy(&config);
    assert_null(config);
}

static const char *const full_example = "# a comment\n"
                                        "output: runs/\xc3\xa9t\xc3\xa9\n"
                                        "method: beamlora+reflora\n"
                                        "lora:\n"
                                        "  r: 8\n"
                                        "  alpha: 12.5\n"
                                        "  target_modules: [q_proj, \"v_proj\"]\n"
                                        "  rank_pattern:\n"
                                        "    'layers\\.0\\.': 4\n"
                                        "    \"a\\\"b\": 2\n"
                                        "loraplus: {ratio: 3}\n"
                                        "data:\n"
                                        "  train: [a.jsonl, 'b c.jsonl', \"null\", '1.5']\n"
                                        "  eval: only.jsonl\n"
                                        "beam:\n"
                                        "train: {learning_rate: 1e-3, micro_tokens: auto}\n";

static void file__sets_values_and_remembers_where(void **state)
{
    (void)state;
    rf_config *config = NULL;
    assert_ok(parse(&config, full_example));
    assert_int_equal(rf_config_int(config, "lora.r"), 8);
    assert_near(rf_config_number(config, "lora.alpha"), 12.5, 0, 0);
    assert_int_equal(rf_config_list_count(config, "lora.target_modules"), 2);
    assert_string_equal(rf_config_list_item(config, "lora.target_modules", 1), "v_proj");
    assert_int_equal(rf_config_list_count(config, "data.eval"), 1);
    assert_string_equal(rf_config_list_item(config, "data.train", 1), "b c.jsonl");
    assert_int_equal(rf_config_map_count(config, "lora.rank_pattern"), 2);
    assert_string_equal(rf_config_map_key(config, "lora.rank_pattern", 0), "layers\\.0\\.");
    assert_near(rf_config_map_number(config, "lora.rank_pattern", 1), 2, 0, 0);
    assert_true(rf_config_is_set(config, "lora.r"));
    assert_string_equal(rf_config_where(config, "lora.r"), "a.yaml, line 5");
    assert_true(rf_config_is_auto(config, "train.micro_tokens"));
    assert_true(rf_config_is_default(config, "train.seed"));
    assert_false(rf_config_is_default(config, "lora.r"));
    assert_true(rf_config_has_method(config, "reflora"));
    assert_false(rf_config_has_method(config, "lora"));
    rf_config_destroy(&config);
}

static void unknown_key__is_named_with_line_and_nearest(void **state)
{
    (void)state;
    refused("lora:\n  r: 8\n  alhpa: 3\n",
            "unknown key 'lora.alhpa' (a.yaml, line 3). Did you mean 'lora.alpha'?");
    refused("loar: {r: 8}\n", "unknown key 'loar' (a.yaml, line 1). Did you mean 'lora'?");
    refused("learning_rate: 1\n", "Did you mean 'train.learning_rate'?");
    refused("lora: {zzzzzzzzzzzzzzz: 1}\n", "See refract config --schema");
    refused("lora.r.x: 1\n", "unknown key 'lora.r.x'");
}

static void wrong_values__are_named_with_line(void **state)
{
    (void)state;
    refused("lora:\n  r: 8.0\n",
            "'lora.r' must be an integer in [1, 65536], not '8.0' (a.yaml, line 2)");
    refused("lora: {r: 0}", "not '0'");
    refused("lora: {r: 99999999999999999999}", "not '99999999999999999999'");
    refused("lora: {r: auto}", "not 'auto'");
    refused("lora: {r: }", "not null");
    refused("lora: {r: [1, 2]}", "not a list");
    refused("lora: {r: {a: 1}}", "not a mapping");
    refused("lora: {alpha: 0}", "a number > 0");
    refused("lora: {alpha: nan}", "not 'nan'");
    refused("lora: {alpha: 1e999}", "not '1e999'");
    refused("lora: {alpha: 0x10}", "not '0x10'");
    refused("lora: {dropout: 1}", "in [0, 1), not '1'");
    refused("lora: {use_rslora: 1}", "true or false, not '1'");
    refused("lora: {init: paissa}", "one of default, gaussian, pissa, random, not 'paissa'");
    refused("lora: {target_modules: [a, [b]]}", "more than words and numbers");
    refused("lora: {target_modules: ['']}", "an empty item");
    refused("lora: {rank_pattern: {a: 1.5}}", "not '1.5'");
    refused("lora: {rank_pattern: {a: 1, a: 2}}", "has 'a' twice");
    refused("lora: 5\n", "'lora' is a section");
    refused("output: ''\n", "not empty");
}

static void duplicates__are_refused_with_both_lines(void **state)
{
    (void)state;
    refused("lora:\n  r: 8\n  r: 9\n", "'lora.r' is there twice, first on line 2 (a.yaml, line 3)");
    refused("lora:\n  r: 8\nlora:\n  alpha: 9\n", "'lora' is there twice, first on line 1");
    refused("lora:\n  r: 8\nlora.r: 9\n", "'lora.r' is there twice");
}

static void malformed_yaml__is_refused_with_its_line(void **state)
{
    (void)state;
    refused("lora:\n  r: [1, 2\n", "malformed YAML: ");
    refused("lora:\n\tr: 1\n", "a.yaml, line 2");
    refused("method: lora\n---\nmethod: lora\n", "second document");
    refused("- a\n- b\n", "not a mapping of keys");
    refused("method: lora\noutput: a\xff\n", "a.yaml, line 2");
    refused("method: &a lora\noutput: *a\n", "aliases");
    refused("method: !include x\n", "tags");
    refused("output: \"a\\0b\"\n", "NUL");
    refused("? [a]\n: b\n", "a key is not a text");
}

static void overrides__win_over_the_file(void **state)
{
    (void)state;
    const char *const overrides[] = {
        "lora.r=4",       "data.train=[x, y z]", "lora.alpha_pattern={a: 1.5, b: 2}",
        "output=a: b #c", "train.max_time=",     "beam={keep: 0.5}",
        "lora.r=5"};
    rf_config *config = NULL;
    assert_ok(parse_with(&config, full_example, overrides, 7));
    assert_int_equal(rf_config_int(config, "lora.r"), 5);
    assert_string_equal(rf_config_where(config, "lora.r"), "command line");
    assert_string_equal(rf_config_list_item(config, "data.train", 1), "y z");
    assert_near(rf_config_map_number(config, "lora.alpha_pattern", 0), 1.5, 0, 0);
    assert_string_equal(rf_config_string(config, "output"), "a: b #c");
    assert_null(rf_config_string(config, "train.max_time"));
    assert_near(rf_config_number(config, "beam.keep"), 0.5, 0, 0);
    rf_config_destroy(&config);
}

static void bad_overrides__are_refused(void **state)
{
    (void)state;
    refused_override("lora.rr=3", "unknown key 'lora.rr' (command line). Did you mean 'lora.r'?");
    refused_override("lora.rr=", "unknown key 'lora.rr'");
    refused_override("lora.r", "is not KEY=VALUE");
    refused_override("=3", "is not KEY=VALUE");
    refused_override("lora.r=x", "not 'x' (command line)");
    refused_override("data.train=[a", "malformed YAML");
    refused_override("data.train=[a", "command line, data.train");
    refused_override("lora=3", "'lora' is a section");
}

static void effective_yaml__fed_back__is_the_same(void **state)
{
    (void)state;
    rf_config *config = NULL, *again = NULL;
    assert_ok(parse(&config, full_example));
    rf_config_resolve_int(config, "train.micro_tokens", 640);
    rf_config_resolve_number(config, "beam.temperature", 0.1 + 0.2);
    rf_config_resolve_string(config, "train.max_time", "a\"\\\n\x01#: ");
    char *yaml = rf_config_yaml(config);
    assert_non_null(strstr(yaml, "  epsilon: 1.0e-08\n"));
    assert_non_null(strstr(yaml, "  max_condition: 1.0e+08\n"));
    assert_ok(parse(&again, yaml));
    char *second = rf_config_yaml(again);
    assert_string_equal(yaml, second);
    char text[64];
    assert_int_equal(rf_config_differences(config, again, text, sizeof text), 0);
    assert_int_equal(rf_config_int(again, "train.micro_tokens"), 640);
    assert_true(rf_config_number(again, "beam.temperature") == 0.1 + 0.2);
    assert_string_equal(rf_config_string(again, "train.max_time"), "a\"\\\n\x01#: ");
    assert_string_equal(rf_config_list_item(again, "data.train", 2), "null");
    free(yaml);
    free(second);
    rf_config_destroy(&config);
    rf_config_destroy(&again);
}

static void differences__name_only_what_may_not_change(void **state)
{
    (void)state;
    rf_config *before = NULL, *now = NULL;
    assert_ok(parse(&before, ""));
    assert_ok(parse(&now, "lora: {r: 8, target_modules: [a, b]}\ncheckpoint: {keep: 9}\n"
                          "train: {max_time: '01:00:00'}\nparallel: {tensor: 2}\n"));
    char text[256], small[8];
    assert_int_equal(rf_config_differences(before, now, text, sizeof text), 2);
    assert_string_equal(text, "lora.r: 16 -> 8\nlora.target_modules: all-linear -> [a, b]");
    assert_int_equal(rf_config_differences(before, now, small, sizeof small), 2);
    assert_string_equal(small, "lora.r:");
    rf_config_destroy(&before);
    rf_config_destroy(&now);
}

static void resume__is_refused_with_every_difference(void **state)
{
    (void)state;
    rf_config *now = NULL;
    assert_ok(parse(&now, "lora: {r: 8}\ntrain: {log_every: 3, seed: 1}\n"));
    char *yaml = rf_config_yaml(now);
    assert_ok(rf_config_check_resume(now, yaml, "step-1.h5"));
    assert_status(rf_config_check_resume(now, "train: {seed: 2}", "step-1.h5"), RF_CONFLICT);
    assert_message_has("2 keys have changed since this run began (step-1.h5).");
    assert_message_has("\nlora.r: 16 -> 8\ntrain.seed: 2 -> 1");
    assert_status(rf_config_check_resume(now, "gone: 1", "step-1.h5"), RF_CONFLICT);
    assert_message_has("not understood: unknown key 'gone' (step-1.h5, line 1)");
    free(yaml);
    rf_config_destroy(&now);
}

static void resolved_keys__are_those_that_were_auto(void **state)
{
    (void)state;
    rf_config *config = NULL;
    assert_ok(parse(&config, "train: {micro_tokens: 600}\n"));
    rf_config_resolve_int(config, "parallel.tensor", 2);
    rf_config_resolve_int(config, "parallel.tensor", 4);
    rf_config_resolve_int(config, "train.micro_tokens", 700);
    rf_config_resolve_number(config, "beam.temperature", 0.05);
    char *text = rf_config_resolved(config);
    assert_string_equal(text, "beam.temperature = 0.05\nparallel.tensor = 4\n");
    free(text);
    rf_config_destroy(&config);
}

static void damaged_bytes__never_crash_the_parser(void **state)
{
    (void)state;
    const size_t length = strlen(full_example);
    char *text = malloc(length);
    for (uint64_t trial = 0; trial < 4000; trial++) {
        memcpy(text, full_example, length);
        for (uint64_t flip = 0; flip <= trial % 4; flip++) {
            const uint64_t bits = rf_random_bits(1, trial, flip);
            text[bits % length] ^= (char)(1 << (bits >> 60) % 8);
        }
        rf_config *config = NULL;
        const size_t kept = trial % 5 == 0 ? trial % length : length;
        const rf_status status = rf_config_parse(&config, text, kept, "a.yaml", NULL, 0);
        assert_true(status == RF_OK || status == RF_USAGE);
        assert_true((status == RF_OK) == (config != NULL));
        if (config) (void)rf_config_check(config);
        rf_config_destroy(&config);
    }
    free(text);
}

static void schema__prints_every_key(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    rf_config_print_schema(out);
    fclose(out);
    for (int i = 0; i < rf_config_key_count(); i++) assert_non_null(strstr(text, rf_config_key(i)));
    free(text);
}

static const struct CMUnitTest config[] = {
    cmocka_unit_test(empty_file__gives_the_defaults),
    cmocka_unit_test(file__sets_values_and_remembers_where),
    cmocka_unit_test(unknown_key__is_named_with_line_and_nearest),
    cmocka_unit_test(wrong_values__are_named_with_line),
    cmocka_unit_test(duplicates__are_refused_with_both_lines),
    cmocka_unit_test(malformed_yaml__is_refused_with_its_line),
    cmocka_unit_test(overrides__win_over_the_file),
    cmocka_unit_test(bad_overrides__are_refused),
    cmocka_unit_test(effective_yaml__fed_back__is_the_same),
    cmocka_unit_test(differences__name_only_what_may_not_change),
    cmocka_unit_test(resume__is_refused_with_every_difference),
    cmocka_unit_test(resolved_keys__are_those_that_were_auto),
    cmocka_unit_test(damaged_bytes__never_crash_the_parser),
    cmocka_unit_test(schema__prints_every_key),
};
RF_TEST_MAIN(config)
