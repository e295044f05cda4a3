/** Prompts of the command `generate`; private to layer train. */
#ifndef RF_TRAIN_GENERATE_PROMPTS_H
#define RF_TRAIN_GENERATE_PROMPTS_H

#include <jansson.h>

#include "refract/data/formatter.h"
#include "refract/train/generate_command.h"
#include "refract/train/session.h"

/** Zero-initialise; prompt_list_free when done. */
typedef struct prompt_list {
    json_t *rows; /**< array of the rows as they were given; owned */
    rf_ids ids;   /**< of all prompts, one after another */
    int64_t *end; /**< [count] where each prompt's ids end; owned */
    int64_t count, capacity, longest;
} prompt_list;

/**
 * The prompts that the options name, as token ids. Local; RF_USAGE, RF_INPUT (file and line named),
 * RF_RESOURCES.
 */
rf_status prompt_list_read(prompt_list *list, const rf_generate_options *options,
                           const rf_session *session);

/**
 * Adds the prompt of `asked`, as the formatter puts it; takes the reference to `row`, which is kept
 * beside it. Local; RF_INPUT, RF_USAGE (the row is not named), RF_RESOURCES.
 */
rf_status prompt_list_add(prompt_list *list, const rf_formatter *formatter,
                          const rf_session *session, json_t *row, const json_t *asked);

/** Prompt `at`, index `at`; borrows. Local. */
rf_prompt prompt_list_at(const prompt_list *list, int64_t at);

void prompt_list_free(prompt_list *list);

#endif
