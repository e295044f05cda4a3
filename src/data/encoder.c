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

/*
 * A text that goes on must not get a second leading blank: it is tokenised behind a line break,
 * whose ids are dropped again. Where the break would grow into the text's first token, the text
 * stands alone.
 */
static rf_status encode_behind_break(const rf_encoder *encoder, rf_bytes text, rf_text *scratch,
                                     rf_ids *behind, rf_ids *ids)
{
    const rf_ids *lead = &encoder->lead;
    RF_TRY(rf_text_append(scratch, "\n", 1));
    RF_TRY(rf_text_append(scratch, text.at, text.length));
    RF_TRY(encode(encoder->tokenizer, (rf_bytes){scratch->bytes, scratch->length}, 0, behind));
    if (behind->count < lead->count ||
        memcmp(behind->ids, lead->ids, (size_t)lead->count * sizeof *lead->ids) != 0)
        return encode(encoder->tokenizer, text, 0, ids);
    return rf_ids_append(ids, behind->ids + lead->count, behind->count - lead->count);
}

rf_status rf_encoder_text(const rf_encoder *encoder, rf_bytes text, int starts, rf_ids *ids)
{
    if (starts || !encoder->leading_blank) return encode(encoder->tokenizer, text, 0, ids);
    rf_text scratch = {0};
    rf_ids behind = {0};
    const rf_status status = encode_behind_break(encoder, text, &scratch, &behind, ids);
    free(scratch.bytes);
    free(behind.ids);
    return status;
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

rf_status rf_encoder_pieces(const rf_encoder *encoder, const rf_pieces *pieces, int64_t count,
                            int frame, rf_ids *ids, rf_ids *labels)
{
    int64_t begin = ids->count;
    if (frame) {
        RF_TRY(rf_ids_append(ids, encoder->prefix.ids, encoder->prefix.count));
        RF_TRY(label_tail(labels, ids, begin, 0));
    }
    for (int64_t i = 0; i < count; i++) {
        const int is_answer = pieces->piece[i].is_answer;
        begin = ids->count;
        RF_TRY(rf_encoder_text(encoder, rf_pieces_bytes(pieces, i), i == 0, ids));
        const int ended = ids->count > begin && ids->ids[ids->count - 1] == encoder->eos;
        if (frame && is_answer && encoder->eos >= 0 && !ended)
            RF_TRY(rf_ids_append(ids, &encoder->eos, 1));
        RF_TRY(label_tail(labels, ids, begin, is_answer));
    }
    return RF_OK;
}
