#include "growing_text.h"

#include <stdlib.h>
#include <string.h>

/* U+FFFD: bytes of a character whose other bytes may be those of the next token. */
static int ends_in_pieces(const char *text, size_t length)
{
    return length >= 3 && memcmp(text + length - 3, "\xEF\xBF\xBD", 3) == 0;
}

static const char *find(const char *text, size_t length, const char *wanted)
{
    const size_t width = strlen(wanted);
    for (size_t at = 0; at + width <= length; at++)
        if (memcmp(text + at, wanted, width) == 0) return text + at;
    return NULL;
}

/* Cuts the text before the first stop text that ends behind byte `from`. */
static void look_for_stops(growing_text *grown, size_t from, const rf_sampling *sampling)
{
    rf_text *text = &grown->text;
    size_t cut = text->length;
    for (int64_t i = 0; i < sampling->stop_count; i++) {
        const size_t width = strlen(sampling->stop[i]), begin = from < width ? 0 : from - width;
        const char *at = find(text->bytes + begin, text->length - begin, sampling->stop[i]);
        if (!at) continue;
        grown->stopped = 1;
        if ((size_t)(at - text->bytes) < cut) cut = (size_t)(at - text->bytes);
    }
    if (!text->bytes) return;
    text->length = cut;
    text->bytes[cut] = 0;
}

/* Tokens are decoded together with those before them since the last whole character, so that what
 * a decoder does at the beginning of a text is done to both and falls out. */
rf_status growing_text_take(growing_text *grown, const rf_tokenizer *tokenizer, const int32_t *ids,
                            int64_t count, const rf_sampling *sampling, int is_last)
{
    if (!tokenizer || grown->shown == count) return RF_OK;
    char *before = NULL, *now = NULL;
    size_t before_length = 0, length = 0;
    const size_t had = grown->text.length;
    const int64_t begun = grown->begun;
    rf_status status = rf_tokenizer_decode(tokenizer, ids + begun, grown->shown - begun, 1, &before,
                                           &before_length);
    if (status == RF_OK)
        status = rf_tokenizer_decode(tokenizer, ids + begun, count - begun, 1, &now, &length);
    if (status == RF_OK && (is_last || !ends_in_pieces(now, length))) {
        if (length > before_length)
            status = rf_text_append(&grown->text, now + before_length, length - before_length);
        grown->begun = grown->shown;
        grown->shown = count;
    }
    free(before);
    free(now);
    if (status == RF_OK && grown->text.length > had) look_for_stops(grown, had, sampling);
    return status;
}

size_t growing_text_sure(const growing_text *grown, const rf_sampling *sampling, int is_last)
{
    const rf_text *text = &grown->text;
    size_t held = 0;
    if (is_last) return text->length;
    for (int64_t i = 0; i < sampling->stop_count; i++) {
        const size_t width = strlen(sampling->stop[i]);
        for (size_t n = width - 1; n > held; n--) {
            if (n > text->length) continue;
            if (memcmp(text->bytes + text->length - n, sampling->stop[i], n) == 0) held = n;
        }
    }
    return text->length - held;
}

void growing_text_free(growing_text *grown)
{
    free(grown->text.bytes);
    *grown = (growing_text){0};
}
