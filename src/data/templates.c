#include "refract/data/templates.h"

#include <stdlib.h>
#include <string.h>

#include "refract/base/file.h"

enum { MOST_BYTES = 1 << 20 }; /* of a template file */

/* clang-format off */
#define TASK_INPUT                                                                                  \
    "Below is an instruction that describes a task, paired with an input that provides further "    \
    "context. Write a response that appropriately completes the request."
#define TASK                                                                                        \
    "Below is an instruction that describes a task. Write a response that appropriately completes " \
    "the request."
#define I16 "                "

#define STANFORD_ALPACA                                                                             \
    .with_input = TASK_INPUT "\n\n### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n"       \
                  "### Response:",                                                                  \
    .without_input = TASK "\n\n### Instruction:\n{instruction}\n\n### Response:",                   \
    .answer = "{output}"
/* clang-format on */

static const rf_template builtin[] = {
    {.name = "none",
     .with_input = "{instruction}",
     .without_input = "{instruction}",
     .answer = "{output}"},
    /* Stanford Alpaca; MetaMath trains with the same text. */
    {.name = "alpaca", STANFORD_ALPACA},
    {.name = "metamath", STANFORD_ALPACA},
    /* LLM-Adapters, finetune.py. */
    {.name = "llm-adapters",
     .with_input = TASK_INPUT " \n\n" I16 "### Instruction:\n" I16 "{instruction}\n" I16 "\n" I16
                              "### Input:\n" I16 "{input}\n" I16 "\n" I16 "### Response:\n" I16,
     .without_input = TASK "  \n\n" I16 "### Instruction:\n" I16 "{instruction}\n" I16 "\n" I16
                           "### Response:\n" I16,
     .answer = "{output}"},
    /* LLM-Adapters, evaluate.py: not what it trains with, but what its published numbers used. */
    {.name = "llm-adapters-eval",
     .with_input = TASK_INPUT "\n\n" I16 "### Instruction:\n" I16 "{instruction}\n\n" I16
                              "### Input:\n" I16 "{input}\n\n" I16 "### Response:\n" I16,
     .without_input =
         TASK " \n\n" I16 "### Instruction:\n" I16 "{instruction}\n\n" I16 "### Response:\n" I16,
     .answer = "{output}"},
    /* lm-evaluation-harness, task gsm8k. */
    {.name = "gsm8k",
     .with_input = "Question: {instruction}\nAnswer:",
     .without_input = "Question: {instruction}\nAnswer:",
     .answer = " {output}"},
};

int rf_template_count(void)
{
    return (int)(sizeof builtin / sizeof builtin[0]);
}

const rf_template *rf_template_builtin(int index)
{
    return &builtin[index];
}

const rf_template *rf_template_find(const char *name)
{
    for (int i = 0; i < rf_template_count(); i++)
        if (strcmp(builtin[i].name, name) == 0) return &builtin[i];
    return NULL;
}

static rf_status bad_file(const char *name, const char *what)
{
    return rf_fail(
        RF_INPUT,
        "%s (template '%s'). A template holds {instruction} and {output}, {input} if there "
        "is one, and a line --- between the texts with and without input",
        what, name);
}

/* One text of a template file, cut at {output}; borrowed bytes. */
typedef struct variant {
    rf_bytes prompt, answer;
} variant;

static const char *find(rf_bytes text, const char *word)
{
    return text.length ? memmem(text.at, text.length, word, strlen(word)) : NULL;
}

static rf_status cut_variant(variant *cut, rf_bytes text, const char *name)
{
    const char *placeholder = find(text, "{output}");
    if (!placeholder) return bad_file(name, "there is no {output}");
    const char *output = placeholder;
    if (output > text.at && output[-1] == ' ') output--;
    cut->prompt = (rf_bytes){text.at, (size_t)(output - text.at)};
    cut->answer = (rf_bytes){output, text.length - cut->prompt.length};
    const rf_bytes behind = {placeholder + 1, text.length - (size_t)(placeholder + 1 - text.at)};
    if (find(behind, "{output}")) return bad_file(name, "there is more than one {output}");
    if (find(cut->answer, "{instruction}") || find(cut->answer, "{input}"))
        return bad_file(name, "{instruction} or {input} stands behind {output}");
    if (!find(cut->prompt, "{instruction}")) return bad_file(name, "there is no {instruction}");
    return RF_OK;
}

