/* Values the program settles on, in place of `auto` mostly. */
#include "config_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What set the key before stays its origin. A value outside the schema is the program's mistake. */
static void replace(rf_config *config, const char *key, const char *text)
{
    const int index = rf_config_entry_find(key);
    RF_ASSERT(index >= 0, "no key '%s' in the schema", key);
    rf_config_value *value = &config->values[index];
    const rf_config_source source = value->source;
    const int was_auto = value->was_auto || value->form == RF_CONFIG_IS_AUTO;
    char *where = value->where ? strdup(value->where) : NULL;
    rf_config_words words = {.form = text ? RF_CONFIG_IS_SCALAR : RF_CONFIG_IS_NULL};
    rf_status status = text ? rf_config_words_add(&words, NULL, text) : RF_OK;
    if (status == RF_OK)
        status = rf_config_set(config, index, &words, source, where ? where : "resolved");
    free(where);
    RF_ASSERT(status == RF_OK, "'%s' cannot become '%s': %s", key, text ? text : "null",
              rf_status_message());
    value->was_auto = was_auto;
}

void rf_config_resolve_int(rf_config *config, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    replace(config, key, text);
}

void rf_config_resolve_number(rf_config *config, const char *key, double value)
{
    char text[64];
    snprintf(text, sizeof text, "%.17g", value);
    replace(config, key, text);
}

void rf_config_resolve_string(rf_config *config, const char *key, const char *value)
{
    replace(config, key, value);
}

char *rf_config_resolved(const rf_config *config)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (!out) return NULL;
    for (int i = 0; i < rf_config_schema_count; i++) {
        if (!config->values[i].was_auto) continue;
        fprintf(out, "%s = ", rf_config_schema[i].key);
        rf_config_value_write(out, &rf_config_schema[i], &config->values[i]);
        fputc('\n', out);
    }
    if (fclose(out) == 0) return text;
    free(text);
    return NULL;
}
