/** Growing bytes, spans of them, UTF-8 and the character classes that tokenisers split at. */
#ifndef RF_DATA_TOKENIZER_TEXT_H
#define RF_DATA_TOKENIZER_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "refract/base/status.h"
#include "refract/data/text.h"

/** A stretch of a text: words still to be encoded, or (token >= 0) a token already. */
typedef struct rf_stretch {
    size_t begin, end;
    int32_t token; /**< -1: text */
    int at_start;  /**< 1: its first character is the first of the original text */
} rf_stretch;

/** Owns `items`. Zero-initialise; rf_stretches_free when done. */
typedef struct rf_stretches {
    rf_stretch *items;
    size_t count, capacity;
} rf_stretches;

/** Makes room for `more` items behind what is there. Local; RF_RESOURCES. */
rf_status rf_stretches_reserve(rf_stretches *spans, size_t more);
void rf_text_free(rf_text *text);
void rf_stretches_free(rf_stretches *spans);

static inline rf_status rf_stretches_append(rf_stretches *spans, rf_stretch span)
{
    if (spans->count == spans->capacity) RF_TRY(rf_stretches_reserve(spans, 1));
    spans->items[spans->count++] = span;
    return RF_OK;
}

static inline void rf_text_swap(rf_text *a, rf_text *b)
{
    const rf_text t = *a;
    *a = *b;
    *b = t;
}

/** Malloc'ed copy of bytes with a NUL behind. Local; RF_RESOURCES. */
rf_status rf_text_copy(char **copy, const char *bytes, size_t length);

/** Code point at text[*at] of valid UTF-8; moves *at behind it. Local. */
static inline int32_t rf_utf8_next(const char *text, size_t *at)
{
    const unsigned char *p = (const unsigned char *)text + *at;
    if (p[0] < 0x80) {
        *at += 1;
        return p[0];
    }
    if (p[0] < 0xE0) {
        *at += 2;
        return (p[0] & 0x1F) << 6 | (p[1] & 0x3F);
    }
    if (p[0] < 0xF0) {
        *at += 3;
        return (p[0] & 0x0F) << 12 | (p[1] & 0x3F) << 6 | (p[2] & 0x3F);
    }
    *at += 4;
    return (p[0] & 0x07) << 18 | (p[1] & 0x3F) << 12 | (p[2] & 0x3F) << 6 | (p[3] & 0x3F);
}

/** Start of the character that ends at text[at], at > 0. Local. */
static inline size_t rf_utf8_before(const char *text, size_t at)
{
    do at--;
    while (at > 0 && ((unsigned char)text[at] & 0xC0) == 0x80);
    return at;
}

/** Writes a code point, returns its bytes (1 to 4). Local. */
size_t rf_utf8_write(char *out, int32_t point);
/** Appends bytes, each maximal broken part replaced by U+FFFD (Unicode 15, section 3.9). */
rf_status rf_text_append_lossy(rf_text *text, const char *bytes, size_t length);

/** Classes of code points: White_Space; general categories N, P (or ASCII punctuation) and M; word.
 */
typedef int rf_char_class(int32_t point);
int rf_char_is_space(int32_t point);
int rf_char_is_number(int32_t point);
int rf_char_is_punctuation(int32_t point);
int rf_char_is_mark(int32_t point);
/** Alphabetic, M, Nd, Pc and Join_Control: UTS #18, annex C. */
int rf_char_is_word(int32_t point);

#endif
