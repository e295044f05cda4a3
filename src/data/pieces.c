#include "refract/data/pieces.h"

#include <stdlib.h>
#include <string.h>

static rf_status open_piece(rf_pieces *pieces, int is_answer)
{
    if (pieces->count > 0 && pieces->piece[pieces->count - 1].is_answer == is_answer) return RF_OK;
    if (pieces->count == pieces->capacity) {
        const int64_t capacity = 2 * pieces->capacity + 8;
        rf_piece *grown = realloc(pieces->piece, (size_t)capacity * sizeof *grown);
        if (!grown) return rf_fail(RF_RESOURCES, "no memory for a row of text");
        pieces->piece = grown;
        pieces->capacity = capacity;
    }
    pieces->piece[pieces->count++] = (rf_piece){.end = pieces->text.length, .is_answer = is_answer};
    return RF_OK;
}

rf_status rf_pieces_append(rf_pieces *pieces, rf_bytes bytes, int is_answer)
{
    if (bytes.length == 0) return RF_OK;
    RF_TRY(open_piece(pieces, is_answer));
    RF_TRY(rf_text_append(&pieces->text, bytes.at, bytes.length));
    pieces->piece[pieces->count - 1].end = pieces->text.length;
    return RF_OK;
}

rf_status rf_pieces_add(rf_pieces *pieces, const char *string, int is_answer)
{
    return rf_pieces_append(pieces, (rf_bytes){string, strlen(string)}, is_answer);
}

void rf_pieces_clear(rf_pieces *pieces)
{
    pieces->count = 0;
    pieces->text.length = 0;
}

void rf_pieces_free(rf_pieces *pieces)
{
    free(pieces->text.bytes);
    free(pieces->piece);
    *pieces = (rf_pieces){0};
}

rf_bytes rf_pieces_bytes(const rf_pieces *pieces, int64_t index)
{
    const size_t begin = index > 0 ? pieces->piece[index - 1].end : 0;
    return (rf_bytes){pieces->text.bytes + begin, pieces->piece[index].end - begin};
}
