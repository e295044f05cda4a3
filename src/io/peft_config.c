/* adapter_config.json: the keys of LoraConfig, those that would change the numbers refused unless
 * unset. */
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "json.h"
#include "peft_folder.h"

typedef enum key_kind {
    READ,     /* has a meaning here */
    HARMLESS, /* of no meaning once training is over */
    UNSET     /* not implemented: only null, false, "none" or empty */
} key_kind;

static const struct {
    const char *key;
    key_kind kind;
} known[] = {
    {"peft_type", READ},
    {"r", READ},
    {"lora_alpha", READ},
    {"lora_dropout", READ},
    {"target_modules", READ},
    {"exclude_modules", READ},
    {"modules_to_save", READ},
    {"layers_to_transform", READ},
    {"layers_pattern", READ},
    {"rank_pattern", READ},
    {"alpha_pattern", READ},
    {"use_rslora", READ},
    {"use_dora", READ},
    {"init_lora_weights", READ},
    {"base_model_name_or_path", READ},
    {"task_type", HARMLESS},
    {"inference_mode", HARMLESS},
    {"peft_version", HARMLESS},
    {"revision", HARMLESS},
    {"auto_mapping", HARMLESS},
    {"loftq_config", HARMLESS}, /* tells something only with init_lora_weights */
    {"eva_config", HARMLESS},
    {"corda_config", HARMLESS},
    {"lora_ga_config", HARMLESS},
    {"megatron_core", HARMLESS},
    {"qalora_group_size", HARMLESS},
    {"ensure_weight_tying", HARMLESS},
    {"runtime_config", HARMLESS},
    {"bias", UNSET},
    {"lora_bias", UNSET},
    {"fan_in_fan_out", UNSET},
    {"layer_replication", UNSET},
    {"trainable_token_indices", UNSET},
    {"target_parameters", UNSET},
    {"alora_invocation_tokens", UNSET},
    {"arrow_config", UNSET},
    {"kasa_config", UNSET},
    {"megatron_config", UNSET},
    {"monteclora_config", UNSET},
    {"use_bdlora", UNSET},
    {"use_qalora", UNSET},
    {"velora_config", UNSET},
};
enum { KNOWN = sizeof known / sizeof known[0] };

static int is_unset(const json_t *value)
{
    if (json_is_null(value) || json_is_false(value)) return 1;
    if (json_is_string(value)) return strcmp(json_string_value(value), "none") == 0;
    return (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

static rf_status check_keys(const json_t *json, const char *file, rf_log *log)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        int at = 0;
        while (at < KNOWN && strcmp(known[at].key, key) != 0) at++;
        if (at == KNOWN && log && log->rank == 0)
            rf_log_warning(log, "unknown key '%s' is left out of account (%s)", key, file);
        if (at < KNOWN && known[at].kind == UNSET && !is_unset(value))
            return rf_fail(RF_INPUT,
                           "'%s' is not supported (%s). Only adapters without it are read", key,
                           file);
    }
    return RF_OK;
}

/* These start from a changed base, so the stored factors do not fit the original one. */
static rf_status check_start(const json_t *json, const char *file)
{
    static const char *const changing[] = {"pissa", "olora", "loftq", "corda", "lora_ga"};
    const json_t *value = json_object_get(json, "init_lora_weights");
    const char *name = json_is_string(value) ? json_string_value(value) : "";
    for (size_t i = 0; i < sizeof changing / sizeof changing[0]; i++)
        if (strncmp(name, changing[i], strlen(changing[i])) == 0)
            return rf_fail(RF_INPUT,
                           "'init_lora_weights' \"%s\" changes the base model (%s). Save it with "
                           "path_initial_model_for_weight_conversion",
                           name, file);
    return RF_OK;
}

/* Arrays made for the rules; the strings belong to the document. */
typedef struct lists {
    const char **modules, **exclude, **saved, **layer_names;
    rf_pattern *rank, *alpha;
    int64_t *layers;
} lists;

static void lists_free(lists *l)
{
    free(l->modules);
    free(l->exclude);
    free(l->layer_names);
    free(l->rank);
    free(l->alpha);
    free(l->layers);
}

static rf_status no_memory(const char *file)
{
    return rf_fail(RF_RESOURCES, "no memory for the lists of %s", file);
}

/* A list of strings; absent or null is none. A single string counts only if `single` is not NULL.
 */
static rf_status read_names(const json_t *json, const char *key, const char ***list,
                            rf_names *names, const char **single, const char *file)
{
    const json_t *value = json_object_get(json, key);
    const size_t count = json_array_size(value);
    *list = malloc((count + 1) * sizeof **list);
    if (!*list) return no_memory(file);
    *names = (rf_names){*list, (int)count};
    for (size_t i = 0; i < count; i++) {
        (*list)[i] = json_string_value(json_array_get(value, i));
        if (!(*list)[i]) return rf_fail(RF_INPUT, "'%s' holds what is no string (%s)", key, file);
    }
    if (!value || json_is_null(value) || json_is_array(value)) return RF_OK;
    if (!single || !json_is_string(value))
        return rf_fail(RF_INPUT, "'%s' is not a list of names (%s)", key, file);
    *single = json_string_value(value);
    return RF_OK;
}

