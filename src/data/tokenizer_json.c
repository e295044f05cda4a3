#include "tokenizer_json.h"

#include <string.h>

rf_status rf_part_parse(json_t **root, const char *text, size_t length, const char *file)
{
    json_error_t error;
    *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (!*root)
        return rf_fail(RF_INPUT, "no valid JSON: %s (%s, line %d). The file may be cut short",
                       error.text, file, error.line);
    if (json_is_object(*root)) return RF_OK;
    json_decref(*root);
    *root = NULL;
    return rf_fail(RF_INPUT, "a JSON object is expected (%s)", file);
}

static rf_status wrong(const char *key, const char *wanted, rf_place place)
{
    return rf_fail(RF_INPUT, "'%s' must be %s (%s, %s)", key, wanted, place.file, place.part);
}

/* The value of `key` unless it is missing or null. */
static const json_t *value_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

rf_status rf_part_bool(const json_t *object, const char *key, rf_place place, int *value)
{
    const json_t *found = value_of(object, key);
    if (!found) return RF_OK;
    if (!json_is_boolean(found)) return wrong(key, "true or false", place);
    *value = json_is_true(found);
    return RF_OK;
}

rf_status rf_part_count(const json_t *object, const char *key, rf_place place, int64_t *value)
{
    const json_t *found = value_of(object, key);
    if (!found) return RF_OK;
    if (!json_is_integer(found) || json_integer_value(found) < 0 ||
        json_integer_value(found) > INT32_MAX)
        return wrong(key, "a whole number from 0 to 2147483647", place);
    *value = json_integer_value(found);
    return RF_OK;
}

rf_status rf_part_bytes(const json_t *object, const char *key, rf_place place, rf_bytes *value)
{
    const json_t *found = value_of(object, key);
    if (!found) return RF_OK;
    if (!json_is_string(found)) return wrong(key, "a string", place);
    *value = (rf_bytes){json_string_value(found), json_string_length(found)};
    return RF_OK;
}

rf_status rf_part_wanted(const json_t *object, const char *key, rf_place place, rf_bytes *value)
{
    *value = (rf_bytes){0};
    RF_TRY(rf_part_bytes(object, key, place, value));
    return value->at ? RF_OK : wrong(key, "given", place);
}

rf_status rf_part_array(const json_t *object, const char *key, rf_place place, const json_t **value)
{
    *value = json_object_get(object, key);
    return json_is_array(*value) ? RF_OK : wrong(key, "a list", place);
}

rf_status rf_part_choice(const json_t *object, const char *key, rf_place place,
                         const char *const *words, int *value)
{
    rf_bytes found = {0};
    RF_TRY(rf_part_bytes(object, key, place, &found));
    if (!found.at) return RF_OK;
    for (int i = 0; words[i]; i++) {
        if (strcmp(words[i], found.at) != 0) continue;
        *value = i;
        return RF_OK;
    }
    return rf_fail(RF_INPUT, "'%s' cannot be '%.100s' (%s, %s). It may be '%s' and its like", key,
                   found.at, place.file, place.part, words[0]);
}

rf_status rf_part_finder(const json_t *object, rf_place place, rf_finder *pattern)
{
    const json_t *wrapped = json_object_get(object, "pattern");
    rf_bytes text = {0};
    RF_TRY(rf_part_bytes(wrapped, "String", place, &text));
    if (text.at) return rf_finder_literal(pattern, text.at, text.length, place);
    RF_TRY(rf_part_bytes(wrapped, "Regex", place, &text));
    if (text.at) return rf_finder_regex(pattern, text.at, text.length, place);
    return wrong("pattern", "{\"String\": ...} or {\"Regex\": ...}", place);
}

enum { DEEPEST = 16 };

static rf_status visit(const json_t *part, const char *list, rf_place place, rf_part_step *step,
                       void *context, int depth)
{
    rf_bytes kind = {0};
    if (!json_is_object(part)) return wrong(place.part, "an object with a 'type', or null", place);
    RF_TRY(rf_part_wanted(part, "type", place, &kind));
    if (strcmp(kind.at, "Sequence") != 0) return step(context, part, kind.at, place);
    if (depth == DEEPEST)
        return rf_fail(RF_INPUT, "sequences nest too deeply (%s, %s)", place.file, place.part);
    const json_t *members = NULL;
    RF_TRY(rf_part_array(part, list, place, &members));
    for (size_t i = 0; i < json_array_size(members); i++)
        RF_TRY(visit(json_array_get(members, i), list, place, step, context, depth + 1));
    return RF_OK;
}

rf_status rf_part_steps(const json_t *part, const char *list, rf_place place, rf_part_step *step,
                        void *context)
{
    if (!part || json_is_null(part)) return RF_OK;
    return visit(part, list, place, step, context, 0);
}
