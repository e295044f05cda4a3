#include "rf_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "refract/io/peft.h"

static const char *in_folder(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", rf_test_folder(), name);
    return path;
}

static const char *const modules[] = {
    "model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj",
    "model.layers.1.self_attn.q_proj", "model.layers.1.mlp.down_proj", "lm_head"};
enum { MODULES = 5 };

/* A folder with this configuration and no tensors at all. */
static rf_status open_with(rf_peft **peft, const char *config)
{
    static const char empty[] = "\x08\0\0\0\0\0\0\0{}      ";
    rf_test_write_file(in_folder("adapter_config.json"), config, strlen(config));
    rf_test_write_file(in_folder("adapter_model.safetensors"), empty, sizeof empty - 1);
    return rf_peft_open(peft, MPI_COMM_WORLD, rf_test_folder(), NULL);
}

static void open__minimal_config__has_the_defaults_of_peft(void **state)
{
    (void)state;
    rf_peft *peft = NULL;
    rf_target targets[MODULES];
    assert_ok(open_with(&peft, "{\"peft_type\": \"LORA\", \"something_new\": 3}"));
    assert_int_equal(peft->r, 8);
    assert_near(peft->alpha, 8, 0, 0);
    assert_near(peft->dropout, 0, 0, 0);
    assert_null(peft->base_model);
    assert_ok(rf_peft_match(peft, modules, MODULES, targets, NULL));
    const int wanted[] = {1, 1, 1, 0, 0};
    for (int i = 0; i < MODULES; i++) assert_int_equal(targets[i].targeted, wanted[i]);
    rf_peft_close(&peft);
    assert_null(peft);
}

static void open__rules__are_applied_in_file_order(void **state)
{
    (void)state;
    rf_peft *peft = NULL;
    rf_target targets[MODULES];
    assert_ok(open_with(
        &peft,
        "{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 6, \"lora_dropout\": 0.1, "
        "\"use_dora\": true, \"use_rslora\": true, \"base_model_name_or_path\": \"some/base\", "
        "\"target_modules\": \"all-linear\", \"exclude_modules\": [\"v_proj\"], "
        "\"modules_to_save\": [\"lm_head\"], \"layers_pattern\": \"\", "
        "\"rank_pattern\": {\"layers.1.self_attn.q_proj\": 2, \"q_proj\": 16}, "
        "\"alpha_pattern\": {\"down_proj\": 0.5}}"));
    assert_string_equal(peft->base_model, "some/base");
    assert_int_equal(peft->use_dora + peft->use_rslora, 2);
    assert_int_equal(peft->modules_to_save.count, 1);
    assert_string_equal(peft->modules_to_save.name[0], "lm_head");
    assert_ok(rf_peft_match(peft, modules, MODULES, targets, NULL));
    const int64_t ranks[] = {16, 0, 2, 4, 0};
    for (int i = 0; i < MODULES; i++) assert_int_equal(targets[i].r, ranks[i]);
    assert_near(targets[0].alpha, 6, 0, 0);
    assert_near(targets[3].alpha, 0.5, 0, 0);
    rf_peft_close(&peft);
}

static void open__layers_and_expressions__are_understood(void **state)
{
    (void)state;
    rf_peft *peft = NULL;
    rf_target targets[MODULES];
    assert_ok(open_with(&peft, "{\"peft_type\": \"LORA\", \"target_modules\": [\"q_proj\"], "
                               "\"layers_to_transform\": 1, \"layers_pattern\": \"layers\"}"));
    assert_ok(rf_peft_match(peft, modules, MODULES, targets, NULL));
    for (int i = 0; i < MODULES; i++) assert_int_equal(targets[i].targeted, i == 2);
    rf_peft_close(&peft);
    assert_ok(
        open_with(&peft, "{\"peft_type\": \"LORA\", \"target_modules\": \".*(q|down)_proj\"}"));
    assert_ok(rf_peft_match(peft, modules, MODULES, targets, NULL));
    const int wanted[] = {1, 0, 1, 1, 0};
    for (int i = 0; i < MODULES; i++) assert_int_equal(targets[i].targeted, wanted[i]);
    rf_peft_close(&peft);
}

#define LORA "{\"peft_type\": \"LORA\", "

typedef struct refusal {
    const char *config, *message;
} refusal;

