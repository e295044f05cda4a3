#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "tokenizer_parts.h"

enum { NFC, NFD, NFKC, NFKD, LOWERCASE, STRIP, STRIP_ACCENTS, REPLACE, PREPEND, BYTE_LEVEL };

static const char *const kinds[] = {"NFC",   "NFD",          "NFKC",    "NFKD",    "Lowercase",
                                    "Strip", "StripAccents", "Replace", "Prepend", "ByteLevel"};

static rf_status read_content(rf_normalizer_step *step, const json_t *object, const char *key,
                              rf_place place)
{
    rf_bytes content = {0};
    RF_TRY(rf_part_wanted(object, key, place, &content));
    step->content_length = content.length;
    return rf_text_copy(&step->content, content.at, content.length);
}

static rf_status read_step(void *context, const json_t *object, const char *kind, rf_place place)
{
    rf_normalizer *normalizer = context;
    size_t at = 0;
    while (at < sizeof kinds / sizeof *kinds && strcmp(kinds[at], kind) != 0) at++;
    if (at == sizeof kinds / sizeof *kinds)
        return rf_fail(
            RF_INPUT,
            "a normalizer of kind '%.100s' is not supported (%s). Known are NFC, NFD, NFKC, "
            "NFKD, Lowercase, Strip, StripAccents, Replace, Prepend, ByteLevel, Sequence",
            kind, place.file);
    rf_normalizer_step *steps =
        realloc(normalizer->steps, (normalizer->count + 1) * sizeof *normalizer->steps);
    if (!steps) return rf_fail(RF_RESOURCES, "not enough memory for a normalizer");
    normalizer->steps = steps;
    rf_normalizer_step *step = &steps[normalizer->count++];
    *step = (rf_normalizer_step){.kind = (int)at, .left = 1, .right = 1};
    RF_TRY(rf_part_bool(object, "strip_left", place, &step->left));
    RF_TRY(rf_part_bool(object, "strip_right", place, &step->right));
    if (step->kind == PREPEND) return read_content(step, object, "prepend", place);
    if (step->kind != REPLACE) return RF_OK;
    RF_TRY(read_content(step, object, "content", place));
    return rf_part_finder(object, place, &step->pattern);
}

rf_status rf_normalizer_read(rf_normalizer *normalizer, const json_t *part, rf_place place)
{
    return rf_part_steps(part, "normalizers", place, read_step, normalizer);
}

void rf_normalizer_free(rf_normalizer *normalizer)
{
    for (size_t i = 0; i < normalizer->count; i++) {
        rf_finder_free(&normalizer->steps[i].pattern);
        free(normalizer->steps[i].content);
    }
    free(normalizer->steps);
    *normalizer = (rf_normalizer){0};
}

static int is_ascii(const rf_text *text)
{
    for (size_t i = 0; i < text->length; i++)
        if ((unsigned char)text->bytes[i] >= 0x80) return 0;
    return 1;
}

