/* Looking up and describing the schema's entries. */
#include "config_internal.h"

#include <math.h>
#include <string.h>

#include "refract/base/nearest.h"

int rf_config_entry_find(const char *key)
{
    for (int i = 0; i < rf_config_schema_count; i++)
        if (strcmp(rf_config_schema[i].key, key) == 0) return i;
    return -1;
}

int rf_config_section_find(const char *section)
{
    const size_t length = strlen(section);
    for (int i = 0; i < rf_config_schema_count; i++) {
        const char *key = rf_config_schema[i].key;
        if (strncmp(key, section, length) == 0 && key[length] == '.') return i;
    }
    return -1;
}

static const char *last_part(const char *key)
{
    const char *dot = strrchr(key, '.');
    return dot ? dot + 1 : key;
}

/* Offers the section of each key; the name is copied out because no string holds it alone. */
static void offer_sections(rf_nearest *search, char *nearest, size_t bytes)
{
    char section[64];
    for (int i = 0; i < rf_config_schema_count; i++) {
        const char *key = rf_config_schema[i].key;
        const char *dot = strchr(key, '.');
        if (!dot) continue;
        snprintf(section, sizeof section, "%.*s", (int)(dot - key), key);
        if (rf_nearest_offer(search, section)) snprintf(nearest, bytes, "%s", section);
    }
}

/* Compares with whole keys, or with their last parts: `learning_rate` may miss only its section. */
static void offer_keys(rf_nearest *search, int last_parts, char *nearest, size_t bytes)
{
    for (int i = 0; i < rf_config_schema_count; i++) {
        const char *key = rf_config_schema[i].key;
        if (rf_nearest_offer(search, last_parts ? last_part(key) : key))
            snprintf(nearest, bytes, "%s", key);
    }
}

int rf_config_key_nearest(const char *key, char *nearest, size_t bytes)
{
    nearest[0] = '\0';
    rf_nearest search = rf_nearest_start(key);
    if (!strchr(key, '.')) offer_sections(&search, nearest, bytes);
    offer_keys(&search, 0, nearest, bytes);
    if (!nearest[0]) {
        search = rf_nearest_start(last_part(key));
        offer_keys(&search, 1, nearest, bytes);
    }
    return nearest[0] != '\0';
}

rf_status rf_config_check_key(const char *key, const char *where)
{
    char nearest[128];
    if (rf_config_entry_find(key) >= 0) return RF_OK;
    if (rf_config_section_find(key) >= 0)
        return rf_fail(RF_USAGE, "'%s' is a section, not a key (%s). Name a key, e.g. '%s'", key,
                       where, rf_config_schema[rf_config_section_find(key)].key);
    if (rf_config_key_nearest(key, nearest, sizeof nearest))
        return rf_fail(RF_USAGE, "unknown key '%s' (%s). Did you mean '%s'?", key, where, nearest);
    return rf_fail(RF_USAGE, "unknown key '%s' (%s). See refract config --schema", key, where);
}

static void describe_range(const rf_config_entry *entry, FILE *out)
{
    const int above = (entry->flags & RF_CONFIG_ABOVE) != 0;
    const int below = (entry->flags & RF_CONFIG_BELOW) != 0;
    if (isfinite(entry->most))
        fprintf(out, " in %c%.15g, %.15g%c", above ? '(' : '[', entry->least, entry->most,
                below ? ')' : ']');
    else
        fprintf(out, " %s %.15g", above ? ">" : ">=", entry->least);
}

static void describe_choices(const char *choices, FILE *out)
{
    fputs("one of ", out);
    for (const char *at = choices; *at; at++) fputs(*at == ' ' ? ", " : (char[]){*at, '\0'}, out);
}

static void describe_type(const rf_config_entry *entry, FILE *out)
{
    switch (entry->type) {
    case RF_CONFIG_INTEGER:
        fputs("an integer", out);
        describe_range(entry, out);
        break;
    case RF_CONFIG_NUMBER:
        fputs("a number", out);
        describe_range(entry, out);
        break;
    case RF_CONFIG_BOOLEAN:
        fputs("true or false", out);
        break;
    case RF_CONFIG_TEXT:
        fputs("a text", out);
        break;
    case RF_CONFIG_CHOICE:
        describe_choices(entry->choices, out);
        break;
    case RF_CONFIG_LIST:
        fputs("a text or a list of texts", out);
        break;
    case RF_CONFIG_INTEGERS:
    case RF_CONFIG_NUMBERS:
        fprintf(out, "a mapping to %s", entry->type == RF_CONFIG_INTEGERS ? "integers" : "numbers");
        describe_range(entry, out);
        break;
    }
}

void rf_config_entry_describe(const rf_config_entry *entry, char *text, size_t bytes)
{
    FILE *out = fmemopen(text, bytes, "w");
    RF_ASSERT(out, "no stream over %zu bytes", bytes);
    describe_type(entry, out);
    if (entry->flags & RF_CONFIG_AUTO) fputs(", or auto", out);
    if (entry->flags & RF_CONFIG_NULL) fputs(", or null", out);
    fclose(out);
    text[bytes - 1] = '\0';
}
