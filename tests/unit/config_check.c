#include "rf_test.h"

#include <stdlib.h>
#include <string.h>

#include "refract/base/config.h"

static rf_status check(rf_config **config, const char *text, const char *override)
{
    rf_config_destroy(config);
    assert_ok(rf_config_parse(config, text, strlen(text), "a.yaml", &override, override != NULL));
    return rf_config_check(*config);
}

static void refused(const char *text, const char *message)
{
    rf_config *config = NULL;
    assert_status(check(&config, text, NULL), RF_USAGE);
    assert_message_has(message);
    rf_config_destroy(&config);
}

static void contradictions__are_refused(void **state)
{
    (void)state;
    refused("train: {epochs: 2, steps: 10}", "'train.epochs' and 'train.steps' exclude each other");
    refused("train: {epochs: 0}", "both 0");
    refused("train: {warmup_steps: 2, warmup_ratio: 0.1}", "exclude each other");
    refused("train: {max_time: '1:60:00'}", "HH:MM:SS");
    refused("train: {max_time: '00:00:00'}", "HH:MM:SS");
    refused("train: {micro_tokens: 511}", "less than 'data.max_length', 512");
    refused("parallel: {slices: 6}", "a power of two, not 6");
    refused("parallel: {tensor: 8}", "at most 'parallel.slices' (4), not 8");
    refused("parallel: {tensor: 3}", "not 3");
    refused("method: rslora\nlora: {use_rslora: false}", "method 'rslora' needs");
    refused("method: lora+pissa\nlora: {init: gaussian}", "method 'pissa' needs");
    refused("method: adalora\nadalora: {target_r: 13}", "only shrinks");
}

static void defaults__follow_from_other_keys(void **state)
{
    (void)state;
    rf_config *config = NULL;
    assert_ok(
        check(&config, "train: {steps: 10}\ndata: {max_length: 700}\nmethod: rslora+pissa", 0));
    assert_int_equal(rf_config_int(config, "train.epochs"), 0);
    assert_int_equal(rf_config_int(config, "train.micro_tokens"), 700);
    assert_true(rf_config_bool(config, "lora.use_rslora"));
    assert_string_equal(rf_config_string(config, "lora.init"), "pissa");
    char *yaml = rf_config_yaml(config);
    rf_config *again = NULL;
    assert_ok(check(&again, yaml, NULL));
    char *second = rf_config_yaml(again);
    assert_string_equal(yaml, second);
    free(yaml);
    free(second);
    rf_config_destroy(&again);
    rf_config_destroy(&config);
}

static void command_line__beats_the_excluded_key_of_the_file(void **state)
{
    (void)state;
    rf_config *config = NULL;
    assert_ok(check(&config, "train: {epochs: 3, warmup_steps: 5}", "train.steps=10"));
    assert_int_equal(rf_config_int(config, "train.epochs"), 0);
    assert_int_equal(rf_config_int(config, "train.steps"), 10);
    assert_ok(check(&config, "train: {warmup_ratio: 0.1}", "train.warmup_steps=10"));
    assert_near(rf_config_number(config, "train.warmup_ratio"), 0, 0, 0);
    rf_config_destroy(&config);
}

static void required_key__without_value__is_refused(void **state)
{
    (void)state;
    rf_config *config = NULL;
    assert_ok(check(&config, "model: {path: x}", NULL));
    assert_ok(rf_config_require(config, "model.path"));
    assert_status(rf_config_require(config, "data.train"), RF_USAGE);
    assert_message_has("'data.train' is not set");
    rf_config_destroy(&config);
}

static const struct CMUnitTest config_check[] = {
    cmocka_unit_test(contradictions__are_refused),
    cmocka_unit_test(defaults__follow_from_other_keys),
    cmocka_unit_test(command_line__beats_the_excluded_key_of_the_file),
    cmocka_unit_test(required_key__without_value__is_refused),
};
RF_TEST_MAIN(config_check)