static rf_status append_form(int kind, const rf_text *text, rf_text *out)
{
    static const utf8proc_option_t options[] = {
        [NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
        [NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
    };
    if (is_ascii(text)) return rf_text_append(out, text->bytes, text->length);
    utf8proc_uint8_t *form = NULL;
    const utf8proc_ssize_t length =
        utf8proc_map((const utf8proc_uint8_t *)text->bytes, (utf8proc_ssize_t)text->length, &form,
                     options[kind]);
    if (length < 0)
        return rf_fail(RF_RESOURCES, "a text of %zu bytes cannot be normalised: %s", text->length,
                       utf8proc_errmsg(length));
    const rf_status status = rf_text_append(out, (const char *)form, (size_t)length);
    free(form);
    return status;
}

static rf_status append_lowercase(const rf_text *text, rf_text *out)
{
    for (size_t at = 0; at < text->length;) {
        const int32_t point = rf_utf8_next(text->bytes, &at);
        char small[8];
        size_t length = rf_utf8_write(small, utf8proc_tolower(point));
        if (point == 0x130) /* the one capital whose small form is two characters */
            length += rf_utf8_write(small + length, 0x307);
        RF_TRY(rf_text_append(out, small, length));
    }
    return RF_OK;
}

static rf_status append_stripped(const rf_normalizer_step *step, const rf_text *text, rf_text *out)
{
    size_t begin = 0, end = text->length;
    for (size_t at = 0; step->left && at < end; begin = at)
        if (!rf_char_is_space(rf_utf8_next(text->bytes, &at))) break;
    while (step->right && end > begin) {
        const size_t last = rf_utf8_before(text->bytes, end);
        size_t at = last;
        if (!rf_char_is_space(rf_utf8_next(text->bytes, &at))) break;
        end = last;
    }
    return rf_text_append(out, text->bytes + begin, end - begin);
}

static rf_status append_without_marks(const rf_text *text, rf_text *out)
{
    for (size_t at = 0; at < text->length;) {
        const size_t begin = at;
        if (rf_char_is_mark(rf_utf8_next(text->bytes, &at))) continue;
        RF_TRY(rf_text_append(out, text->bytes + begin, at - begin));
    }
    return RF_OK;
}

rf_status rf_replace_append(const rf_finder *pattern, rf_matcher *matcher, rf_bytes text,
                            rf_bytes content, rf_text *out)
{
    rf_scan scan = {.pattern = pattern, .matcher = matcher, .text = text.at, .length = text.length};
    size_t done = 0;
    for (int more = 1;;) {
        RF_TRY(rf_scan_next(&scan, &more));
        if (!more) break;
        RF_TRY(rf_text_append(out, text.at + done, scan.begin - done));
        RF_TRY(rf_text_append(out, content.at, content.length));
        done = scan.end;
    }
    return rf_text_append(out, text.at + done, text.length - done);
}

static rf_status append_prefixed(const rf_normalizer_step *step, const rf_text *text, rf_text *out)
{
    if (text->length) RF_TRY(rf_text_append(out, step->content, step->content_length));
    return rf_text_append(out, text->bytes, text->length);
}

static rf_status append_step(const rf_normalizer_step *step, rf_matcher *matcher,
                             const rf_text *text, rf_text *out)
{
    switch (step->kind) {
    case LOWERCASE:
        return append_lowercase(text, out);
    case STRIP:
        return append_stripped(step, text, out);
    case STRIP_ACCENTS:
        return append_without_marks(text, out);
    case REPLACE:
        return rf_replace_append(&step->pattern, matcher, (rf_bytes){text->bytes, text->length},
                                 (rf_bytes){step->content, step->content_length}, out);
    case PREPEND:
        return append_prefixed(step, text, out);
    case BYTE_LEVEL:
        return rf_alphabet_encode(out, text->bytes, text->length);
    default:
        return append_form(step->kind, text, out);
    }
}

/* Whether the step takes the first character away, be it for another. */
static rf_status takes_first(const rf_normalizer_step *step, rf_matcher *matcher,
                             const rf_text *text, int *takes)
{
    size_t at = 0;
    *takes = 0;
    if (!text->length) return RF_OK;
    const int32_t first = rf_utf8_next(text->bytes, &at);
    if (step->kind == STRIP) *takes = step->left && rf_char_is_space(first);
    if (step->kind == STRIP_ACCENTS) *takes = rf_char_is_mark(first);
    if (step->kind != REPLACE) return RF_OK;
    rf_scan scan = {
        .pattern = &step->pattern, .matcher = matcher, .text = text->bytes, .length = text->length};
    RF_TRY(rf_scan_next(&scan, takes));
    /* one character that is replaced leaves its replacement in its place */
    *takes =
        *takes && scan.begin == 0 && scan.end >= at && (!step->content_length || scan.end > at);
    return RF_OK;
}

rf_status rf_normalizer_apply(const rf_normalizer *normalizer, rf_matcher *matcher, rf_text *text,
                              rf_text *spare, int *at_start)
{
    for (size_t i = 0; i < normalizer->count; i++) {
        int takes = 0;
        RF_TRY(takes_first(&normalizer->steps[i], matcher, text, &takes));
        if (takes) *at_start = 0;
        spare->length = 0;
        RF_TRY(append_step(&normalizer->steps[i], matcher, text, spare));
        rf_text_swap(text, spare);
    }
    return RF_OK;
}
