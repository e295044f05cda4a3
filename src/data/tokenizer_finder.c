#include "tokenizer_finder.h"

#include <stdlib.h>
#include <string.h>

enum { JIT_STACK_FIRST = 32 * 1024, JIT_STACK_MOST = 64 * 1024 * 1024 };

rf_status rf_finder_literal(rf_finder *pattern, const char *text, size_t length, rf_place place)
{
    if (!length)
        return rf_fail(RF_INPUT, "an empty pattern matches nothing useful (%s, %s)", place.file,
                       place.part);
    pattern->literal_length = length;
    return rf_text_copy(&pattern->literal, text, length);
}

/* What \w stands for, as the inside of a class: L, M, Nd, Nl, Pc and the circled letters. */
#define WORD_CLASS                                                                                 \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}"                    \
    "\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}"
/* By itself, outside of a class, it also takes the raised digits and fractions of Latin-1. */
#define LATIN_NUMBERS "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}"
#define SPACE_CLASS   "\\p{Z}\\t-\\r\\x{85}"
#define HEX_CLASS     "0-9a-fA-F"

/* How an escape of Oniguruma is spelled here: in a class, and what more outside of one. */
typedef struct escape {
    char letter;
    int negated;
    const char *inside, *outside;
} escape;

static const escape escapes[] = {
    {'s', 0, SPACE_CLASS, ""},
    {'S', 1, SPACE_CLASS, ""},
    {'w', 0, WORD_CLASS, LATIN_NUMBERS},
    {'W', 1, WORD_CLASS, LATIN_NUMBERS},
    {'h', 0, HEX_CLASS, ""},
    {'H', 1, HEX_CLASS, ""},
};

/* The translation of one expression. */
typedef struct translation {
    const char *text;
    size_t length, at;
    int depth; /* of nested classes */
    rf_text out;
    rf_place place;
} translation;

static rf_status put(translation *t, const char *text)
{
    return rf_text_append(&t->out, text, strlen(text));
}

static rf_status refuse(const translation *t, const char *what)
{
    return rf_fail(RF_INPUT, "%s in the expression '%.200s' is not supported (%s, %s)", what,
                   t->text, t->place.file, t->place.part);
}

static rf_status translate_escape(translation *t)
{
    const char letter = t->at + 1 < t->length ? t->text[t->at + 1] : '\0';
    for (size_t i = 0; i < sizeof escapes / sizeof *escapes; i++) {
        if (escapes[i].letter != letter) continue;
        t->at += 2;
        if (t->depth && letter == 'S') return put(t, "\\S"); /* PCRE2's own: off by U+180E only */
        if (t->depth && escapes[i].negated) return refuse(t, "\\W or \\H inside a class");
        if (t->depth) return put(t, escapes[i].inside);
        RF_TRY(put(t, escapes[i].negated ? "[^" : "["));
        RF_TRY(put(t, escapes[i].inside));
        RF_TRY(put(t, escapes[i].outside));
        return put(t, "]");
    }
    const size_t step = t->at + 1 < t->length ? 2 : 1;
    RF_TRY(rf_text_append(&t->out, t->text + t->at, step));
    t->at += step;
    return RF_OK;
}

/* [:alpha:] and its like stand as they are; *taken = 0 if there is none here. */
static rf_status copy_named_class(translation *t, int *taken)
{
    const char *rest = t->text + t->at;
    const size_t left = t->length - t->at;
    const char *end = left > 2 && rest[1] == ':' ? memmem(rest + 2, left - 2, ":]", 2) : NULL;
    *taken = end != NULL;
    if (!end) return RF_OK;
    const size_t length = (size_t)(end - rest) + 2;
    t->at += length;
    return rf_text_append(&t->out, rest, length);
}

/* A class in a class adds its members: only the outermost brackets are kept. */
static rf_status open_class(translation *t)
{
    int taken = 0;
    if (t->depth) RF_TRY(copy_named_class(t, &taken));
    if (taken) return RF_OK;
    const int negated = t->at + 1 < t->length && t->text[t->at + 1] == '^';
    if (t->depth && negated) return refuse(t, "a negated class inside a class");
    if (!t->depth) RF_TRY(put(t, negated ? "[^" : "["));
    t->depth++;
    t->at += negated ? 2u : 1u;
    if (t->at < t->length && t->text[t->at] == ']') { /* a first ] is a member */
        t->at++;
        return put(t, "\\]");
    }
    return RF_OK;
}

static rf_status translate_in_class(translation *t)
{
    const char c = t->text[t->at];
    if (c == '&' && t->at + 1 < t->length && t->text[t->at + 1] == '&')
        return refuse(t, "an intersection of classes");
    t->at++;
    if (c == ']' && --t->depth > 0) return RF_OK;
    return rf_text_append(&t->out, &c, 1);
}

static rf_status translate(translation *t)
{
    while (t->at < t->length) {
        const char c = t->text[t->at];
        if (c == '\\')
            RF_TRY(translate_escape(t));
        else if (c == '[')
            RF_TRY(open_class(t));
        else if (t->depth)
            RF_TRY(translate_in_class(t));
        else {
            RF_TRY(rf_text_append(&t->out, &c, 1));
            t->at++;
        }
    }
    return RF_OK;
}

