/*
 * A text file is one stream of tokens, tokenised in blocks so that ranks can share it out. Blocks
 * depend on the file and the tokeniser, not on the ranks, and are cut only where tokenising both
 * sides apart gives what tokenising them together gives: a text has the same tokens in blocks as in
 * one piece.
 */
#include <stdlib.h>
#include <string.h>

#include "mapping.h"
#include "share.h"

enum {
    BLOCK = 1 << 20, /* bytes, about */
    CONTEXT = 192,   /* bytes on either side of a border that are tried */
    TRIES = 64       /* line breaks that are tried for a border */
};

typedef struct stream {
    rf_mapping file;
    const rf_formatter *formatter;
    rf_ids together, apart; /* scratch of a trial */
} stream;

/* The next place from `at` on where a character begins. */
static size_t character(const rf_mapping *file, size_t at)
{
    while (at < file->size && ((unsigned char)file->bytes[at] & 0xC0) == 0x80) at++;
    return at;
}

static rf_status add_range(const stream *s, size_t begin, size_t end, int first, rf_ids *ids)
{
    return rf_formatter_stream(s->formatter, (rf_bytes){s->file.bytes + begin, end - begin}, first,
                               ids);
}

/* 1 when the text around `at` has the same tokens cut there as whole. */
static int cuts_cleanly(stream *s, size_t at)
{
    const size_t begin = character(&s->file, at > CONTEXT ? at - CONTEXT : 0);
    const size_t end =
        character(&s->file, at + CONTEXT < s->file.size ? at + CONTEXT : s->file.size);
    if (begin >= at || end <= at) return 0;
    s->together.count = s->apart.count = 0;
    if (add_range(s, begin, end, 0, &s->together) != RF_OK) return 0;
    if (add_range(s, begin, at, 0, &s->apart) != RF_OK) return 0;
    if (add_range(s, at, end, 0, &s->apart) != RF_OK) return 0;
    return s->together.count == s->apart.count &&
           memcmp(s->together.ids, s->apart.ids, (size_t)s->apart.count * sizeof *s->apart.ids) ==
               0;
}

/* First clean border behind one of the line breaks from `from` on, or before it; 0 if there is
 * none. */
static size_t clean_border(stream *s, size_t from)
{
    for (int i = 0; i < TRIES && from < s->file.size; i++) {
        const char *end = memchr(s->file.bytes + from, '\n', s->file.size - from);
        if (!end) return 0;
        const size_t at = (size_t)(end - s->file.bytes);
        if (cuts_cleanly(s, at + 1)) return at + 1;
        if (cuts_cleanly(s, at)) return at;
        from = at + 1;
    }
    return 0;
}

/* Where block `block` begins. A block without a border of its own begins where the next one does.
 */
static size_t border(stream *s, size_t block)
{
    if (block == 0) return 0;
    for (; block < s->file.size / BLOCK + 1 && block * BLOCK < s->file.size; block++) {
        const size_t at = clean_border(s, block * BLOCK);
        if (at) return at;
    }
    return s->file.size;
}

static rf_status add_blocks(stream *s, size_t first, size_t last, rf_ids *ids)
{
    const size_t mark = s->file.size >= 3 && memcmp(s->file.bytes, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    for (size_t block = first; block < last; block++) {
        const size_t begin = block ? border(s, block) : mark, end = border(s, block + 1);
        if (begin < end) RF_TRY(add_range(s, begin, end, block == 0, ids));
    }
    return RF_OK;
}

rf_status rf_share_stream(rf_share *share, const char *path, int part, int parts,
                          const rf_formatter *formatter)
{
    stream s = {.formatter = formatter};
    RF_TRY(rf_mapping_open(&s.file, path));
    const size_t blocks = (s.file.size + BLOCK - 1) / BLOCK, n = (size_t)parts, k = (size_t)part;
    const rf_status status = add_blocks(&s, blocks * k / n, blocks * (k + 1) / n, &share->ids);
    rf_mapping_close(&s.file);
    free(s.together.ids);
    free(s.apart.ids);
    if (status != RF_INPUT) return status;
    return rf_fail(status, "%s (%s). The file must be UTF-8 text", rf_status_message(), path);
}
