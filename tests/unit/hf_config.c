#include "rf_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refract/base/file.h"
#include "refract/io/hf_config.h"

static const char *in_folder(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", rf_test_folder(), name);
    return path;
}

static const char *const base[][2] = {
    {"model_type", "\"llama\""}, {"vocab_size", "100"},      {"hidden_size", "48"},
    {"intermediate_size", "80"}, {"num_hidden_layers", "2"}, {"num_attention_heads", "6"},
    {"hidden_act", "\"silu\""},  {"rms_norm_eps", "1e-5"},
};
enum { BASE = sizeof base / sizeof base[0], MOST_CHANGES = 4 };

/* Writes config.json from `base`, with pairs key, value replaced (value "": left out), and reads
 * it. */
static rf_status read_changed(rf_model_config *config, const char *const changes[][2], int count)
{
    char text[4096] = "{\"pretraining_tp\": 4";
    int used[MOST_CHANGES] = {0};
    for (int i = 0; i < BASE + count; i++) {
        const char *const *pair = i < BASE ? base[i] : changes[i - BASE];
        if (i >= BASE && used[i - BASE]) continue;
        for (int c = 0; i < BASE && c < count; c++) {
            if (strcmp(changes[c][0], pair[0]) != 0) continue;
            used[c] = 1;
            pair = changes[c];
        }
        const size_t at = strlen(text);
        if (pair[1][0]) snprintf(text + at, sizeof text - at, ",\n \"%s\": %s", pair[0], pair[1]);
    }
    strcat(text, "}");
    rf_test_write_file(in_folder("config.json"), text, strlen(text));
    return rf_hf_config_read(config, rf_test_folder());
}

#define READ(config, ...)                                                                          \
    read_changed((config), (const char *const[][2]){__VA_ARGS__},                                  \
                 (int)(sizeof((const char *const[][2]){__VA_ARGS__}) / sizeof(char *[2])))

static void read__sizes_only__has_the_defaults_of_transformers(void **state)
{
    (void)state;
    rf_model_config c;
    assert_ok(READ(&c, {"x", "null"}));
    assert_string_equal(c.model_type, "llama");
    assert_int_equal(c.kv_heads, 6);
    assert_int_equal(c.d_head, 8);
    assert_int_equal(c.max_position, 2048);
    assert_near(c.norm_eps, 1e-5, 0, 0);
    assert_near(c.rope.theta, 1e4, 0, 0);
    assert_int_equal(c.rope.kind, RF_ROPE_DEFAULT);
    assert_int_equal(c.tied + c.attention_bias + c.mlp_bias + (int)c.window, 0);
    assert_int_equal(c.bos, 1);
    assert_int_equal(c.pad, -1);
    assert_int_equal(c.eos_count, 1);
    assert_int_equal(c.eos[0], 2);
    assert_string_equal(c.dtype, "float32");
    assert_ok(READ(&c, {"head_dim", "null"}, {"num_key_value_heads", "null"},
                   {"bos_token_id", "null"}, {"eos_token_id", "null"}));
    assert_int_equal(c.kv_heads, 6);
    assert_int_equal(c.bos, -1);
    assert_int_equal(c.eos_count, 0);
}

static void read__mistral__has_its_own_defaults(void **state)
{
    (void)state;
    rf_model_config c;
    assert_ok(READ(&c, {"model_type", "\"mistral\""}, {"num_attention_heads", "8"},
                   {"attention_bias", "true"}));
    assert_int_equal(c.kv_heads, 8);
    assert_int_equal(c.window, 4096);
    assert_int_equal(c.max_position, 131072);
    assert_int_equal(c.attention_bias, 0);
    assert_ok(READ(&c, {"model_type", "\"mistral\""}, {"num_key_value_heads", "3"},
                   {"sliding_window", "null"}, {"head_dim", "32"}));
    assert_int_equal(c.window, 0);
    assert_int_equal(c.d_head, 32);
    assert_ok(READ(&c, {"sliding_window", "7"}));
    assert_int_equal(c.window, 0);
}

static void read__both_spellings_of_rope__say_the_same(void **state)
{
    (void)state;
    rf_model_config old, now;
    assert_ok(READ(&old, {"rope_theta", "5e5"}, {"torch_dtype", "\"bfloat16\""},
                   {"rope_scaling", "{\"type\": \"linear\", \"factor\": 4}"}));
    assert_ok(READ(&now,
                   {"rope_parameters", "{\"rope_type\": \"linear\", \"factor\": 4.0, "
                                       "\"rope_theta\": 500000}"},
                   {"dtype", "\"bfloat16\""}));
    assert_memory_equal(&old, &now, sizeof old);
    assert_int_equal(now.rope.kind, RF_ROPE_LINEAR);
    assert_near(now.rope.factor, 4, 0, 0);
    assert_ok(
        READ(&now, {"rope_scaling",
                    "{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, "
                    "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 8192.0}"}));
    assert_int_equal(now.rope.kind, RF_ROPE_LLAMA3);
    assert_int_equal(now.rope.original_max_position, 8192);
}

