/* From words to typed values, checked against one entry of the schema. */
#include "config_internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

rf_status rf_config_words_add(rf_config_words *words, const char *key, const char *item)
{
    if (words->count == words->capacity) {
        const int capacity = words->capacity ? 2 * words->capacity : 4;
        char **keys = realloc(words->keys, (size_t)capacity * sizeof *keys);
        if (keys) words->keys = keys;
        char **items = realloc(words->items, (size_t)capacity * sizeof *items);
        if (items) words->items = items;
        if (!keys || !items) return rf_fail(RF_RESOURCES, "no memory for the configuration");
        words->capacity = capacity;
    }
    char *key_copy = key ? strdup(key) : NULL, *item_copy = strdup(item);
    if ((key && !key_copy) || !item_copy) {
        free(key_copy);
        free(item_copy);
        return rf_fail(RF_RESOURCES, "no memory for the configuration");
    }
    words->keys[words->count] = key_copy;
    words->items[words->count++] = item_copy;
    return RF_OK;
}

void rf_config_words_free(rf_config_words *words)
{
    for (int i = 0; i < words->count; i++) {
        free(words->keys[i]);
        free(words->items[i]);
    }
    free(words->keys);
    free(words->items);
    *words = (rf_config_words){0};
}

int rf_config_word_is_null(const char *word)
{
    return !word[0] || strcmp(word, "~") == 0 || strcmp(word, "null") == 0 ||
           strcmp(word, "Null") == 0 || strcmp(word, "NULL") == 0;
}

void rf_config_value_free(rf_config_value *value)
{
    rf_config_words_free(&value->words);
    free(value->numbers);
    free(value->where);
    *value = (rf_config_value){0};
}

/* What is being set, for messages. */
typedef struct place {
    const rf_config_entry *entry;
    const char *where;
} place;

static rf_status mismatch(const place *at, const char *got)
{
    char wanted[512];
    rf_config_entry_describe(at->entry, wanted, sizeof wanted);
    return rf_fail(RF_USAGE, "'%s' must be %s, not %s (%s)", at->entry->key, wanted, got,
                   at->where);
}

static rf_status wrong_word(const place *at, const char *word)
{
    char got[128];
    snprintf(got, sizeof got, "'%.100s'", word);
    return mismatch(at, got);
}

static int in_range(const rf_config_entry *entry, double number)
{
    const int low = entry->flags & RF_CONFIG_ABOVE ? number > entry->least : number >= entry->least;
    const int high = entry->flags & RF_CONFIG_BELOW ? number < entry->most : number <= entry->most;
    return low && high;
}

static rf_status read_integer(const place *at, const char *word, int64_t *integer)
{
    char *end = NULL;
    errno = 0;
    *integer = strtoll(word, &end, 10);
    if (!word[0] || word[strspn(word, "+-0123456789")] || *end || errno ||
        !in_range(at->entry, (double)*integer))
        return wrong_word(at, word);
    return RF_OK;
}

static rf_status read_number(const place *at, const char *word, double *number)
{
    char *end = NULL;
    *number = strtod(word, &end);
    if (!word[0] || word[strspn(word, "+-.0123456789eE")] || *end || !isfinite(*number) ||
        !in_range(at->entry, *number))
        return wrong_word(at, word);
    return RF_OK;
}

static rf_status read_boolean(const place *at, const char *word, int64_t *integer)
{
    *integer = strcasecmp(word, "true") == 0;
    return *integer || strcasecmp(word, "false") == 0 ? RF_OK : wrong_word(at, word);
}

static rf_status read_choice(const place *at, const char *word)
{
    const size_t length = strlen(word);
    for (const char *choice = at->entry->choices; *choice; choice += strspn(choice, " ")) {
        const size_t span = strcspn(choice, " ");
        if (length == span && strncmp(choice, word, length) == 0) return RF_OK;
        choice += span;
    }
    return wrong_word(at, word);
}

