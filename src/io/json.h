/** JSON files of others: read with messages that name file and key, written as Python's json does.
 */
#ifndef RF_IO_JSON_H
#define RF_IO_JSON_H

#include <jansson.h>
#include <stdint.h>

#include "refract/base/status.h"

/** Reads a file that holds one object, without duplicate keys. Local; RF_INPUT, RF_RESOURCES. */
rf_status rf_json_load(json_t **object, const char *path);

/** The key is absent or null. Local. */
int rf_json_is_null(const json_t *object, const char *key);

/**
 * The value of a key; absent or null leaves *value as it is. Numbers must be finite and in [low,
 * high], whole ones may be spelled 8.0. Text is borrowed from the object. Local; RF_INPUT names
 * file and key.
 */
rf_status rf_json_whole(int64_t *value, const json_t *object, const char *key, int64_t low,
                        int64_t high, const char *file);
rf_status rf_json_number(double *value, const json_t *object, const char *key, double low,
                         double high, const char *file);
rf_status rf_json_flag(int *value, const json_t *object, const char *key, const char *file);
rf_status rf_json_text(const char **value, const json_t *object, const char *key, const char *file);

/** Fails unless the key is there and not null. Local; RF_INPUT. */
rf_status rf_json_require(const json_t *object, const char *key, const char *file);

/**
 * As json.dumps(value, indent=2, sort_keys=True) and a line break; reals in their shortest form.
 * Takes `value` (also on failure; NULL counts as no memory), to `path` as rf_file_write. Local.
 */
rf_status rf_json_write(json_t *value, const char *path);

#endif
