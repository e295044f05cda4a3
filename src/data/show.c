#include <inttypes.h>
#include <string.h>

#include "refract/data/prepare.h"

#define BAR "\u2502" /* no token of a vocabulary is likely to hold it */
enum { WIDTH = 96, TOKEN_BYTES = 256 };

typedef struct printer {
    FILE *out;
    const rf_tokenizer *tokenizer;
    int column; /* 0: no line is open */
} printer;

/* A token's piece with line breaks and tabs spelled out, or its id. */
static void spell(const printer *p, int32_t id, char text[TOKEN_BYTES])
{
    const char *piece = p->tokenizer ? rf_tokenizer_piece(p->tokenizer, id) : NULL;
    if (!piece) {
        snprintf(text, TOKEN_BYTES, "%" PRId32, id);
        return;
    }
    size_t length = 0;
    for (; *piece && length < TOKEN_BYTES - 3; piece++) {
        const char *escape = *piece == '\n' ? "\\n" : *piece == '\t' ? "\\t" : NULL;
        if (escape) {
            text[length++] = escape[0];
            text[length++] = escape[1];
        } else
            text[length++] = *piece;
    }
    text[length] = '\0';
}

/* Columns a UTF-8 text takes, one per character. */
static int columns(const char *text)
{
    int count = 0;
    for (; *text; text++) count += ((unsigned char)*text & 0xC0) != 0x80;
    return count;
}

static void print_token(printer *p, const char *kind, const char *text)
{
    const int wide = columns(text) + 1;
    if (p->column && p->column + wide > WIDTH) {
        fputc('\n', p->out);
        p->column = 0;
    }
    if (!p->column) p->column = fprintf(p->out, "  %-6s " BAR, kind) - (int)sizeof BAR + 2;
    fprintf(p->out, "%s" BAR, text);
    p->column += wide;
}

static void end_line(printer *p)
{
    if (p->column) fputc('\n', p->out);
    p->column = 0;
}

void rf_sample_print(FILE *out, const rf_samples *samples, int64_t index,
                     const rf_tokenizer *tokenizer)
{
    const int64_t from = samples->offset[index], tokens = samples->offset[index + 1] - from;
    const int32_t *ids = samples->ids + from, *labels = samples->labels + from;
    printer p = {.out = out, .tokenizer = tokenizer};
    int64_t learnt = 0;
    for (int64_t t = 1; t < tokens; t++) learnt += labels[t] != RF_NO_LABEL;
    fprintf(out, "sample %" PRId64 ": %" PRId64 " tokens, %" PRId64 " learnt\n", index, tokens,
            learnt);
    int before = 0;
    for (int64_t t = 0; t < tokens; t++) {
        char text[2 * TOKEN_BYTES + 8], label[TOKEN_BYTES];
        const int now = t > 0 && labels[t] != RF_NO_LABEL; /* nothing predicts the first token */
        if (now != before) end_line(&p);
        spell(&p, ids[t], text);
        if (now && labels[t] != ids[t]) {
            spell(&p, labels[t], label);
            snprintf(text + strlen(text), TOKEN_BYTES + 8, " => %s", label);
        }
        print_token(&p, now ? "learnt" : "given", text);
        before = now;
    }
    end_line(&p);
}