static rf_status compile(rf_finder *pattern, const translation *t)
{
    int error = 0;
    PCRE2_SIZE where = 0;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context) return rf_fail(RF_RESOURCES, "not enough memory to compile an expression");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pattern->code = pcre2_compile((PCRE2_SPTR)t->out.bytes, t->out.length,
                                  PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                                  &error, &where, context);
    pcre2_compile_context_free(context);
    if (!pattern->code) {
        PCRE2_UCHAR why[128] = {0};
        pcre2_get_error_message(error, why, sizeof why);
        return rf_fail(RF_INPUT, "the expression '%.200s' cannot be compiled: %s (%s, %s)", t->text,
                       (const char *)why, t->place.file, t->place.part);
    }
    pcre2_jit_compile(pattern->code,
                      PCRE2_JIT_COMPLETE); /* where it fails, matching is only slower */
    return RF_OK;
}

rf_status rf_finder_regex(rf_finder *pattern, const char *text, size_t length, rf_place place)
{
    translation t = {.text = text, .length = length, .place = place};
    rf_status status = rf_text_reserve(&t.out, length + 1);
    if (status == RF_OK) status = translate(&t);
    if (status == RF_OK) status = compile(pattern, &t);
    rf_text_free(&t.out);
    return status;
}

void rf_finder_free(rf_finder *pattern)
{
    free(pattern->literal);
    pcre2_code_free(pattern->code);
    *pattern = (rf_finder){0};
}

void rf_matcher_free(rf_matcher *matcher)
{
    pcre2_match_data_free(matcher->data);
    pcre2_match_context_free(matcher->context);
    pcre2_jit_stack_free(matcher->stack);
    *matcher = (rf_matcher){0};
}

static rf_status prepare(rf_matcher *matcher, int with_stack)
{
    if (!matcher->data) matcher->data = pcre2_match_data_create(1, NULL);
    if (with_stack) {
        matcher->context = pcre2_match_context_create(NULL);
        matcher->stack = pcre2_jit_stack_create(JIT_STACK_FIRST, JIT_STACK_MOST, NULL);
        if (matcher->context) pcre2_jit_stack_assign(matcher->context, NULL, matcher->stack);
    }
    if (matcher->data && (!with_stack || (matcher->context && matcher->stack))) return RF_OK;
    return rf_fail(RF_RESOURCES, "not enough memory to match an expression");
}

/* First match of the expression at or behind `from`. */
static rf_status match(rf_scan *scan, size_t from, int *more)
{
    rf_matcher *m = scan->matcher;
    if (!m->data) RF_TRY(prepare(m, 0));
    for (;;) {
        const int rc = pcre2_match(scan->pattern->code, (PCRE2_SPTR)scan->text, scan->length, from,
                                   PCRE2_NO_UTF_CHECK, m->data, m->context);
        *more = rc >= 0;
        if (rc >= 0 || rc == PCRE2_ERROR_NOMATCH) break;
        if (rc == PCRE2_ERROR_JIT_STACKLIMIT && !m->stack) {
            RF_TRY(prepare(m, 1));
            continue;
        }
        PCRE2_UCHAR why[128] = {0};
        pcre2_get_error_message(rc, why, sizeof why);
        return rf_fail(RF_INPUT,
                       "splitting a text of %zu bytes failed at byte %zu: %s. Cut it into "
                       "lines",
                       scan->length, from, (const char *)why);
    }
    if (*more) {
        const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(m->data);
        scan->begin = ends[0];
        scan->end = ends[1] > ends[0] ? ends[1] : ends[0];
    }
    return RF_OK;
}

/* An empty match right behind the last match is none: the search goes on one character later. */
static rf_status next_match(rf_scan *scan, int *more)
{
    const size_t last = scan->end;
    size_t from = scan->at;
    *more = 0;
    while (from <= scan->length) {
        RF_TRY(match(scan, from, more));
        if (!*more) return RF_OK;
        if (scan->end != scan->begin || !scan->found || scan->end != last) {
            scan->at = scan->end;
            return RF_OK;
        }
        *more = 0;
        if (from >= scan->length) break;
        rf_utf8_next(scan->text, &from);
    }
    return RF_OK;
}

static int next_literal(rf_scan *scan)
{
    const rf_finder *pattern = scan->pattern;
    const char *hit = memmem(scan->text + scan->at, scan->length - scan->at, pattern->literal,
                             pattern->literal_length);
    if (!hit) return 0;
    scan->begin = (size_t)(hit - scan->text);
    scan->at = scan->end = scan->begin + pattern->literal_length;
    return 1;
}

static int next_member(rf_scan *scan)
{
    while (scan->at < scan->length) {
        const size_t begin = scan->at;
        if (!scan->pattern->members(rf_utf8_next(scan->text, &scan->at))) continue;
        scan->begin = begin;
        scan->end = scan->at;
        return 1;
    }
    return 0;
}

rf_status rf_scan_next(rf_scan *scan, int *more)
{
    *more = 0;
    if (!scan->length) return RF_OK; /* nothing matches in nothing */
    if (scan->pattern->code)
        RF_TRY(next_match(scan, more));
    else
        *more = scan->pattern->literal ? next_literal(scan) : next_member(scan);
    scan->found |= *more;
    return RF_OK;
}
