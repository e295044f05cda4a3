#include "encoder.h"

#include <stdlib.h>
#include <string.h>

#include "refract/data/samples.h"

static rf_status encode(const rf_tokenizer *tokenizer, rf_bytes text, int special, rf_ids *ids)
{
    return rf_tokenizer_encode(tokenizer, text.at, text.length, special, ids);
}

/* What stands around the ids of a text when the post-processor has been at it. */
static rf_status find_frame(rf_encoder *encoder, rf_ids *plain, rf_ids *framed)
{
    const rf_bytes probe = {"a", 1};
    RF_TRY(encode(encoder->tokenizer, probe, 0, plain));
    RF_TRY(encode(encoder->tokenizer, probe, 1, framed));
    const int64_t extra = framed->count - plain->count;
    for (int64_t at = 0; at <= extra; at++) {
        if (memcmp(framed->ids + at, plain->ids, (size_t)plain->count * sizeof *plain->ids) != 0)
            continue;
        RF_TRY(rf_ids_append(&encoder->prefix, framed->ids, at));
        return rf_ids_append(&encoder->suffix, framed->ids + at + plain->count, extra - at);
    }
    return RF_OK;
}

/* "▁" of SentencePiece, "Ġ" of byte-level tokenisers. */
static int starts_with_blank(const rf_tokenizer *tokenizer, const rf_ids *ids)
{
    const char *piece = ids->count > 0 ? rf_tokenizer_piece(tokenizer, ids->ids[0]) : NULL;
    return piece && (strncmp(piece, "\xE2\x96\x81", 3) == 0 || strncmp(piece, "\xC4\xA0", 2) == 0);
}

static rf_status find_habits(rf_encoder *encoder)
{
    rf_ids plain = {0}, framed = {0};
    rf_status status = find_frame(encoder, &plain, &framed);
    if (status == RF_OK) {
        encoder->leading_blank = starts_with_blank(encoder->tokenizer, &plain);
        status = encode(encoder->tokenizer, (rf_bytes){"\n", 1}, 0, &encoder->lead);
    }
    free(plain.ids);
    free(framed.ids);
    return status;
}

rf_status rf_encoder_create(rf_encoder *encoder, const rf_tokenizer *tokenizer)
{
    *encoder = (rf_encoder){.tokenizer = tokenizer, .eos = rf_tokenizer_eos(tokenizer)};
    const rf_status status = find_habits(encoder);
    if (status != RF_OK) rf_encoder_destroy(encoder);
    return status;
}

void rf_encoder_destroy(rf_encoder *encoder)
{
    free(encoder->prefix.ids);
    free(encoder->suffix.ids);
    free(encoder->lead.ids);
    *encoder = (rf_encoder){0};
}

/* Appends the ids that `text` has behind `lead`, a text whose own ids are `lead_ids`. */
static rf_status encode_behind(const rf_encoder *encoder, const char *lead, const rf_ids *lead_ids,
                               rf_bytes text, rf_ids *ids)
{
    rf_text joined = {0};
    rf_ids both = {0};
    const size_t bytes = (size_t)lead_ids->count * sizeof *lead_ids->ids;
    rf_status status = rf_text_add(&joined, lead);
    if (status == RF_OK) status = rf_text_append(&joined, text.at, text.length);
    if (status == RF_OK)
        status = encode(encoder->tokenizer, (rf_bytes){joined.bytes, joined.length}, 0, &both);
    /* Where the lead would grow into the text's first token, the text stands alone. */
    const int clean = status == RF_OK && both.count >= lead_ids->count &&
                      memcmp(both.ids, lead_ids->ids, bytes) == 0;
    if (clean)
        status = rf_ids_append(ids, both.ids + lead_ids->count, both.count - lead_ids->count);
    else if (status == RF_OK)
        status = encode(encoder->tokenizer, text, 0, ids);
    free(joined.bytes);
    free(both.ids);
    return status;
}

/* The content of an added token (which the tokeniser finds as a whole in any text), else NULL. */
static const char *added_content(const rf_encoder *encoder, int32_t id)
{
    const char *piece = id >= 0 ? rf_tokenizer_piece(encoder->tokenizer, id) : NULL;
    rf_ids ids = {0};
    const int is_added =
        piece && encode(encoder->tokenizer, (rf_bytes){piece, strlen(piece)}, 0, &ids) == RF_OK &&
        ids.count == 1 && ids.ids[0] == id;
    free(ids.ids);
    return is_added ? piece : NULL;
}

/*
 * A text that goes on must not get a leading blank of its own, except where the tokeniser gives one
 * to what follows an added token: it is tokenised behind that token, or behind a line break, whose
 * ids are dropped again.
 */
rf_status rf_encoder_text(const rf_encoder *encoder, rf_bytes text, int32_t before, rf_ids *ids)
{
    if (before == RF_TEXT_STARTS || !encoder->leading_blank)
        return encode(encoder->tokenizer, text, 0, ids);
    const char *added = added_content(encoder, before);
    const rf_ids last = {.ids = &before, .count = 1};
    return added ? encode_behind(encoder, added, &last, text, ids)
                 : encode_behind(encoder, "\n", &encoder->lead, text, ids);
}

rf_status rf_labels_repeat(rf_ids *labels, int32_t label, int64_t count)
{
    for (int64_t i = 0; i < count; i++) RF_TRY(rf_ids_append(labels, &label, 1));
    return RF_OK;
}

/* Labels of the ids from `begin` on: themselves or none. */
static rf_status label_tail(rf_ids *labels, const rf_ids *ids, int64_t begin, int learnt)
{
    if (!labels) return RF_OK;
    if (learnt) return rf_ids_append(labels, ids->ids + begin, ids->count - begin);
    return rf_labels_repeat(labels, RF_NO_LABEL, ids->count - begin);
}

rf_status rf_encoder_transcript(const rf_encoder *encoder, const rf_transcript *pieces,
                                int64_t count, int frame, rf_ids *ids, rf_ids *labels)
{
    int64_t begin = ids->count;
    if (frame) {
        RF_TRY(rf_ids_append(ids, encoder->prefix.ids, encoder->prefix.count));
        RF_TRY(label_tail(labels, ids, begin, 0));
    }
    for (int64_t i = 0; i < count; i++) {
        const int is_answer = pieces->spans[i].is_answer;
        begin = ids->count;
        const int32_t before = i > 0 && begin > 0 ? ids->ids[begin - 1] : RF_TEXT_STARTS;
        RF_TRY(rf_encoder_text(encoder, rf_transcript_bytes(pieces, i), before, ids));
        const int ended = ids->count > begin && ids->ids[ids->count - 1] == encoder->eos;
        if (frame && is_answer && encoder->eos >= 0 && !ended)
            RF_TRY(rf_ids_append(ids, &encoder->eos, 1));
        RF_TRY(label_tail(labels, ids, begin, is_answer));
    }
    return RF_OK;
}