static rf_status read_patterns(const json_t *json, const char *key, rf_pattern **list, int *count,
                               const rf_pattern **patterns, const char *file)
{
    const json_t *object = json_object_get(json, key);
    const char *name;
    json_t *value;
    if (object && !json_is_null(object) && !json_is_object(object))
        return rf_fail(RF_INPUT, "'%s' is not an object (%s)", key, file);
    *list = malloc((json_object_size(object) + 1) * sizeof **list);
    if (!*list) return no_memory(file);
    *patterns = *list;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        if (!json_is_number(value))
            return rf_fail(RF_INPUT, "'%s' of '%s' is not a number (%s)", name, key, file);
        (*list)[(*count)++] = (rf_pattern){name, json_number_value(value)};
    }
    return RF_OK;
}

/* One number or a list of them. */
static rf_status read_layers(const json_t *json, lists *l, rf_target_rules *rules, const char *file)
{
    static const char key[] = "layers_to_transform";
    const json_t *value = json_object_get(json, key);
    const size_t count = json_is_integer(value) ? 1 : json_array_size(value);
    if (value && !json_is_null(value) && !json_is_integer(value) && !json_is_array(value))
        return rf_fail(RF_INPUT, "'%s' is not a list of numbers (%s)", key, file);
    l->layers = malloc((count + 1) * sizeof *l->layers);
    if (!l->layers) return no_memory(file);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_is_integer(value) ? value : json_array_get(value, i);
        if (!json_is_integer(item))
            return rf_fail(RF_INPUT, "'%s' holds what is no number (%s)", key, file);
        l->layers[i] = json_integer_value(item);
    }
    rules->layers = l->layers;
    rules->layer_count = (int)count;
    return RF_OK;
}

/* A string is an expression or the word all-linear; nothing at all means PEFT's default for LLaMA.
 */
static rf_status read_targets(const json_t *json, lists *l, rf_target_rules *rules,
                              const char *file)
{
    static const char *const usual[] = {"q_proj", "v_proj"};
    RF_TRY(read_names(json, "target_modules", &l->modules, &rules->modules, &rules->regex, file));
    if (rf_json_is_null(json, "target_modules")) rules->modules = (rf_names){usual, 2};
    if (!rules->regex || strcasecmp(rules->regex, "all-linear") != 0) return RF_OK;
    rules->regex = NULL;
    rules->all_linear = 1;
    return RF_OK;
}

static rf_status read_rules(const json_t *json, lists *l, rf_target_rules *rules, const char *file)
{
    const char *layer_name = NULL;
    RF_TRY(read_targets(json, l, rules, file));
    RF_TRY(read_names(json, "exclude_modules", &l->exclude, &rules->exclude, &rules->exclude_regex,
                      file));
    RF_TRY(read_names(json, "modules_to_save", &l->saved, &rules->saved, NULL, file));
    RF_TRY(read_names(json, "layers_pattern", &l->layer_names, &rules->layer_names, &layer_name,
                      file));
    if (layer_name && layer_name[0]) {
        l->layer_names[0] = layer_name;
        rules->layer_names.count = 1;
    }
    RF_TRY(read_layers(json, l, rules, file));
    RF_TRY(read_patterns(json, "rank_pattern", &l->rank, &rules->rank_pattern_count,
                         &rules->rank_pattern, file));
    return read_patterns(json, "alpha_pattern", &l->alpha, &rules->alpha_pattern_count,
                         &rules->alpha_pattern, file);
}

static rf_status make_targets(rf_peft *peft, const json_t *json, const char *file)
{
    lists l = {0};
    rf_target_rules rules = {.r = peft->r, .alpha = peft->alpha, .where = file, .foreign = 1};
    rf_status status = read_rules(json, &l, &rules, file);
    peft->modules_to_save = (rf_names){l.saved, rules.saved.count};
    if (status == RF_OK) status = rf_targets_create(&peft->targets, &rules);
    /* The rules come from a file here, so what is wrong with them is wrong with an input. */
    if (status == RF_USAGE) status = rf_fail(RF_INPUT, "%s", rf_status_message());
    lists_free(&l);
    return status;
}

static rf_status check_type(const json_t *json, const char *file)
{
    const char *type = NULL;
    RF_TRY(rf_json_require(json, "peft_type", file));
    RF_TRY(rf_json_text(&type, json, "peft_type", file));
    if (strcmp(type, "LORA") == 0) return RF_OK;
    return rf_fail(RF_INPUT, "peft_type '%s' is not supported (%s). Only LORA is read", type, file);
}

rf_status rf_peft_read_config(rf_peft *peft, const char *folder, rf_log *log)
{
    char file[PATH_MAX];
    if (snprintf(file, sizeof file, "%s/adapter_config.json", folder) >= (int)sizeof file)
        return rf_fail(RF_INPUT, "the path %.200s... is too long", folder);
    peft->config_path = strdup(file);
    if (!peft->config_path) return no_memory(file);
    json_t *json = NULL;
    RF_TRY(rf_json_load(&json, file));
    peft->document = json;
    peft->r = 8;
    peft->alpha = 8;
    RF_TRY(check_type(json, file));
    RF_TRY(check_keys(json, file, log));
    RF_TRY(check_start(json, file));
    RF_TRY(rf_json_whole(&peft->r, json, "r", 1, 1 << 20, file));
    RF_TRY(rf_json_number(&peft->alpha, json, "lora_alpha", -1e9, 1e9, file));
    RF_TRY(rf_json_number(&peft->dropout, json, "lora_dropout", 0, 1, file));
    RF_TRY(rf_json_flag(&peft->use_rslora, json, "use_rslora", file));
    RF_TRY(rf_json_flag(&peft->use_dora, json, "use_dora", file));
    RF_TRY(rf_json_text(&peft->base_model, json, "base_model_name_or_path", file));
    return make_targets(peft, json, file);
}
