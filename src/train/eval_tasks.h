/* Tasks that are scored by what a model writes: how they ask, where they stop, who is right. */
#ifndef RF_TRAIN_EVAL_TASKS_H
#define RF_TRAIN_EVAL_TASKS_H

#include <jansson.h>

#include "refract/data/text.h"

enum { EVAL_STOPS = 5 };

/* What one completion says; stretches are borrowed from row and completion. */
typedef struct eval_verdict {
    rf_bytes answer, predicted;
    int is_correct;
    int is_correct_loosely; /* by a second rule, where the task has one */
} eval_verdict;

typedef struct eval_task {
    const char *name;
    const char *keys;             /* that its rows must have, separated by spaces */
    const char *stop[EVAL_STOPS]; /* texts that end a completion */
    const char *loose;            /* name of its second rule, or NULL */
    /* The row that the formatter is to ask, owned by the caller, NULL without memory; NULL: as it
     * is. */
    json_t *(*ask)(json_t *row);
    /* NULL: nothing is judged here, completions are written for others. Local. */
    void (*judge)(eval_verdict *verdict, const json_t *row, rf_bytes completion);
} eval_task;

/* The task of that name, NULL if completions do not score it. */
const eval_task *eval_task_find(const char *name);

/* RF_INPUT where a row lacks a key of the task. Local. */
rf_status eval_task_check(const eval_task *task, const json_t *row);

/* One line of its JSONL, owned by the caller; NULL without memory. Local. */
json_t *eval_task_line(const eval_task *task, const json_t *row, int64_t index, const char *text,
                       const eval_verdict *verdict);

#endif
