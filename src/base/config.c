#include "config_internal.h"

#include <stdlib.h>
#include <string.h>

static rf_status set_word(rf_config *config, int index, const char *text, rf_config_source source,
                          const char *where)
{
    rf_config_words words = {0};
    words.form = rf_config_word_is_null(text) ? RF_CONFIG_IS_NULL : RF_CONFIG_IS_SCALAR;
    const rf_status status = rf_config_words_add(&words, NULL, text);
    if (status == RF_OK) return rf_config_set(config, index, &words, source, where);
    rf_config_words_free(&words);
    return status;
}

/* What begins like a list, a mapping or quotes is YAML; anything else is one word, as it stands. */
static rf_status set_text(rf_config *config, const char *key, const char *text,
                          rf_config_source source, const char *where)
{
    const int index = rf_config_entry_find(key);
    if (index >= 0 && !(text[0] && strchr("[{\"'", text[0])))
        return set_word(config, index, text, source, where);
    const int known = index >= 0 || rf_config_section_find(key) >= 0;
    char place[256];
    snprintf(place, sizeof place, known ? "%s, %.200s" : "%s", where, key);
    return rf_config_read(config, text, known ? strlen(text) : 0, key, source, place);
}

static rf_status set_defaults(rf_config *config)
{
    for (int i = 0; i < rf_config_schema_count; i++) {
        const rf_config_entry *entry = &rf_config_schema[i];
        RF_TRY(set_text(config, entry->key, entry->standard, RF_CONFIG_FROM_DEFAULT, "default"));
    }
    return RF_OK;
}

static rf_status set_override(rf_config *config, const char *override)
{
    const char *equals = strchr(override, '=');
    if (!equals || equals == override)
        return rf_fail(RF_USAGE, "'%s' is not KEY=VALUE (command line). Write e.g. lora.r=8",
                       override);
    char *key = strndup(override, (size_t)(equals - override));
    if (!key) return rf_fail(RF_RESOURCES, "no memory for the configuration");
    const rf_status status =
        set_text(config, key, equals + 1, RF_CONFIG_FROM_COMMAND_LINE, "command line");
    free(key);
    return status;
}

static rf_status fill(rf_config *config, const char *text, size_t length, const char *file,
                      const char *const *overrides, int override_count)
{
    RF_TRY(set_defaults(config));
    RF_TRY(rf_config_read(config, text, length, "", RF_CONFIG_FROM_FILE, file));
    for (int i = 0; i < override_count; i++) RF_TRY(set_override(config, overrides[i]));
    return RF_OK;
}

rf_status rf_config_parse(rf_config **config, const char *text, size_t length, const char *file,
                          const char *const *overrides, int override_count)
{
    *config = calloc(1, sizeof **config);
    if (*config)
        (*config)->values = calloc((size_t)rf_config_schema_count, sizeof *(*config)->values);
    rf_status status = RF_OK;
    if (!*config || !(*config)->values)
        status = rf_fail(RF_RESOURCES, "no memory for the configuration");
    if (status == RF_OK) status = fill(*config, text, length, file, overrides, override_count);
    if (status != RF_OK) rf_config_destroy(config);
    return status;
}

void rf_config_destroy(rf_config **config)
{
    if (!*config) return;
    if ((*config)->values)
        for (int i = 0; i < rf_config_schema_count; i++)
            rf_config_value_free(&(*config)->values[i]);
    free((*config)->values);
    free(*config);
    *config = NULL;
}

static int index_of(const char *key)
{
    const int index = rf_config_entry_find(key);
    RF_ASSERT(index >= 0, "no key '%s' in the schema", key);
    return index;
}

static const rf_config_value *value_of(const rf_config *config, const char *key)
{
    return &config->values[index_of(key)];
}

static const rf_config_value *scalar_of(const rf_config *config, const char *key,
                                        rf_config_type type)
{
    const int index = index_of(key);
    RF_ASSERT(rf_config_schema[index].type == type, "'%s' has another type", key);
    RF_ASSERT(config->values[index].form == RF_CONFIG_IS_SCALAR, "'%s' has no value yet", key);
    return &config->values[index];
}

int64_t rf_config_int(const rf_config *config, const char *key)
{
    return scalar_of(config, key, RF_CONFIG_INTEGER)->integer;
}

double rf_config_number(const rf_config *config, const char *key)
{
    return scalar_of(config, key, RF_CONFIG_NUMBER)->number;
}

int rf_config_bool(const rf_config *config, const char *key)
{
    return (int)scalar_of(config, key, RF_CONFIG_BOOLEAN)->integer;
}

const char *rf_config_string(const rf_config *config, const char *key)
{
    const int index = index_of(key);
    const rf_config_type type = rf_config_schema[index].type;
    RF_ASSERT(type == RF_CONFIG_TEXT || type == RF_CONFIG_CHOICE, "'%s' is not a text", key);
    const rf_config_value *value = &config->values[index];
    return value->form == RF_CONFIG_IS_NULL ? NULL : value->words.items[0];
}

int rf_config_key_count(void)
{
    return rf_config_schema_count;
}

const char *rf_config_key(int index)
{
    RF_ASSERT(index >= 0 && index < rf_config_schema_count, "no key number %d", index);
    return rf_config_schema[index].key;
}

int rf_config_is_auto(const rf_config *config, const char *key)
{
    return value_of(config, key)->form == RF_CONFIG_IS_AUTO;
}

int rf_config_is_set(const rf_config *config, const char *key)
{
    return value_of(config, key)->source != RF_CONFIG_FROM_DEFAULT;
}

static const rf_config_value *list_of(const rf_config *config, const char *key)
{
    const int index = index_of(key);
    RF_ASSERT(rf_config_schema[index].type == RF_CONFIG_LIST, "'%s' is not a list", key);
    return &config->values[index];
}

int rf_config_list_count(const rf_config *config, const char *key)
{
    const rf_config_value *value = list_of(config, key);
    return value->form == RF_CONFIG_IS_LIST ? value->words.count : 0;
}

const char *rf_config_list_item(const rf_config *config, const char *key, int index)
{
    const int count = rf_config_list_count(config, key);
    RF_ASSERT(index >= 0 && index < count, "'%s' has %d items, not %d", key, count, index + 1);
    return list_of(config, key)->words.items[index];
}

static const rf_config_value *map_of(const rf_config *config, const char *key)
{
    const rf_config_value *value = value_of(config, key);
    RF_ASSERT(value->form == RF_CONFIG_IS_MAP, "'%s' is not a mapping", key);
    return value;
}

int rf_config_map_count(const rf_config *config, const char *key)
{
    return map_of(config, key)->words.count;
}

const char *rf_config_map_key(const rf_config *config, const char *key, int index)
{
    const rf_config_value *value = map_of(config, key);
    RF_ASSERT(index >= 0 && index < value->words.count, "'%s' has no entry %d", key, index);
    return value->words.keys[index];
}

double rf_config_map_number(const rf_config *config, const char *key, int index)
{
    const rf_config_value *value = map_of(config, key);
    RF_ASSERT(index >= 0 && index < value->words.count, "'%s' has no entry %d", key, index);
    return value->numbers[index];
}

const char *rf_config_where(const rf_config *config, const char *key)
{
    const rf_config_value *value = value_of(config, key);
    switch (value->source) {
    case RF_CONFIG_FROM_FILE:
        return value->where;
    case RF_CONFIG_FROM_COMMAND_LINE:
        return "command line";
    case RF_CONFIG_FROM_DEFAULT:
        break;
    }
    return "default";
}
