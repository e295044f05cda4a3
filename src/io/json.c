#include "json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "refract/base/file.h"

enum { MOST_BYTES = 64 << 20 };

rf_status rf_json_load(json_t **object, const char *path)
{
    char *bytes = NULL;
    size_t length = 0;
    *object = NULL;
    RF_TRY(rf_file_read(&bytes, &length, path, MOST_BYTES));
    json_error_t error;
    json_t *root = json_loadb(bytes, length, JSON_REJECT_DUPLICATES, &error);
    free(bytes);
    if (!root)
        return rf_fail(RF_INPUT, "%s is not JSON: %s (line %d)", path, error.text, error.line);
    if (!json_is_object(root)) {
        json_decref(root);
        return rf_fail(RF_INPUT, "%s does not hold a JSON object", path);
    }
    *object = root;
    return RF_OK;
}

int rf_json_is_null(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return !value || json_is_null(value);
}

static rf_status wrong(const char *key, const char *wanted, const char *file)
{
    return rf_fail(RF_INPUT, "'%s' is not %s (%s)", key, wanted, file);
}

rf_status rf_json_whole(int64_t *value, const json_t *object, const char *key, int64_t low,
                        int64_t high, const char *file)
{
    if (rf_json_is_null(object, key)) return RF_OK;
    const json_t *item = json_object_get(object, key);
    int64_t number = json_integer_value(item);
    if (json_is_real(item)) {
        const double real = json_real_value(item);
        if (!(fabs(real) < 0x1p53) || real != floor(real))
            return wrong(key, "a whole number", file);
        number = (int64_t)real;
    } else if (!json_is_integer(item)) {
        return wrong(key, "a whole number", file);
    }
    if (number < low || number > high)
        return rf_fail(RF_INPUT, "'%s' = %lld is not in %lld ... %lld (%s)", key, (long long)number,
                       (long long)low, (long long)high, file);
    *value = number;
    return RF_OK;
}

rf_status rf_json_number(double *value, const json_t *object, const char *key, double low,
                         double high, const char *file)
{
    if (rf_json_is_null(object, key)) return RF_OK;
    const json_t *item = json_object_get(object, key);
    if (!json_is_number(item)) return wrong(key, "a number", file);
    const double number = json_number_value(item);
    if (!(number >= low && number <= high))
        return rf_fail(RF_INPUT, "'%s' = %g is not in %g ... %g (%s)", key, number, low, high,
                       file);
    *value = number;
    return RF_OK;
}

rf_status rf_json_flag(int *value, const json_t *object, const char *key, const char *file)
{
    if (rf_json_is_null(object, key)) return RF_OK;
    const json_t *item = json_object_get(object, key);
    if (!json_is_boolean(item)) return wrong(key, "true or false", file);
    *value = json_is_true(item);
    return RF_OK;
}

rf_status rf_json_text(const char **value, const json_t *object, const char *key, const char *file)
{
    if (rf_json_is_null(object, key)) return RF_OK;
    const json_t *item = json_object_get(object, key);
    if (!json_is_string(item)) return wrong(key, "a string", file);
    *value = json_string_value(item);
    return RF_OK;
}

rf_status rf_json_require(const json_t *object, const char *key, const char *file)
{
    if (!rf_json_is_null(object, key)) return RF_OK;
    return rf_fail(RF_INPUT, "'%s' is missing (%s)", key, file);
}
