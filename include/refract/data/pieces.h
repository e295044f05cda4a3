/** A text in pieces, prompt and answer in turn: what a row becomes before it is tokenised. */
#ifndef RF_DATA_PIECES_H
#define RF_DATA_PIECES_H

#include <stdint.h>

#include "refract/data/text.h"

typedef struct rf_piece {
    size_t end;    /**< first byte behind it; it begins where the piece before ends */
    int is_answer; /**< 1: to be learnt */
} rf_piece;

/** Zero-initialise; rf_pieces_free when done. Neighbouring pieces differ in is_answer. */
typedef struct rf_pieces {
    rf_text text;    /**< all pieces end to end */
    rf_piece *piece; /**< [count]; owned */
    int64_t count, capacity;
} rf_pieces;

/** Appends text, widening the last piece when it is of the same kind. RF_RESOURCES. Local. */
rf_status rf_pieces_append(rf_pieces *pieces, rf_bytes bytes, int is_answer);
rf_status rf_pieces_add(rf_pieces *pieces, const char *string, int is_answer);

/** Empties, keeping the memory. Local. */
void rf_pieces_clear(rf_pieces *pieces);
void rf_pieces_free(rf_pieces *pieces);

/** The bytes of one piece. Borrowed. Local. */
rf_bytes rf_pieces_bytes(const rf_pieces *pieces, int64_t index);

#endif
