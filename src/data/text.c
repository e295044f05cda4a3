#include "refract/data/text.h"

#include <stdlib.h>
#include <string.h>

rf_status rf_text_append(rf_text *text, const char *bytes, size_t length)
{
    if (length >= text->capacity - text->length || !text->bytes) {
        const size_t capacity = 2 * (text->length + length) + 64;
        char *grown = realloc(text->bytes, capacity);
        if (!grown) return rf_fail(RF_RESOURCES, "no memory for %zu bytes of text", capacity);
        text->bytes = grown;
        text->capacity = capacity;
    }
    if (length) memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
    return RF_OK;
}

rf_status rf_text_add(rf_text *text, const char *string)
{
    return rf_text_append(text, string, strlen(string));
}
