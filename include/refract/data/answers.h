/**
 * Answers as published evaluations take them out of a completion, and how sure a share of right
 * ones is. Digits and letters are ASCII; stretches are borrowed from the text, `at` NULL where
 * there is none. All local.
 */
#ifndef RF_DATA_ANSWERS_H
#define RF_DATA_ANSWERS_H

#include <stdint.h>

#include "refract/data/text.h"

/** GSM8K strict: the number behind the first `#### ` that has one, `-?[0-9.,]+`. */
rf_bytes rf_answer_marked(rf_bytes text);

/** GSM8K flexible: the last of `-?[$0-9.,]{2,}` or `-?[0-9]+`. */
rf_bytes rf_answer_last(rf_bytes text);

/** 1 when both are the same once commas, `$` and one full stop at the end are left out. */
int rf_answer_same(rf_bytes answer, rf_bytes predicted);

/**
 * LLM-Adapters, arithmetic: the last `-?\d+\.?\d*` of the text without its commas (3/4 gives 4).
 * Returns 0 where there is none; *value is then left alone.
 */
int rf_answer_number(rf_bytes text, double *value);

/** LLM-Adapters: numbers are the same within 1e-3. */
int rf_answer_near(double answer, double predicted);

/** LLM-Adapters, AQuA: the first capital A to E, even within a word; 0 where there is none. */
char rf_answer_letter(rf_bytes text);

/**
 * LLM-Adapters, commonsense: the first of true, false, solution1-2, answer1-5, ending1-4 and
 * option1-2 that is of the kind of `answer` (a data set knows one kind only).
 */
rf_bytes rf_answer_choice(rf_bytes text, rf_bytes answer);

/** Bounds of a share. */
typedef struct rf_interval {
    double low, high;
} rf_interval;

/** Wilson's interval of 95 % for correct of total; [0, 1] for a total of 0. E. B. Wilson 1927. */
rf_interval rf_wilson(int64_t correct, int64_t total);

#endif
