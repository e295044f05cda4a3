/**
 * Prompt templates: how an instruction, its input and its output become text. Built-in ones are
 * byte-exact as their sources wrote them; a file gives any other.
 */
#ifndef RF_DATA_TEMPLATES_H
#define RF_DATA_TEMPLATES_H

#include <stddef.h>

#include "refract/base/status.h"
#include "refract/data/text.h"

/**
 * Texts with the placeholders {instruction} {input} {output}; any other brace stands for itself.
 * Where a text has no {input}, an input that is not empty follows the instruction on a line of its
 * own, so that nothing is lost.
 */
typedef struct rf_template {
    const char *name;
    const char *with_input;    /**< prompt of a row whose input is not empty */
    const char *without_input; /**< prompt of the others */
    const char *answer;        /**< what is learnt: {output} and the text around it */
    char *owned;               /**< text of a template file; NULL for built-in ones */
} rf_template;

/** Number of built-in templates, and each of them. Borrowed. Local. */
int rf_template_count(void);
const rf_template *rf_template_builtin(int index);

/** The built-in template of that name, NULL if there is none. Borrowed. Local. */
const rf_template *rf_template_find(const char *name);

/**
 * Reads a template file. All up to {output} is the prompt, {output} and what follows is the answer;
 * one space before {output} belongs to the answer (a prompt that ends in a space is tokenised
 * unlike the text it begins). A line `---` parts two variants: above it rows with an input, below
 * it rows without; both end the same way. The file's last line break does not count. The caller
 * owns what *template holds. Local; RF_INPUT names the file and what is wrong, RF_RESOURCES.
 */
rf_status rf_template_read(rf_template *template, const char *path);
/** The same from text in memory, `name` for messages. */
rf_status rf_template_parse(rf_template *template, const char *text, size_t length,
                            const char *name);
/** Frees what a template file's text took; safe on built-in and zeroed ones. Local. */
void rf_template_release(rf_template *template);

/** One row in the terms of templates. */
typedef struct rf_record {
    rf_bytes instruction, input, output;
} rf_record;

/** Appends a record's prompt and answer to two texts. Local; RF_RESOURCES. */
rf_status rf_template_render(const rf_template *template, const rf_record *record, rf_text *prompt,
                             rf_text *answer);

#endif