static void read__end_tokens__come_from_both_files(void **state)
{
    (void)state;
    const char generation[] = "{\"eos_token_id\": [4, 9, 3], \"temperature\": 0.6}";
    rf_test_write_file(in_folder("generation_config.json"), generation, strlen(generation));
    rf_model_config c;
    assert_ok(READ(&c, {"eos_token_id", "[9, 5]"}, {"pad_token_id", "-1"}));
    const int64_t wanted[] = {9, 5, 4, 3};
    assert_int_equal(c.eos_count, 4);
    assert_memory_equal(c.eos, wanted, sizeof wanted);
    assert_int_equal(c.pad, -1);
    rf_test_write_file(in_folder("generation_config.json"), "{", 1);
    assert_status(READ(&c, {"x", "1"}), RF_INPUT);
    assert_message_has("generation_config.json is not JSON");
    assert_int_equal(remove(in_folder("generation_config.json")), 0);
}

typedef struct refusal {
    const char *key, *value, *message;
} refusal;

static const refusal refusals[] = {
    {"model_type", "\"qwen2\"", "model_type 'qwen2' is not supported"},
    {"model_type", "", "'model_type' is missing"},
    {"architectures", "[\"LlamaForSequenceClassification\"]", "'LlamaForSequenceClassification'"},
    {"hidden_act", "\"gelu\"", "hidden_act 'gelu'"},
    {"partial_rotary_factor", "0.5", "partial_rotary_factor"},
    {"attention_dropout", "0.1", "attention_dropout"},
    {"quantization_config", "{\"bits\": 4}", "quantization_config"},
    {"layer_types", "[\"full_attention\", \"sliding_attention\"]", "layer_types"},
    {"rope_scaling", "{\"rope_type\": \"yarn\", \"factor\": 2}", "rope_type 'yarn'"},
    {"rope_scaling", "{\"type\": \"dynamic\", \"factor\": 2}", "rope_type 'dynamic'"},
    {"rope_parameters", "{\"rope_type\": \"longrope\"}", "rope_type 'longrope'"},
    {"rope_parameters", "{\"partial_rotary_factor\": 0.25}", "partial_rotary_factor"},
    {"rope_scaling", "{\"type\": \"linear\"}", "'factor' is missing"},
    {"rope_scaling", "{\"type\": \"linear\", \"factor\": 0}", "'factor' = 0"},
    {"rope_scaling", "{\"type\": \"llama3\", \"factor\": 2}", "'low_freq_factor' is missing"},
    {"rope_scaling", "[1]", "not an object"},
    {"rope_theta", "0", "'rope_theta' = 0"},
    {"rope_theta", "\"big\"", "'rope_theta' is not a number"},
    {"vocab_size", "", "'vocab_size' is missing"},
    {"vocab_size", "null", "'vocab_size' is missing"},
    {"vocab_size", "3000000000", "'vocab_size' = 3000000000 is not in"},
    {"hidden_size", "0", "'hidden_size' = 0"},
    {"hidden_size", "48.5", "'hidden_size' is not a whole number"},
    {"hidden_size", "50", "not a multiple of 'num_attention_heads'"},
    {"num_hidden_layers", "-1", "'num_hidden_layers' = -1"},
    {"num_key_value_heads", "4", "not a multiple of 'num_key_value_heads' 4"},
    {"head_dim", "7", "'head_dim' 7 is odd"},
    {"rms_norm_eps", "0", "'rms_norm_eps' = 0"},
    {"tie_word_embeddings", "1", "'tie_word_embeddings' is not true or false"},
    {"eos_token_id", "100", "'eos_token_id' 100"},
    {"eos_token_id", "\"</s>\"", "'eos_token_id' is not"},
    {"eos_token_id", "[1,2,3,4,5,6,7,8,9]", "more than 8 ids"},
    {"bos_token_id", "100", "'bos_token_id' = 100"},
    {"torch_dtype", "\"int8\"", "dtype 'int8'"},
};

static void read__what_is_not_supported__is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        rf_model_config c;
        const rf_status status = READ(&c, {refusals[i].key, refusals[i].value});
        if (status != RF_INPUT) print_error("%s: %s\n", refusals[i].key, refusals[i].value);
        assert_int_equal(status, RF_INPUT);
        assert_message_has(refusals[i].message);
        assert_message_has("config.json");
    }
}

