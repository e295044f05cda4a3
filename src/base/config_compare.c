/* Two configurations side by side: against the defaults, and when a run goes on. */
#include "config_internal.h"

#include <stdlib.h>
#include <string.h>

static char *value_text(const rf_config *config, int index)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    RF_ASSERT(out, "no memory for a value's text");
    rf_config_value_write(out, &rf_config_schema[index], &config->values[index]);
    fclose(out);
    return text;
}

int rf_config_is_default(const rf_config *config, const char *key)
{
    const int index = rf_config_entry_find(key);
    RF_ASSERT(index >= 0, "no key '%s' in the schema", key);
    char *text = value_text(config, index), *standard = NULL;
    rf_config *defaults = NULL;
    RF_ASSERT(rf_config_parse(&defaults, "", 0, "defaults", NULL, 0) == RF_OK, "defaults: %s",
              rf_status_message());
    standard = value_text(defaults, index);
    const int same = strcmp(text, standard) == 0;
    free(text);
    free(standard);
    rf_config_destroy(&defaults);
    return same;
}

static void write_changed(FILE *out, const rf_config *config, const rf_config *defaults)
{
    for (int i = 0; i < rf_config_schema_count; i++) {
        char *text = value_text(config, i), *standard = value_text(defaults, i);
        if (strcmp(text, standard) != 0) fprintf(out, "%s: %s\n", rf_config_schema[i].key, text);
        free(text);
        free(standard);
    }
}

char *rf_config_changed(const rf_config *config)
{
    char *text = NULL;
    size_t bytes = 0;
    rf_config *defaults = NULL;
    FILE *out = open_memstream(&text, &bytes);
    if (!out) return NULL;
    const int made = rf_config_parse(&defaults, "", 0, "defaults", NULL, 0) == RF_OK;
    if (made) write_changed(out, config, defaults);
    rf_config_destroy(&defaults);
    if (fclose(out) == 0 && made) return text;
    free(text);
    return NULL;
}

int rf_config_differences(const rf_config *before, const rf_config *now, char *text, size_t bytes)
{
    int count = 0;
    size_t used = 0;
    if (bytes) text[0] = '\0';
    for (int i = 0; i < rf_config_schema_count; i++) {
        if (rf_config_schema[i].flags & RF_CONFIG_RESUMABLE) continue;
        char *old = value_text(before, i), *new = value_text(now, i);
        if (strcmp(old, new) != 0) {
            if (used < bytes)
                used += (size_t)snprintf(text + used, bytes - used, "%s%s: %s -> %s",
                                         count ? "\n" : "", rf_config_schema[i].key, old, new);
            count++;
        }
        free(old);
        free(new);
    }
    return count;
}

rf_status rf_config_check_resume(const rf_config *now, const char *before, const char *where)
{
    rf_config *old = NULL;
    const rf_status status = rf_config_parse(&old, before, strlen(before), where, NULL, 0);
    if (status == RF_RESOURCES) return status;
    if (status != RF_OK)
        return rf_fail(RF_CONFLICT,
                       "the configuration of this run is not understood: %s. Go on with "
                       "the refract that began it, or choose another output",
                       rf_status_message());
    char keys[RF_MESSAGE_BYTES / 2];
    const int count = rf_config_differences(old, now, keys, sizeof keys);
    rf_config_destroy(&old);
    if (count == 0) return RF_OK;
    return rf_fail(RF_CONFLICT,
                   "%d %s changed since this run began (%s). Set them back or choose another "
                   "output:\n%s",
                   count, count == 1 ? "key has" : "keys have", where, keys);
}