static rf_status read_scalar(const place *at, rf_config_value *value)
{
    const char *word = value->words.items[0];
    switch (at->entry->type) {
    case RF_CONFIG_INTEGER:
        RF_TRY(read_integer(at, word, &value->integer));
        value->number = (double)value->integer;
        return RF_OK;
    case RF_CONFIG_NUMBER:
        return read_number(at, word, &value->number);
    case RF_CONFIG_BOOLEAN:
        return read_boolean(at, word, &value->integer);
    case RF_CONFIG_CHOICE:
        return read_choice(at, word);
    case RF_CONFIG_TEXT:
        return word[0] ? RF_OK : mismatch(at, "empty");
    case RF_CONFIG_LIST:
        value->form = RF_CONFIG_IS_LIST;
        return word[0] ? RF_OK : mismatch(at, "empty");
    case RF_CONFIG_INTEGERS:
    case RF_CONFIG_NUMBERS:
        break;
    }
    return wrong_word(at, word);
}

static rf_status read_list(const place *at, const rf_config_value *value)
{
    if (at->entry->type != RF_CONFIG_LIST) return mismatch(at, "a list");
    for (int i = 0; i < value->words.count; i++)
        if (!value->words.items[i][0]) return mismatch(at, "a list with an empty item");
    return RF_OK;
}

static rf_status read_map(const place *at, rf_config_value *value)
{
    const rf_config_words *words = &value->words;
    if (at->entry->type != RF_CONFIG_INTEGERS && at->entry->type != RF_CONFIG_NUMBERS)
        return mismatch(at, "a mapping");
    value->numbers = calloc((size_t)words->count + 1, sizeof *value->numbers);
    if (!value->numbers) return rf_fail(RF_RESOURCES, "no memory for the configuration");
    for (int i = 0; i < words->count; i++) {
        for (int j = 0; j < i; j++)
            if (strcmp(words->keys[i], words->keys[j]) == 0)
                return rf_fail(RF_USAGE, "'%s' has '%s' twice (%s)", at->entry->key, words->keys[i],
                               at->where);
        int64_t integer = 0;
        if (at->entry->type == RF_CONFIG_INTEGERS)
            RF_TRY(read_integer(at, words->items[i], &integer));
        RF_TRY(read_number(at, words->items[i], &value->numbers[i]));
    }
    return RF_OK;
}

static rf_status read_value(const place *at, rf_config_value *value)
{
    switch (value->form) {
    case RF_CONFIG_IS_NULL:
        return at->entry->flags & RF_CONFIG_NULL ? RF_OK : mismatch(at, "null");
    case RF_CONFIG_IS_SCALAR:
        if ((at->entry->flags & RF_CONFIG_AUTO) && strcmp(value->words.items[0], "auto") == 0) {
            value->form = RF_CONFIG_IS_AUTO;
            return RF_OK;
        }
        return read_scalar(at, value);
    case RF_CONFIG_IS_LIST:
        return read_list(at, value);
    case RF_CONFIG_IS_MAP:
        return read_map(at, value);
    case RF_CONFIG_IS_AUTO:
        break;
    }
    RF_ASSERT(0, "words of '%s' in form %d", at->entry->key, (int)value->form);
    return RF_BUG;
}

rf_status rf_config_set(rf_config *config, int index, rf_config_words *words,
                        rf_config_source source, const char *where)
{
    const place at = {&rf_config_schema[index], where};
    rf_config_value value = {.form = words->form, .words = *words, .source = source};
    *words = (rf_config_words){0};
    rf_status status = read_value(&at, &value);
    if (status == RF_OK && source == RF_CONFIG_FROM_FILE) {
        value.where = strdup(where);
        if (!value.where) status = rf_fail(RF_RESOURCES, "no memory for the configuration");
    }
    if (status != RF_OK) {
        rf_config_value_free(&value);
        return status;
    }
    rf_config_value_free(&config->values[index]);
    config->values[index] = value;
    return RF_OK;
}
