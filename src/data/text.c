#include "refract/data/text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

rf_status rf_text_reserve(rf_text *text, size_t more)
{
    if (more < text->capacity - text->length) return RF_OK;
    const size_t capacity = 2 * (text->length + more) + 64;
    char *grown = more < SIZE_MAX / 4 ? realloc(text->bytes, capacity) : NULL;
    if (!grown) return rf_fail(RF_RESOURCES, "no memory for %zu bytes of text", capacity);
    text->bytes = grown;
    text->capacity = capacity;
    return RF_OK;
}

rf_status rf_text_append(rf_text *text, const char *bytes, size_t length)
{
    RF_TRY(rf_text_reserve(text, length));
    if (length) memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
    return RF_OK;
}

rf_status rf_text_add(rf_text *text, const char *string)
{
    return rf_text_append(text, string, strlen(string));
}
