/** Where completions go: standard output, or a file that grows; private to layer train. */
#ifndef RF_TRAIN_GENERATE_OUTPUT_H
#define RF_TRAIN_GENERATE_OUTPUT_H

#include <limits.h>
#include <stdio.h>

#include "generate_prompts.h"
#include "refract/store/digest.h"

/** Zero-initialise; output_close when done. Root writes; the other ranks only count. */
typedef struct output {
    const prompt_list *list; /**< borrowed */
    const char *path;        /**< OUT, NULL = standard output */
    char partial[PATH_MAX];
    FILE *file; /**< owned; on root */
    int is_root;
    int is_stream; /**< 1: the text alone, as it comes */
    int is_begun;  /**< 1: OUT.partial has its first line */
    int64_t done;  /**< completions that are there already */
} output;

/**
 * Opens it. OUT.partial begins with a line that tells `digest`, of all that the completions depend
 * on, and holds the first `done` completions. Local on root; the caller spreads `done`. RF_USAGE
 * where OUT is there, RF_CONFLICT where OUT.partial is of something else, RF_WRITE, RF_RESOURCES.
 */
rf_status output_open(output *out, const char digest[RF_DIGEST_BYTES]);

/** For rf_listener: text of a stream; a completion of the prompt `done` + at. */
void output_text(void *context, int64_t at, const char *bytes, size_t length);
rf_status output_done(void *context, int64_t at, const rf_completion *completion);

/** All are there: OUT.partial without its first line becomes OUT. Local; RF_WRITE. */
rf_status output_finish(output *out);

void output_close(output *out);

#endif
