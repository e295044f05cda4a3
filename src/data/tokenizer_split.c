#include <stdlib.h>
#include <string.h>

#include "tokenizer_parts.h"

/* Every pre-tokeniser is made of these four. */
enum { SPLIT, PREFIX, SPACES, ALPHABET };
enum { REMOVED, ISOLATED, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT, CONTIGUOUS };
enum { FIRST, NEVER, ALWAYS };

static const char *const behaviors[] = {"Removed",        "Isolated",   "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous", NULL};
static const char *const schemes[] = {"first", "never", "always", NULL};

static const char gpt2_words[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
/* letters as rf_char_is_word has them (only decimal numbers, and joiners), or what is no blank */
static const char words_and_signs[] =
    "[\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200C}\\x{200D}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}"
    "\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}]+|[^\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200C}"
    "\\x{200D}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{1F169}\\x{1F170}-\\x{1F189}"
    "\\s]+";

static rf_status add_step(rf_splitter *splitter, rf_splitter_step step, rf_splitter_step **added)
{
    rf_splitter_step *steps =
        realloc(splitter->steps, (splitter->count + 1) * sizeof *splitter->steps);
    if (!steps) return rf_fail(RF_RESOURCES, "not enough memory for a pre-tokenizer");
    splitter->steps = steps;
    steps[splitter->count] = step;
    *added = &steps[splitter->count++];
    return RF_OK;
}

static rf_status add_class(rf_splitter *splitter, rf_char_class *members, int behavior)
{
    rf_splitter_step *step = NULL;
    return add_step(
        splitter,
        (rf_splitter_step){.kind = SPLIT, .pattern.members = members, .behavior = behavior}, &step);
}

static rf_status add_words(rf_splitter *splitter, const char *regex, int behavior, int invert,
                           rf_place place)
{
    rf_splitter_step *step = NULL;
    RF_TRY(add_step(splitter,
                    (rf_splitter_step){.kind = SPLIT, .behavior = behavior, .invert = invert},
                    &step));
    return rf_finder_regex(&step->pattern, regex, strlen(regex), place);
}

static rf_status add_literal(rf_splitter *splitter, const char *text, int behavior, rf_place place)
{
    rf_splitter_step *step = NULL;
    RF_TRY(add_step(splitter, (rf_splitter_step){.kind = SPLIT, .behavior = behavior}, &step));
    return rf_finder_literal(&step->pattern, text, strlen(text), place);
}

static rf_status read_split(rf_splitter *splitter, const json_t *object, rf_place place)
{
    rf_splitter_step *step = NULL;
    RF_TRY(add_step(splitter, (rf_splitter_step){.kind = SPLIT, .behavior = -1}, &step));
    RF_TRY(rf_part_finder(object, place, &step->pattern));
    RF_TRY(rf_part_choice(object, "behavior", place, behaviors, &step->behavior));
    if (step->behavior < 0)
        return rf_fail(RF_INPUT, "a Split needs a 'behavior' (%s, %s)", place.file, place.part);
    return rf_part_bool(object, "invert", place, &step->invert);
}

static rf_status read_byte_level(rf_splitter *splitter, const json_t *object, rf_place place)
{
    rf_splitter_step *step = NULL;
    int prefix = 1, regex = 1;
    RF_TRY(rf_part_bool(object, "add_prefix_space", place, &prefix));
    RF_TRY(rf_part_bool(object, "use_regex", place, &regex));
    if (prefix)
        RF_TRY(add_step(splitter, (rf_splitter_step){.kind = PREFIX, .content = " "}, &step));
    if (regex) RF_TRY(add_words(splitter, gpt2_words, ISOLATED, 0, place));
    return add_step(splitter, (rf_splitter_step){.kind = ALPHABET}, &step);
}

/* One character under `key`, as a string. */
static rf_status read_character(const json_t *object, const char *key, rf_place place,
                                char *content)
{
    rf_bytes found = {0};
    size_t at = 0;
    RF_TRY(rf_part_wanted(object, key, place, &found));
    if (found.length) rf_utf8_next(found.at, &at);
    if (!found.length || at != found.length)
        return rf_fail(RF_INPUT, "'%s' must be one character (%s, %s)", key, place.file,
                       place.part);
    memcpy(content, found.at, at);
    content[at] = '\0';
    return RF_OK;
}

static rf_status read_metaspace(rf_splitter *splitter, const json_t *object, rf_place place)
{
    rf_splitter_step spaces = {.kind = SPACES}, prefix = {.kind = PREFIX}, *step = NULL;
    int old_prefix = 1, scheme = -1, split = 1;
    RF_TRY(read_character(object, "replacement", place, spaces.content));
    RF_TRY(rf_part_bool(object, "add_prefix_space", place, &old_prefix));
    RF_TRY(rf_part_choice(object, "prepend_scheme", place, schemes, &scheme));
    RF_TRY(rf_part_bool(object, "split", place, &split));
    if (!old_prefix && scheme >= 0 && scheme != NEVER)
        return rf_fail(RF_INPUT,
                       "'add_prefix_space' false contradicts the 'prepend_scheme' (%s, %s)",
                       place.file, place.part);
    if (scheme < 0) scheme = old_prefix ? ALWAYS : NEVER;
    memcpy(prefix.content, spaces.content, sizeof prefix.content);
    prefix.first_only = scheme == FIRST;
    RF_TRY(add_step(splitter, spaces, &step));
    if (scheme != NEVER) RF_TRY(add_step(splitter, prefix, &step));
    return split ? add_literal(splitter, spaces.content, MERGED_WITH_NEXT, place) : RF_OK;
}

static rf_status read_digits(rf_splitter *splitter, const json_t *object, rf_place place)
{
    int individual = 0;
    RF_TRY(rf_part_bool(object, "individual_digits", place, &individual));
    return add_class(splitter, rf_char_is_number, individual ? ISOLATED : CONTIGUOUS);
}

static rf_status read_punctuation(rf_splitter *splitter, const json_t *object, rf_place place)
{
    int behavior = ISOLATED;
    RF_TRY(rf_part_choice(object, "behavior", place, behaviors, &behavior));
    return add_class(splitter, rf_char_is_punctuation, behavior);
}

static rf_status read_whitespace(rf_splitter *splitter, const json_t *object, rf_place place)
{
    (void)object;
    return add_words(splitter, words_and_signs, REMOVED, 1, place);
}

static rf_status read_whitespace_split(rf_splitter *splitter, const json_t *object, rf_place place)
{
    (void)object;
    (void)place;
    return add_class(splitter, rf_char_is_space, REMOVED);
}

static rf_status read_bert(rf_splitter *splitter, const json_t *object, rf_place place)
{
    RF_TRY(read_whitespace_split(splitter, object, place));
    return add_class(splitter, rf_char_is_punctuation, ISOLATED);
}

static rf_status read_delimiter(rf_splitter *splitter, const json_t *object, rf_place place)
{
    char delimiter[8];
    RF_TRY(read_character(object, "delimiter", place, delimiter));
    return add_literal(splitter, delimiter, REMOVED, place);
}

static const struct {
    const char *kind;
    rf_status (*read)(rf_splitter *splitter, const json_t *object, rf_place place);
} readers[] = {
    {"Split", read_split},
    {"ByteLevel", read_byte_level},
    {"Metaspace", read_metaspace},
    {"Digits", read_digits},
    {"Punctuation", read_punctuation},
    {"Whitespace", read_whitespace},
    {"WhitespaceSplit", read_whitespace_split},
    {"BertPreTokenizer", read_bert},
    {"CharDelimiterSplit", read_delimiter},
};

static rf_status read_step(void *context, const json_t *object, const char *kind, rf_place place)
{
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (strcmp(readers[i].kind, kind) == 0) return readers[i].read(context, object, place);
    return rf_fail(
        RF_INPUT,
        "a pre-tokenizer of kind '%.100s' is not supported (%s). Known are Split, ByteLevel, "
        "Metaspace, Digits, Punctuation, Whitespace, WhitespaceSplit, BertPreTokenizer, "
        "CharDelimiterSplit, Sequence",
        kind, place.file);
}

rf_status rf_splitter_read(rf_splitter *splitter, const json_t *part, rf_place place)
{
    return rf_part_steps(part, "pretokenizers", place, read_step, splitter);
}

void rf_splitter_free(rf_splitter *splitter)
{
    for (size_t i = 0; i < splitter->count; i++) rf_finder_free(&splitter->steps[i].pattern);
    free(splitter->steps);
    *splitter = (rf_splitter){0};
}

void rf_words_free(rf_words *pieces)
{
    rf_text_free(&pieces->text);
    rf_text_free(&pieces->spare_text);
    rf_stretches_free(&pieces->spans);
    rf_stretches_free(&pieces->spare_spans);
}

/* The cutting of one span: matches and the gaps between them arrive in order. */
typedef struct cutting {
    const rf_splitter_step *step;
    rf_stretch whole; /* the span being cut */
    rf_stretches *out;
    rf_stretch last;          /* not yet handed out */
    int holds, last_is_match; /* whether there is a last; what the one before was */
} cutting;

static rf_status hand_out(cutting *cut)
{
    if (!cut->holds || cut->last.begin == cut->last.end) return RF_OK;
    return rf_stretches_append(cut->out, cut->last);
}

static int joins_last(const cutting *cut, int is_match)
{
    switch (cut->step->behavior) {
    case CONTIGUOUS:
        return is_match == cut->last_is_match;
    case MERGED_WITH_PREVIOUS:
        return is_match && !cut->last_is_match;
    case MERGED_WITH_NEXT:
        return !is_match && cut->last_is_match;
    default:
        return 0;
    }
}

static rf_status take(cutting *cut, size_t begin, size_t end, int is_match)
{
    is_match ^= cut->step->invert;
    if (cut->step->behavior == REMOVED && is_match) return RF_OK;
    if (cut->holds && joins_last(cut, is_match)) {
        cut->last.end = cut->whole.begin + end;
    } else {
        RF_TRY(hand_out(cut));
        cut->last = (rf_stretch){cut->whole.begin + begin, cut->whole.begin + end, -1,
                                 cut->whole.at_start && begin == 0};
        cut->holds = 1;
    }
    cut->last_is_match = is_match;
    return RF_OK;
}

static rf_status cut_span(const rf_splitter_step *step, rf_matcher *matcher, const char *text,
                          rf_stretch span, rf_stretches *out)
{
    const size_t length = span.end - span.begin;
    cutting cut = {.step = step, .whole = span, .out = out};
    rf_scan scan = {
        .pattern = &step->pattern, .matcher = matcher, .text = text + span.begin, .length = length};
    size_t done = 0;
    for (int more = 1;;) {
        RF_TRY(rf_scan_next(&scan, &more));
        if (!more) break;
        if (scan.begin > done) RF_TRY(take(&cut, done, scan.begin, 0));
        RF_TRY(take(&cut, scan.begin, scan.end, 1));
        done = scan.end;
    }
    if (done < length) RF_TRY(take(&cut, done, length, 0));
    return hand_out(&cut);
}

static rf_status append_spaced(const rf_splitter_step *step, const char *text, size_t length,
                               rf_text *out)
{
    const size_t width = strlen(step->content);
    while (length) {
        const char *space = memchr(text, ' ', length);
        const size_t step_over = space ? (size_t)(space - text) : length;
        RF_TRY(rf_text_append(out, text, step_over));
        if (!space) break;
        RF_TRY(rf_text_append(out, step->content, width));
        text += step_over + 1;
        length -= step_over + 1;
    }
    return RF_OK;
}

static rf_status append_prefixed(const rf_splitter_step *step, const char *text, rf_stretch span,
                                 rf_text *out)
{
    const size_t width = strlen(step->content), length = span.end - span.begin;
    const int has_it = length >= width && memcmp(text, step->content, width) == 0;
    const int wants_it = length && (span.at_start || !step->first_only);
    if (wants_it && !has_it) RF_TRY(rf_text_append(out, step->content, width));
    return rf_text_append(out, text, length);
}

static rf_status rewrite_span(const rf_splitter_step *step, const char *text, rf_stretch span,
                              rf_text *out)
{
    if (step->kind == PREFIX) return append_prefixed(step, text, span, out);
    if (step->kind == SPACES) return append_spaced(step, text, span.end - span.begin, out);
    return rf_alphabet_encode(out, text, span.end - span.begin);
}

static rf_status apply_step(const rf_splitter_step *step, rf_matcher *matcher, rf_words *pieces)
{
    rf_stretches *out = &pieces->spare_spans;
    rf_text *text = &pieces->spare_text;
    out->count = text->length = 0;
    for (size_t i = 0; i < pieces->spans.count; i++) {
        rf_stretch span = pieces->spans.items[i];
        if (span.token >= 0) {
            RF_TRY(rf_stretches_append(out, span));
        } else if (step->kind == SPLIT) {
            RF_TRY(cut_span(step, matcher, pieces->text.bytes, span, out));
        } else {
            const size_t begin = text->length;
            RF_TRY(rewrite_span(step, pieces->text.bytes + span.begin, span, text));
            span.begin = begin;
            span.end = text->length;
            RF_TRY(rf_stretches_append(out, span));
        }
    }
    if (step->kind != SPLIT) rf_text_swap(&pieces->text, text);
    const rf_stretches spans = pieces->spans;
    pieces->spans = *out;
    *out = spans;
    return RF_OK;
}

rf_status rf_splitter_apply(const rf_splitter *splitter, rf_matcher *matcher, rf_words *pieces)
{
    for (size_t i = 0; i < splitter->count; i++)
        RF_TRY(apply_step(&splitter->steps[i], matcher, pieces));
    return RF_OK;
}
