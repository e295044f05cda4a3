#include "tokenizer_text.h"

#include <stdlib.h>
#include <utf8proc.h>

rf_status rf_stretches_reserve(rf_stretches *stretches, size_t more)
{
    const size_t wanted = stretches->count + more;
    if (wanted <= stretches->capacity) return RF_OK;
    const size_t capacity = wanted + wanted / 2 + 64;
    void *items = realloc(stretches->items, capacity * sizeof *stretches->items);
    if (!items) return rf_fail(RF_RESOURCES, "not enough memory for %zu words", capacity);
    stretches->items = items;
    stretches->capacity = capacity;
    return RF_OK;
}

void rf_text_free(rf_text *text)
{
    free(text->bytes);
    *text = (rf_text){0};
}

void rf_stretches_free(rf_stretches *spans)
{
    free(spans->items);
    *spans = (rf_stretches){0};
}

rf_status rf_text_copy(char **copy, const char *bytes, size_t length)
{
    *copy = malloc(length + 1);
    if (!*copy) return rf_fail(RF_RESOURCES, "not enough memory for a text of %zu bytes", length);
    memcpy(*copy, bytes, length);
    (*copy)[length] = '\0';
    return RF_OK;
}

/* Bytes of the well-formed sequence at p; 0 if none, and then *bad = bytes of its maximal broken
 * part. */
static size_t sequence_at(const unsigned char *p, size_t left, size_t *bad)
{
    *bad = 1;
    if (p[0] < 0x80) return 1;
    const size_t length = p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF5 ? 4 : 0;
    if (!length) return 0;
    unsigned low = 0x80, high = 0xBF; /* of the second byte: no overlong forms, no surrogates */
    if (p[0] == 0xE0) low = 0xA0;
    if (p[0] == 0xED) high = 0x9F;
    if (p[0] == 0xF0) low = 0x90;
    if (p[0] == 0xF4) high = 0x8F;
    for (size_t i = 1; i < length; i++) {
        if (i >= left || p[i] < low || p[i] > high) return 0;
        low = 0x80;
        high = 0xBF;
        *bad = i + 1;
    }
    return length;
}

size_t rf_utf8_valid(const char *bytes, size_t length)
{
    const unsigned char *p = (const unsigned char *)bytes;
    size_t at = 0, bad = 0;
    while (at < length) {
        uint64_t eight;
        if (length - at >= 8 && (memcpy(&eight, p + at, 8), !(eight & 0x8080808080808080u))) {
            at += 8;
            continue;
        }
        const size_t step = sequence_at(p + at, length - at, &bad);
        if (!step) break;
        at += step;
    }
    return at;
}

size_t rf_utf8_write(char *out, int32_t point)
{
    return (size_t)utf8proc_encode_char(point, (utf8proc_uint8_t *)out);
}

rf_status rf_text_append_lossy(rf_text *text, const char *bytes, size_t length)
{
    while (length) {
        const size_t good = rf_utf8_valid(bytes, length);
        RF_TRY(rf_text_append(text, bytes, good));
        bytes += good;
        length -= good;
        if (!length) break;
        size_t bad = 1;
        sequence_at((const unsigned char *)bytes, length, &bad);
        RF_TRY(rf_text_append(text, "\xEF\xBF\xBD", 3));
        bytes += bad;
        length -= bad;
    }
    return RF_OK;
}

int rf_char_is_space(int32_t c)
{
    return (c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

int rf_char_is_number(int32_t point)
{
    const utf8proc_category_t category = utf8proc_category(point);
    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

int rf_char_is_punctuation(int32_t point)
{
    if (point < 128)
        return (point >= 33 && point <= 47) || (point >= 58 && point <= 64) ||
               (point >= 91 && point <= 96) || (point >= 123 && point <= 126);
    const utf8proc_category_t category = utf8proc_category(point);
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

int rf_char_is_mark(int32_t point)
{
    const utf8proc_category_t category = utf8proc_category(point);
    return category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME;
}

int rf_char_is_word(int32_t c)
{
    const utf8proc_category_t category = utf8proc_category(c);
    /* Alphabetic = L, Nl, and marks and circled letters that are Other_Alphabetic */
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) ||
           category == UTF8PROC_CATEGORY_PC || c == 0x200C || c == 0x200D ||
           (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
           (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}
