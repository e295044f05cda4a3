#include "rf_test.h"

#include <stdio.h>
#include <string.h>

#include "refract/method/registry.h"

static rf_status check(const char *text)
{
    rf_config *config = NULL;
    assert_ok(rf_config_parse(&config, text, strlen(text), "a.yaml", NULL, 0));
    const rf_status status = rf_methods_check(config);
    rf_config_destroy(&config);
    return status;
}

static void every_entry__is_complete_and_in_order(void **state)
{
    (void)state;
    for (int i = 0; i < rf_method_count(); i++) {
        const rf_method_entry *entry = rf_method_at(i);
        assert_ptr_equal(rf_method_find(entry->name), entry);
        assert_true(entry->summary[0] && entry->paper && entry->sections && entry->partners);
        assert_true(i == 0 || strcmp(rf_method_at(i - 1)->name, entry->name) < 0);
    }
    assert_null(rf_method_find("lor"));
}

static void names__must_exist_and_join(void **state)
{
    (void)state;
    assert_ok(check("method: lora"));
    assert_ok(check("method: lora+rslora"));
    assert_status(check("method: lorra"), RF_USAGE);
    assert_message_has("unknown method 'lorra' (a.yaml, line 1). Did you mean 'lora'?");
    assert_status(check("method: lora+"), RF_USAGE);
    assert_message_has("unknown method ''");
    assert_status(check("method: rslora+full"), RF_USAGE);
    assert_message_has("'rslora' and 'full' cannot be joined");
    assert_ok(check("method: dora+loraplus+rslora+pissa"));
    assert_status(check("method: dora+beamlora"), RF_USAGE);
    assert_message_has("A module carries one adapter");
    assert_status(check("method: pissa+full"), RF_USAGE);
    assert_message_has("cannot be joined");
    assert_status(check("method: lora+rslora+lora"), RF_USAGE);
    assert_message_has("'lora' is named twice");
}

/* What methods.md defines, each with rslora and with loraplus. */
static void compositions__that_are_defined__are_accepted(void **state)
{
    (void)state;
    static const char *const defined[] = {
        "lora",           "beamlora",      "reflora",         "reflora-s",
        "light",          "dora",          "pissa",           "beamlora+reflora",
        "light+beamlora", "light+reflora", "light+reflora-s", "light+beamlora+reflora",
        "pissa+beamlora", "pissa+reflora", "dora+pissa",      "pissa+beamlora+reflora"};
    static const char *const with[] = {"", "+rslora", "+loraplus", "+rslora+loraplus"};
    for (size_t i = 0; i < sizeof defined / sizeof defined[0]; i++)
        for (size_t k = 0; k < sizeof with / sizeof with[0]; k++) {
            char text[128];
            snprintf(text, sizeof text, "method: %s%s", defined[i], with[k]);
            assert_ok(check(text));
        }
}

static void compositions__that_make_no_sense__are_refused_with_the_reason(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"beamlora+dora", "one adapter"},          {"light+dora", "other factors"},
        {"reflora+reflora-s", "within a step"},    {"beamlora+reflora-s", "within a step"},
        {"preclora+reflora", "within a step"},     {"lorarite+preclora", "within a step"},
        {"lorarite+beamlora", "within a step"},    {"light+preclora", "within a step"},
        {"dora+reflora", "other factors"},         {"lorarite+loraplus", "other learning rates"},
        {"light+pissa", "other factors"},          {"full+lora", "weights of the model itself"},
        {"bitfit+loraplus", "the model itself"},   {"beamlora+full", "weights of the model itself"},
        {"full+bitfit", "the model itself"},       {"beamlora+reflora+dora", "one adapter"},
        {"light+beamlora+pissa", "other factors"}, {"adapter+beamlora", "no low-rank factors"},
        {"padapter+light", "no low-rank factors"}, {"adapter+padapter", "behind a branch"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "method: %s", wrong[i][0]);
        assert_status(check(text), RF_USAGE);
        assert_message_has("cannot be joined (a.yaml, line 1)");
        assert_message_has(wrong[i][1]);
    }
}

static int trains(const char *method, const rf_model_config *model, const char *tensor)
{
    return rf_method_find(method)->trains(model, tensor);
}

static void bitfit__trains_biases_and_without_them_norms(void **state)
{
    (void)state;
    static const char bias[] = "model.layers.0.self_attn.q_proj.bias";
    static const char norm[] = "model.layers.0.input_layernorm.weight";
    static const char weight[] = "model.layers.0.self_attn.q_proj.weight";
    rf_model_config model = {.attention_bias = 1};
    assert_true(trains("bitfit", &model, bias));
    assert_false(trains("bitfit", &model, norm) || trains("bitfit", &model, "model.norm.weight"));
    assert_false(trains("bitfit", &model, weight));
    model.attention_bias = 0;
    assert_true(trains("bitfit", &model, norm) && trains("bitfit", &model, "model.norm.weight"));
    assert_false(trains("bitfit", &model, weight));
    assert_true(trains("full", &model, weight) && trains("full", &model, norm));
    assert_null(rf_method_find("lora")->trains);
}

static void unread_keys__are_those_set_away_from_defaults(void **state)
{
    (void)state;
    const char *input = "method: full\nlora: {r: 8, alpha: 32}\ntrain: {seed: 1}\n";
    rf_config *config = NULL;
    char text[256];
    assert_ok(rf_config_parse(&config, input, strlen(input), "a.yaml", NULL, 0));
    assert_int_equal(rf_methods_unread_keys(config, text, sizeof text), 1);
    assert_string_equal(text, "lora.r (a.yaml, line 2)");
    rf_config_resolve_string(config, "method", "lora");
    assert_int_equal(rf_methods_unread_keys(config, text, sizeof text), 0);
    rf_config_destroy(&config);
}

static const struct CMUnitTest registry[] = {
    cmocka_unit_test(every_entry__is_complete_and_in_order),
    cmocka_unit_test(names__must_exist_and_join),
    cmocka_unit_test(compositions__that_are_defined__are_accepted),
    cmocka_unit_test(compositions__that_make_no_sense__are_refused_with_the_reason),
    cmocka_unit_test(bitfit__trains_biases_and_without_them_norms),
    cmocka_unit_test(unread_keys__are_those_set_away_from_defaults),
};
RF_TEST_MAIN(registry)
