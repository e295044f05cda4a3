#include "refract/data/transcript.h"

#include <stdlib.h>
#include <string.h>

static rf_status open_piece(rf_transcript *pieces, int is_answer)
{
    if (pieces->count > 0 && pieces->spans[pieces->count - 1].is_answer == is_answer) return RF_OK;
    if (pieces->count == pieces->capacity) {
        const int64_t capacity = 2 * pieces->capacity + 8;
        rf_span *grown = realloc(pieces->spans, (size_t)capacity * sizeof *grown);
        if (!grown) return rf_fail(RF_RESOURCES, "no memory for a row of text");
        pieces->spans = grown;
        pieces->capacity = capacity;
    }
    pieces->spans[pieces->count++] = (rf_span){.end = pieces->text.length, .is_answer = is_answer};
    return RF_OK;
}

rf_status rf_transcript_append(rf_transcript *pieces, rf_bytes bytes, int is_answer)
{
    if (bytes.length == 0) return RF_OK;
    RF_TRY(open_piece(pieces, is_answer));
    RF_TRY(rf_text_append(&pieces->text, bytes.at, bytes.length));
    pieces->spans[pieces->count - 1].end = pieces->text.length;
    return RF_OK;
}

rf_status rf_transcript_add(rf_transcript *pieces, const char *string, int is_answer)
{
    return rf_transcript_append(pieces, (rf_bytes){string, strlen(string)}, is_answer);
}

void rf_transcript_free(rf_transcript *pieces)
{
    free(pieces->text.bytes);
    free(pieces->spans);
    *pieces = (rf_transcript){0};
}

rf_bytes rf_transcript_bytes(const rf_transcript *pieces, int64_t index)
{
    const size_t begin = index > 0 ? pieces->spans[index - 1].end : 0;
    return (rf_bytes){pieces->text.bytes + begin, pieces->spans[index].end - begin};
}
