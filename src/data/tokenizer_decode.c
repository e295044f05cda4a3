#include <stdlib.h>
#include <string.h>

#include "tokenizer_parts.h"

enum { BYTE_LEVEL, REPLACE, BYTE_FALLBACK, FUSE, STRIP, METASPACE, BPE_SUFFIX };
static const char *const kinds[] = {"ByteLevel", "Replace",   "ByteFallback", "Fuse",
                                    "Strip",     "Metaspace", "BPEDecoder"};
enum { KINDS = sizeof kinds / sizeof *kinds };

static rf_status read_content(rf_decoding_step *step, const json_t *object, const char *key,
                              rf_place place)
{
    rf_bytes content = {0};
    RF_TRY(rf_part_wanted(object, key, place, &content));
    step->content_length = content.length;
    return rf_text_copy(&step->content, content.at, content.length);
}

static rf_status read_metaspace(rf_decoding_step *step, const json_t *object, rf_place place)
{
    static const char *const schemes[] = {"never", "first", "always", NULL};
    step->prefixed = 1;
    RF_TRY(rf_part_bool(object, "add_prefix_space", place, &step->prefixed));
    RF_TRY(rf_part_choice(object, "prepend_scheme", place, schemes, &step->prefixed));
    RF_TRY(read_content(step, object, "replacement", place));
    return rf_finder_literal(&step->pattern, step->content, step->content_length, place);
}

static rf_status read_details(rf_decoding_step *step, const json_t *object, rf_place place)
{
    switch (step->kind) {
    case REPLACE:
        RF_TRY(read_content(step, object, "content", place));
        return rf_part_finder(object, place, &step->pattern);
    case STRIP:
        RF_TRY(rf_part_count(object, "start", place, &step->start));
        RF_TRY(rf_part_count(object, "stop", place, &step->stop));
        return read_content(step, object, "content", place);
    case METASPACE:
        return read_metaspace(step, object, place);
    case BPE_SUFFIX:
        RF_TRY(read_content(step, object, "suffix", place));
        return rf_finder_literal(&step->pattern, step->content, step->content_length, place);
    default:
        return RF_OK;
    }
}

static rf_status read_step(void *context, const json_t *object, const char *kind, rf_place place)
{
    rf_decoding *decoder = context;
    size_t at = 0;
    while (at < KINDS && strcmp(kinds[at], kind) != 0) at++;
    if (at == KINDS)
        return rf_fail(
            RF_INPUT,
            "a decoder of kind '%.100s' is not supported (%s). Known are ByteLevel, Replace, "
            "ByteFallback, Fuse, Strip, Metaspace, BPEDecoder, Sequence",
            kind, place.file);
    rf_decoding_step *steps =
        realloc(decoder->steps, (decoder->count + 1) * sizeof *decoder->steps);
    if (!steps) return rf_fail(RF_RESOURCES, "not enough memory for a decoder");
    decoder->steps = steps;
    rf_decoding_step *step = &steps[decoder->count++];
    *step = (rf_decoding_step){.kind = (int)at};
    return read_details(step, object, place);
}

rf_status rf_decoding_read(rf_decoding *decoder, const json_t *part, rf_place place)
{
    decoder->given = part && !json_is_null(part);
    return rf_part_steps(part, "decoders", place, read_step, decoder);
}

void rf_decoding_free(rf_decoding *decoder)
{
    for (size_t i = 0; i < decoder->count; i++) {
        rf_finder_free(&decoder->steps[i].pattern);
        free(decoder->steps[i].content);
    }
    free(decoder->steps);
    *decoder = (rf_decoding){0};
}

static rf_bytes piece_at(const rf_words *pieces, size_t i)
{
    const rf_stretch span = pieces->spans.items[i];
    return (rf_bytes){pieces->text.bytes + span.begin, span.end - span.begin};
}

/* What was appended to the new text since `begin` is its next piece. */
static rf_status end_piece(rf_words *pieces, size_t begin)
{
    return rf_stretches_append(&pieces->spare_spans,
                               (rf_stretch){begin, pieces->spare_text.length, -1, 0});
}

