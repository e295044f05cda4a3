/** What texts are split at and replaced: a literal, a regular expression or a class of characters.
 */
#ifndef RF_DATA_TOKENIZER_FINDER_H
#define RF_DATA_TOKENIZER_FINDER_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "tokenizer_text.h"

/** Exactly one of literal, code and members is set. Owns the first two. */
typedef struct rf_finder {
    char *literal;
    size_t literal_length;
    pcre2_code *code;
    rf_char_class *members;
} rf_finder;

/** Where a failure is: the file and the part of it. Borrowed. */
typedef struct rf_place {
    const char *file, *part;
} rf_place;

/** Takes bytes as they stand; they may not be empty. Local; RF_INPUT, RF_RESOURCES. */
rf_status rf_finder_literal(rf_finder *pattern, const char *text, size_t length, rf_place place);
/**
 * Compiles an expression as Oniguruma reads it, in which tokeniser files are written: \s is
 * White_Space, \w takes marks, ^ and $ stand at every line, classes nest. Local;
 * RF_INPUT, RF_RESOURCES.
 */
rf_status rf_finder_regex(rf_finder *pattern, const char *text, size_t length, rf_place place);
void rf_finder_free(rf_finder *pattern);

/** What one thread needs to match. Zero-initialise; rf_matcher_free when done. */
typedef struct rf_matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
} rf_matcher;
void rf_matcher_free(rf_matcher *matcher);

/** A search through one text, left to right. All borrowed. */
typedef struct rf_scan {
    const rf_finder *pattern;
    rf_matcher *matcher;
    const char *text;
    size_t length;
    size_t begin, end; /**< the match last found */
    size_t at;         /**< where the next search begins */
    int found;         /**< 1 after the first match */
} rf_scan;

/** Next match; *more = 0 when there is none. Local; RF_INPUT when an expression runs out of steps.
 */
rf_status rf_scan_next(rf_scan *scan, int *more);

#endif
