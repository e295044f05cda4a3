/* json.dumps(indent=2, sort_keys=True) of Python: jansson writes reals with 17 digits and breaks
 * lists differently. */
#include "json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refract/base/file.h"

/* The fewest digits that read back as the same double, laid out like Python's repr. */
static void put_real(FILE *out, double value)
{
    char digits[40];
    int precision = 0;
    do snprintf(digits, sizeof digits, "%.*e", precision, value);
    while (strtod(digits, NULL) != value && ++precision < 17);
    const int exponent = atoi(strchr(digits, 'e') + 1);
    const int decimals = precision > exponent + 1 ? precision - exponent : 1;
    if (exponent < -4 || exponent >= 16)
        fputs(digits, out);
    else
        fprintf(out, "%.*f", decimals, value);
}

static int put_scalar(FILE *out, const json_t *value)
{
    if (json_is_real(value)) {
        put_real(out, json_real_value(value));
        return 0;
    }
    return json_dumpf(value, out, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
}

static void new_line(FILE *out, int depth)
{
    fprintf(out, "\n%*s", 2 * depth, "");
}

static int by_key(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int put_value(FILE *out, const json_t *value, int depth);

static int put_array(FILE *out, const json_t *array, int depth)
{
    int failed = 0;
    fputc('[', out);
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i > 0) fputc(',', out);
        new_line(out, depth + 1);
        failed |= put_value(out, json_array_get(array, i), depth + 1);
    }
    if (json_array_size(array) > 0) new_line(out, depth);
    fputc(']', out);
    return failed;
}

static int put_object(FILE *out, const json_t *object, int depth)
{
    const size_t count = json_object_size(object);
    const char **keys = malloc((count + 1) * sizeof *keys);
    if (!keys) return -1;
    const char *key;
    json_t *unused;
    size_t at = 0;
    int failed = 0;
    json_object_foreach((json_t *)(uintptr_t)object, key, unused) keys[at++] = key;
    qsort(keys, count, sizeof *keys, by_key);
    fputc('{', out);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) fputc(',', out);
        new_line(out, depth + 1);
        json_t *name = json_string(keys[i]);
        failed |= put_scalar(out, name);
        json_decref(name);
        fputs(": ", out);
        failed |= put_value(out, json_object_get(object, keys[i]), depth + 1);
    }
    if (count > 0) new_line(out, depth);
    fputc('}', out);
    free(keys);
    return failed;
}

static int put_value(FILE *out, const json_t *value, int depth)
{
    if (json_is_object(value)) return put_object(out, value, depth);
    if (json_is_array(value)) return put_array(out, value, depth);
    return put_scalar(out, value);
}

rf_status rf_json_write(json_t *value, const char *path)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = value ? open_memstream(&text, &length) : NULL;
    int failed = !out;
    if (out) {
        failed |= put_value(out, value, 0);
        fputc('\n', out);
        failed |= ferror(out);
        failed |= fclose(out);
    }
    json_decref(value);
    const rf_status status = failed ? rf_fail(RF_RESOURCES, "no memory for the text of %s", path)
                                    : rf_file_write(path, text, length);
    free(text);
    return status;
}
