/** The command `generate`: prompts to text. */
#ifndef RF_TRAIN_GENERATE_COMMAND_H
#define RF_TRAIN_GENERATE_COMMAND_H

#include "refract/train/generate.h"

/** All borrowed. */
typedef struct rf_generate_options {
    const char *prompt;  /**< one prompt; or NULL */
    const char *prompts; /**< rows {"prompt"}, {"messages"} or {"input_ids"}; or NULL */
    int is_chat;         /**< 1: prompts are what a user says, put into the model's chat template */
    const char *out;     /**< JSONL file to write; NULL = standard output */
    int64_t batch;       /**< see rf_generator_limits */
    rf_sampling sampling; /**< max_new_tokens 0: eval.max_new_tokens */
} rf_generate_options;

/**
 * Completes the prompts with the adapter that eval.adapter names. A single `prompt` streams its
 * text to standard output; else each completion is one line of JSON, in the order of the prompts.
 * `out` grows as OUT.partial, which the same command goes on with, and gets its name when all is
 * done. Collective over world; every status of the program.
 */
rf_status rf_generate_command(rf_config *config, const rf_environment *environment,
                              const rf_generate_options *options);

#endif
