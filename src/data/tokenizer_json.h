/** Values out of JSON objects, with failures that name the file, the part and the key. */
#ifndef RF_DATA_TOKENIZER_JSON_H
#define RF_DATA_TOKENIZER_JSON_H

#include <jansson.h>

#include "refract/data/bpe.h"
#include "tokenizer_finder.h"

/** Parses an object. The caller owns *root (json_decref). Local; RF_INPUT. */
rf_status rf_part_parse(json_t **root, const char *text, size_t length, const char *file);

/** Of `object`, the value of `key`; a missing or null value leaves *value alone. Local; RF_INPUT.
 */
rf_status rf_part_bool(const json_t *object, const char *key, rf_place place, int *value);
rf_status rf_part_count(const json_t *object, const char *key, rf_place place, int64_t *value);
rf_status rf_part_bytes(const json_t *object, const char *key, rf_place place, rf_bytes *value);
/** The same for a string that has to be there. */
rf_status rf_part_wanted(const json_t *object, const char *key, rf_place place, rf_bytes *value);
/** The array under `key`, which has to be there. Borrowed. */
rf_status rf_part_array(const json_t *object, const char *key, rf_place place,
                        const json_t **value);
/** Position of the string under `key` in `words` (NULL-terminated); *value stays where it is
 * missing. */
rf_status rf_part_choice(const json_t *object, const char *key, rf_place place,
                         const char *const *words, int *value);
/** {"String": text} or {"Regex": text} under "pattern". The caller owns *pattern. */
rf_status rf_part_finder(const json_t *object, rf_place place, rf_finder *pattern);

/** One step of a part, e.g. one normalizer; `kind` is its "type". */
typedef rf_status rf_part_step(void *context, const json_t *object, const char *kind,
                               rf_place place);
/** Calls `step` for `part` or, if that is a Sequence, in order for the members of its `list`. */
rf_status rf_part_steps(const json_t *part, const char *list, rf_place place, rf_part_step *step,
                        void *context);

#endif