/* ByteLevel: all pieces become one, of bytes where they spell bytes. */
static rf_status join_bytes(rf_words *pieces)
{
    rf_text bytes = {0};
    rf_status status = RF_OK;
    for (size_t i = 0; i < pieces->spans.count && status == RF_OK; i++) {
        const rf_bytes piece = piece_at(pieces, i);
        int known = 1;
        status = rf_alphabet_decode(&bytes, piece.at, piece.length, &known);
        if (status == RF_OK && !known) status = rf_text_append(&bytes, piece.at, piece.length);
    }
    if (status == RF_OK)
        status = rf_text_append_lossy(&pieces->spare_text, bytes.bytes, bytes.length);
    rf_text_free(&bytes);
    return status == RF_OK ? end_piece(pieces, 0) : status;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The byte that a piece like <0x0A> stands for, or -1. */
static int byte_of(rf_bytes piece)
{
    if (piece.length != 6 || memcmp(piece.at, "<0x", 3) != 0 || piece.at[5] != '>') return -1;
    const int high = hex_digit(piece.at[3]), low = hex_digit(piece.at[4]);
    return low < 0 || high < 0 ? -1 : 16 * high + low;
}

/* Ends a run of bytes: one piece of text if they are UTF-8, else U+FFFD for each of them. */
static rf_status end_run(rf_words *pieces, rf_text *run)
{
    rf_text *out = &pieces->spare_text;
    if (!run->length) return RF_OK;
    size_t begin = out->length;
    if (rf_utf8_valid(run->bytes, run->length) == run->length) {
        RF_TRY(rf_text_append(out, run->bytes, run->length));
        RF_TRY(end_piece(pieces, begin));
    } else {
        for (size_t i = 0; i < run->length; i++, begin = out->length) {
            RF_TRY(rf_text_append(out, "\xEF\xBF\xBD", 3));
            RF_TRY(end_piece(pieces, begin));
        }
    }
    run->length = 0;
    return RF_OK;
}

static rf_status read_bytes(rf_words *pieces, rf_text *run)
{
    for (size_t i = 0; i < pieces->spans.count; i++) {
        const rf_bytes piece = piece_at(pieces, i);
        const int byte = byte_of(piece);
        if (byte >= 0) {
            const char c = (char)byte;
            RF_TRY(rf_text_append(run, &c, 1));
            continue;
        }
        RF_TRY(end_run(pieces, run));
        const size_t begin = pieces->spare_text.length;
        RF_TRY(rf_text_append(&pieces->spare_text, piece.at, piece.length));
        RF_TRY(end_piece(pieces, begin));
    }
    return end_run(pieces, run);
}

static rf_status join_fallback(rf_words *pieces)
{
    rf_text run = {0};
    const rf_status status = read_bytes(pieces, &run);
    rf_text_free(&run);
    return status;
}

static rf_status fuse(rf_words *pieces)
{
    for (size_t i = 0; i < pieces->spans.count; i++) {
        const rf_bytes piece = piece_at(pieces, i);
        RF_TRY(rf_text_append(&pieces->spare_text, piece.at, piece.length));
    }
    return end_piece(pieces, 0);
}

/* At most `most` times, `content` is taken from the front (from the back). */
static rf_bytes strip(rf_bytes piece, const rf_decoding_step *step)
{
    const size_t width = step->content_length;
    for (int64_t i = 0; i < step->start && width && piece.length >= width; i++) {
        if (memcmp(piece.at, step->content, width) != 0) break;
        piece.at += width;
        piece.length -= width;
    }
    for (int64_t i = 0; i < step->stop && width && piece.length >= width; i++) {
        if (memcmp(piece.at + piece.length - width, step->content, width) != 0) break;
        piece.length -= width;
    }
    return piece;
}

/* What stands for the replaced pattern in piece i of `count`. */
static rf_bytes substitute(const rf_decoding_step *step, size_t i, size_t count)
{
    if (step->kind == REPLACE) return (rf_bytes){step->content, step->content_length};
    const int silent = step->kind == METASPACE ? i == 0 && step->prefixed : i + 1 == count;
    return (rf_bytes){" ", silent ? 0 : 1};
}

static rf_status change_each(const rf_decoding_step *step, rf_matcher *matcher, rf_words *pieces)
{
    rf_text *out = &pieces->spare_text;
    const size_t count = pieces->spans.count;
    for (size_t i = 0; i < count; i++) {
        const size_t begin = out->length;
        const rf_bytes piece = piece_at(pieces, i);
        const rf_bytes kept = step->kind == STRIP ? strip(piece, step) : piece;
        if (step->kind == STRIP)
            RF_TRY(rf_text_append(out, kept.at, kept.length));
        else
            RF_TRY(
                rf_replace_append(&step->pattern, matcher, piece, substitute(step, i, count), out));
        RF_TRY(end_piece(pieces, begin));
    }
    return RF_OK;
}

static rf_status apply_step(const rf_decoding_step *step, rf_matcher *matcher, rf_words *pieces)
{
    switch (step->kind) {
    case BYTE_LEVEL:
        return join_bytes(pieces);
    case BYTE_FALLBACK:
        return join_fallback(pieces);
    case FUSE:
        return fuse(pieces);
    default:
        return change_each(step, matcher, pieces);
    }
}

static void swap_pieces(rf_words *pieces)
{
    const rf_stretches spans = pieces->spans;
    pieces->spans = pieces->spare_spans;
    pieces->spare_spans = spans;
    rf_text_swap(&pieces->text, &pieces->spare_text);
    pieces->spare_spans.count = pieces->spare_text.length = 0;
}

/* Without a decoder the pieces stand with blanks between. */
static rf_status join_with_blanks(rf_words *pieces)
{
    for (size_t i = 0; i < pieces->spans.count; i++) {
        const rf_bytes piece = piece_at(pieces, i);
        if (i) RF_TRY(rf_text_append(&pieces->spare_text, " ", 1));
        RF_TRY(rf_text_append(&pieces->spare_text, piece.at, piece.length));
    }
    return RF_OK;
}

rf_status rf_decoding_apply(const rf_decoding *decoder, rf_matcher *matcher, rf_words *pieces)
{
    for (size_t i = 0; i < decoder->count; i++) {
        RF_TRY(apply_step(&decoder->steps[i], matcher, pieces));
        swap_pieces(pieces);
    }
    if (decoder->given) {
        RF_TRY(fuse(pieces));
    } else {
        RF_TRY(join_with_blanks(pieces));
    }
    swap_pieces(pieces);
    return RF_OK;
}