/* Parts the text at its line `---`; both parts are the whole text where there is none. */
static void part_text(rf_bytes text, rf_bytes *upper, rf_bytes *lower)
{
    const char *line = find(text, "\n---\n");
    *upper = *lower = text;
    if (!line) return;
    *upper = (rf_bytes){text.at, (size_t)(line - text.at)};
    *lower = (rf_bytes){line + 5, text.length - upper->length - 5};
}

/* Copies `bytes` with a final NUL; returns where the next string may stand. */
static char *place(char *at, rf_bytes bytes, const char **string)
{
    memcpy(at, bytes.at, bytes.length);
    at[bytes.length] = '\0';
    *string = at;
    return at + bytes.length + 1;
}

rf_status rf_template_parse(rf_template *template, const char *text, size_t length,
                            const char *name)
{
    *template = (rf_template){.name = "file"};
    if (memchr(text, '\0', length)) return bad_file(name, "there is a NUL byte");
    if (length && text[length - 1] == '\n') length--;
    rf_bytes upper, lower;
    variant with, without;
    part_text((rf_bytes){text, length}, &upper, &lower);
    RF_TRY(cut_variant(&with, upper, name));
    RF_TRY(cut_variant(&without, lower, name));
    if (with.answer.length != without.answer.length ||
        memcmp(with.answer.at, without.answer.at, with.answer.length) != 0)
        return bad_file(name, "the two texts differ from {output} on");
    char *at = malloc(2 * length + 3);
    if (!at) return rf_fail(RF_RESOURCES, "no memory for the template '%s'", name);
    template->owned = at;
    at = place(at, with.prompt, &template->with_input);
    at = place(at, without.prompt, &template->without_input);
    place(at, with.answer, &template->answer);
    return RF_OK;
}

rf_status rf_template_read(rf_template *template, const char *path)
{
    *template = (rf_template){0};
    char *text = NULL;
    size_t length = 0;
    RF_TRY(rf_file_read(&text, &length, path, MOST_BYTES));
    const rf_status status = rf_template_parse(template, text, length, path);
    free(text);
    return status;
}

void rf_template_release(rf_template *template)
{
    free(template->owned);
    *template = (rf_template){0};
}

/* The instruction, and under it the input where the template has no place for one. */
static rf_status add_instruction(rf_text *text, const rf_record *record, int has_place)
{
    RF_TRY(rf_text_append(text, record->instruction.at, record->instruction.length));
    if (has_place || record->input.length == 0) return RF_OK;
    RF_TRY(rf_text_append(text, "\n", 1));
    return rf_text_append(text, record->input.at, record->input.length);
}

/* Appends `pattern` with its placeholders filled; what is filled in is not searched again. */
static rf_status fill(rf_text *text, const char *pattern, const rf_record *record, int has_place)
{
    while (*pattern) {
        if (strncmp(pattern, "{instruction}", 13) == 0) {
            RF_TRY(add_instruction(text, record, has_place));
            pattern += 13;
        } else if (strncmp(pattern, "{input}", 7) == 0) {
            RF_TRY(rf_text_append(text, record->input.at, record->input.length));
            pattern += 7;
        } else if (strncmp(pattern, "{output}", 8) == 0) {
            RF_TRY(rf_text_append(text, record->output.at, record->output.length));
            pattern += 8;
        } else {
            const size_t plain = 1 + strcspn(pattern + 1, "{");
            RF_TRY(rf_text_append(text, pattern, plain));
            pattern += plain;
        }
    }
    return rf_text_append(text, "", 0);
}

rf_status rf_template_render(const rf_template *template, const rf_record *record, rf_text *prompt,
                             rf_text *answer)
{
    const int with = record->input.length > 0;
    const char *pattern = with ? template->with_input : template->without_input;
    RF_TRY(fill(prompt, pattern, record, strstr(pattern, "{input}") != NULL));
    return fill(answer, template->answer, record, 1);
}