static const refusal refusals[] = {
    {"{}", "'peft_type' is missing"},
    {"{\"peft_type\": \"IA3\"}", "peft_type 'IA3' is not supported"},
    {LORA "\"bias\": \"all\"}", "'bias' is not supported"},
    {LORA "\"lora_bias\": true}", "'lora_bias' is not supported"},
    {LORA "\"fan_in_fan_out\": true}", "'fan_in_fan_out' is not supported"},
    {LORA "\"layer_replication\": [[0, 2]]}", "'layer_replication'"},
    {LORA "\"trainable_token_indices\": [1]}", "'trainable_token_indices'"},
    {LORA "\"target_parameters\": [\"experts\"]}", "'target_parameters'"},
    {LORA "\"use_qalora\": true}", "'use_qalora'"},
    {LORA "\"init_lora_weights\": \"pissa_niter_4\"}", "\"pissa_niter_4\" changes the base model"},
    {LORA "\"init_lora_weights\": \"olora\"}", "\"olora\" changes the base model"},
    {LORA "\"r\": 0}", "'r' = 0"},
    {LORA "\"r\": \"8\"}", "'r' is not a whole number"},
    {LORA "\"lora_dropout\": 2}", "'lora_dropout' = 2"},
    {LORA "\"use_dora\": \"yes\"}", "'use_dora' is not true or false"},
    {LORA "\"target_modules\": 7}", "'target_modules' is not a list of names"},
    {LORA "\"target_modules\": [7]}", "'target_modules' holds what is no string"},
    {LORA "\"target_modules\": []}", "target_modules is empty"},
    {LORA "\"target_modules\": \"(\"}", "'(' is not a regular expression"},
    {LORA "\"modules_to_save\": \"lm_head\"}", "'modules_to_save' is not a list of names"},
    {LORA "\"rank_pattern\": [1]}", "'rank_pattern' is not an object"},
    {LORA "\"rank_pattern\": {\"q_proj\": \"8\"}}", "'q_proj' of 'rank_pattern' is not a number"},
    {LORA "\"rank_pattern\": {\"q_proj\": 0}}", "q_proj = 0 is not a rank"},
    {LORA "\"layers_to_transform\": \"1\"}", "'layers_to_transform' is not a list of numbers"},
    {LORA "\"layers_to_transform\": [null]}", "'layers_to_transform' holds what is no number"},
    {"[]", "does not hold a JSON object"},
    {"{\"peft_type\"", "is not JSON"},
};

static void open__what_is_not_supported__is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        rf_peft *peft = NULL;
        assert_status(open_with(&peft, refusals[i].config), RF_INPUT);
        assert_message_has(refusals[i].message);
        assert_message_has("adapter_config.json");
        assert_null(peft);
    }
}

static void open__pickled_or_absent_tensors__say_what_to_do(void **state)
{
    (void)state;
    rf_peft *peft = NULL;
    const char config[] = "{\"peft_type\": \"LORA\"}";
    assert_int_equal(mkdir(in_folder("old"), 0777), 0);
    assert_status(rf_peft_open(&peft, MPI_COMM_WORLD, in_folder("old"), NULL), RF_INPUT);
    assert_message_has("adapter_config.json: No such file");
    rf_test_write_file(in_folder("old/adapter_config.json"), config, strlen(config));
    assert_status(rf_peft_open(&peft, MPI_COMM_WORLD, in_folder("old"), NULL), RF_INPUT);
    assert_message_has("adapter_model.safetensors");
    rf_test_write_file(in_folder("old/adapter_model.bin"), "", 0);
    assert_status(rf_peft_open(&peft, MPI_COMM_WORLD, in_folder("old"), NULL), RF_INPUT);
    assert_message_has("pickled");
    assert_message_has("safe_serialization=True");
}

static void match__another_model__is_refused(void **state)
{
    (void)state;
    rf_peft *peft = NULL;
    rf_target target;
    const char *const other[] = {"encoder.layer.0.dense"};
    assert_ok(open_with(&peft, "{\"peft_type\": \"LORA\"}"));
    assert_status(rf_peft_match(peft, other, 1, &target, NULL), RF_INPUT);
    assert_message_has("matches no module of this model");
    assert_status(rf_targets_require(peft->targets, other, 1), RF_INPUT);
    assert_message_has("no module is targeted");
    const char *const half[] = {"model.layers.0.self_attn.q_proj"}; /* v_proj matches nothing */
    assert_ok(rf_targets_require(peft->targets, half, 1));
    rf_peft_close(&peft);
}

static int64_t warnings_of(const char *config)
{
    rf_peft *peft = NULL;
    rf_target targets[MODULES];
    rf_log log = rf_log_start(0);
    rf_test_write_file(in_folder("adapter_config.json"), config, strlen(config));
    assert_ok(rf_peft_open(&peft, MPI_COMM_WORLD, rf_test_folder(), &log));
    assert_ok(rf_peft_match(peft, modules, MODULES, targets, &log));
    rf_peft_close(&peft);
    rf_log_stop(&log);
    return log.warnings;
}

static void open__unknown_keys_and_idle_rules__are_warned_of(void **state)
{
    (void)state;
    assert_int_equal(warnings_of("{\"peft_type\": \"LORA\", \"task_type\": \"CAUSAL_LM\"}"), 0);
    assert_int_equal(warnings_of("{\"peft_type\": \"LORA\", \"newest_fashion\": 1, "
                                 "\"rank_pattern\": {\"k_proj\": 4, \"v_proj\": 3}}"),
                     2);
}

static const struct CMUnitTest peft[] = {
    cmocka_unit_test(open__minimal_config__has_the_defaults_of_peft),
    cmocka_unit_test(open__rules__are_applied_in_file_order),
    cmocka_unit_test(open__layers_and_expressions__are_understood),
    cmocka_unit_test(open__what_is_not_supported__is_named),
    cmocka_unit_test(open__pickled_or_absent_tensors__say_what_to_do),
    cmocka_unit_test(match__another_model__is_refused),
    cmocka_unit_test(open__unknown_keys_and_idle_rules__are_warned_of),
};
RF_TEST_MAIN(peft)