static void read__damaged_file__is_named(void **state)
{
    (void)state;
    rf_model_config c;
    assert_status(rf_hf_config_read(&c, in_folder("nowhere")), RF_INPUT);
    assert_message_has("nowhere");
    const char *const texts[] = {"", "[]", "{\"a\": 1,}", "{\"a\": 1, \"a\": 2}", "{} x"};
    for (int i = 0; i < 5; i++) {
        rf_test_write_file(in_folder("config.json"), texts[i], strlen(texts[i]));
        assert_status(rf_hf_config_read(&c, in_folder("config.json")), RF_INPUT);
        assert_message_has("config.json");
    }
}

static void assert_round_trip(const rf_model_config *config)
{
    rf_model_config back;
    assert_ok(rf_hf_config_write(config, rf_test_folder()));
    assert_ok(rf_hf_config_read(&back, rf_test_folder()));
    assert_memory_equal(config, &back, sizeof back);
}

static void write__then_read__is_the_same(void **state)
{
    (void)state;
    rf_model_config c;
    assert_ok(READ(
        &c,
        {"rope_scaling", "{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1.1, "
                         "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 32}"},
        {"eos_token_id", "[5, 7]"}, {"attention_bias", "true"}, {"tie_word_embeddings", "true"}));
    assert_round_trip(&c);
    assert_ok(READ(&c, {"model_type", "\"mistral\""}, {"num_key_value_heads", "2"},
                   {"torch_dtype", "\"float16\""}, {"eos_token_id", "null"}));
    assert_round_trip(&c);
    c.window = 0;
    c.rope.kind = RF_ROPE_LINEAR;
    c.rope.factor = 2.5;
    assert_round_trip(&c);
}

static void write__text__is_that_of_pythons_json(void **state)
{
    (void)state;
    rf_model_config c;
    assert_ok(
        READ(&c, {"rope_theta", "500000"}, {"eos_token_id", "[2, 3]"}, {"bos_token_id", "null"}));
    assert_ok(rf_hf_config_write(&c, rf_test_folder()));
    size_t length = 0;
    char *text = rf_test_read_file(in_folder("config.json"), &length);
    const char wanted[] = "{\n  \"architectures\": [\n    \"LlamaForCausalLM\"\n  ],\n"
                          "  \"attention_bias\": false,\n  \"attention_dropout\": 0.0,\n"
                          "  \"bos_token_id\": null,\n  \"eos_token_id\": [\n    2,\n    3\n  ],\n"
                          "  \"head_dim\": 8,\n";
    assert_memory_equal(text, wanted, strlen(wanted));
    assert_non_null(strstr(text, "\"rms_norm_eps\": 1e-05,\n"));
    assert_non_null(strstr(text, "\"rope_theta\": 500000.0,\n"));
    assert_non_null(strstr(text, "\"initializer_range\": 0.02,\n"));
    free(text);
}

static void read__reference_folders__have_the_known_sizes(void **state)
{
    (void)state;
    skip_without("models/stories260K/config.json");
    skip_without("reference/tiny/llama3-rope/config_4x.json");
    rf_model_config c, old;
    assert_ok(rf_hf_config_read(&c, rf_shared_path("models/stories260K")));
    assert_int_equal(c.layers, 5);
    assert_int_equal(c.kv_heads, 4);
    assert_int_equal(c.tied, 1);
    assert_ok(rf_hf_config_read(&c, rf_shared_path("reference/tiny/llama3-rope")));
    assert_ok(rf_hf_config_read(&old, rf_shared_path("reference/tiny/llama3-rope/config_4x.json")));
    assert_memory_equal(&c, &old, sizeof c);
    assert_int_equal(c.d_head, 32);
    assert_near(c.rope.high_freq_factor, 4, 0, 0);
    assert_ok(rf_hf_config_read(&c, rf_shared_path("reference/tiny/mistral-window")));
    assert_int_equal(c.window, 8);
    assert_ok(rf_hf_config_read(&c, rf_shared_path("reference/tiny/llama-gqa")));
    assert_ok(rf_hf_config_read(&old, rf_shared_path("reference/tiny/llama-gqa-sharded")));
    strcpy(c.dtype, old.dtype);
    assert_memory_equal(&c, &old, sizeof c);
}

static const struct CMUnitTest hf_config[] = {
    cmocka_unit_test(read__sizes_only__has_the_defaults_of_transformers),
    cmocka_unit_test(read__mistral__has_its_own_defaults),
    cmocka_unit_test(read__both_spellings_of_rope__say_the_same),
    cmocka_unit_test(read__end_tokens__come_from_both_files),
    cmocka_unit_test(read__what_is_not_supported__is_named),
    cmocka_unit_test(read__damaged_file__is_named),
    cmocka_unit_test(write__then_read__is_the_same),
    cmocka_unit_test(write__text__is_that_of_pythons_json),
    cmocka_unit_test(read__reference_folders__have_the_known_sizes),
};
RF_TEST_MAIN(hf_config)
