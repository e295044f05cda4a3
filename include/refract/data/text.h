/** Byte strings: borrowed ones, and growing ones that end in a NUL. */
#ifndef RF_DATA_TEXT_H
#define RF_DATA_TEXT_H

#include <stddef.h>

#include "refract/base/status.h"

/** Bytes that live somewhere else; any of them may be NUL. */
typedef struct rf_bytes {
    const char *at;
    size_t length;
} rf_bytes;

/** Zero-initialise; free(bytes) when done. `bytes` is NULL until something was appended. */
typedef struct rf_text {
    char *bytes;
    size_t length, capacity;
} rf_text;

/** Makes room for `more` bytes and the NUL behind what is there. RF_RESOURCES. Local. */
rf_status rf_text_reserve(rf_text *text, size_t more);

/** Bytes of the longest valid UTF-8 beginning; `length` if all of it is. Local. */
size_t rf_utf8_valid(const char *bytes, size_t length);

/** Appends bytes, or a C string. RF_RESOURCES. Local. */
rf_status rf_text_append(rf_text *text, const char *bytes, size_t length);
rf_status rf_text_add(rf_text *text, const char *string);

#endif
