/** The text of tokens that come one by one; private to layer train. */
#ifndef RF_TRAIN_GROWING_TEXT_H
#define RF_TRAIN_GROWING_TEXT_H

#include "refract/data/text.h"
#include "refract/data/tokenizer.h"
#include "refract/train/generate.h"

/** Zero-initialise; growing_text_free when done. */
typedef struct growing_text {
    rf_text text;         /**< of whole characters; cut before a stop text once one is found */
    int64_t shown, begun; /**< tokens before these are in `text`; decoding starts at `begun` */
    size_t told;          /**< bytes that a listener has */
    int stopped;          /**< 1: a stop text was found */
} growing_text;

/**
 * Takes ids [count], of which it has seen all but the last few; `is_last`: bytes that are no
 * characters yet are taken as they decode. Looks for stop texts in what is new. Local; RF_INPUT,
 * RF_RESOURCES.
 */
rf_status growing_text_take(growing_text *grown, const rf_tokenizer *tokenizer, const int32_t *ids,
                            int64_t count, const rf_sampling *sampling, int is_last);

/** Bytes from the beginning that cannot become part of a stop text. Local. */
size_t growing_text_sure(const growing_text *grown, const rf_sampling *sampling, int is_last);

void growing_text_free(growing_text *grown);

#endif
