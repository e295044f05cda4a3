/** Texts to ids so that pieces tokenised apart join into one. */
#ifndef RF_DATA_ENCODER_H
#define RF_DATA_ENCODER_H

#include "refract/data/tokenizer.h"
#include "refract/data/transcript.h"

typedef struct rf_encoder {
    const rf_tokenizer *tokenizer; /**< borrowed */
    rf_ids prefix, suffix; /**< what the post-processor puts before and behind a text; owned */
    rf_ids lead;           /**< ids of the text "\n" alone; owned */
    int leading_blank;     /**< 1: the tokeniser puts a blank before a text */
    int32_t eos;           /**< -1: none */
} rf_encoder;

/** Finds out the tokeniser's habits. On failure nothing is owned. Local; RF_RESOURCES. */
rf_status rf_encoder_create(rf_encoder *encoder, const rf_tokenizer *tokenizer);
void rf_encoder_destroy(rf_encoder *encoder);

/** What stands before a text that goes on: the id of its last token, or one of these. */
enum { RF_TEXT_STARTS = -1, RF_TEXT_GOES_ON = -2 };

/** Appends the ids of a text behind token `before`, or at the start of one. Local. */
rf_status rf_encoder_text(const rf_encoder *encoder, rf_bytes text, int32_t before, rf_ids *ids);

/**
 * Appends pieces [0, count) and their labels (may be NULL). `frame`: 1 puts BOS before the first
 * and EOS behind every answer that does not end in one, 0 leaves the text as it is. Local;
 * RF_INPUT, RF_RESOURCES.
 */
rf_status rf_encoder_transcript(const rf_encoder *encoder, const rf_transcript *pieces,
                                int64_t count, int frame, rf_ids *ids, rf_ids *labels);

/** Appends `count` times one label. Local; RF_RESOURCES. */
rf_status rf_labels_repeat(rf_ids *labels, int32_t label, int64_t count);

#endif
