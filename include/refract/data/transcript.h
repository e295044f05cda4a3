/** A text in pieces, prompt and answer in turn: what a row becomes before it is tokenised. */
#ifndef RF_DATA_TRANSCRIPT_H
#define RF_DATA_TRANSCRIPT_H

#include <stdint.h>

#include "refract/data/text.h"

typedef struct rf_span {
    size_t end;    /**< first byte behind it; it begins where the piece before ends */
    int is_answer; /**< 1: to be learnt */
} rf_span;

/** Zero-initialise; rf_transcript_free when done. Neighbouring pieces differ in is_answer. */
typedef struct rf_transcript {
    rf_text text;   /**< all pieces end to end */
    rf_span *spans; /**< [count]; owned */
    int64_t count, capacity;
} rf_transcript;

/** Appends text, widening the last piece when it is of the same kind. RF_RESOURCES. Local. */
rf_status rf_transcript_append(rf_transcript *pieces, rf_bytes bytes, int is_answer);
rf_status rf_transcript_add(rf_transcript *pieces, const char *string, int is_answer);

/** Frees what it holds. Local. */
void rf_transcript_free(rf_transcript *pieces);

/** The bytes of one piece. Borrowed. Local. */
rf_bytes rf_transcript_bytes(const rf_transcript *pieces, int64_t index);

#endif
