/**
 * Rows to tokens: what format and template make of a JSON row, and the same for the prompt that
 * generation starts from, so that training and generation see the same tokens.
 *
 * Every piece of a row (prompt, answer) is tokenised on its own and the ids are joined, so the
 * border between what is given and what is learnt is exact, and a prompt has the same ids whether
 * an answer follows or the model is to write one. Tokenisers that put a blank before a text
 * (SentencePiece's "▁") do so for the first piece only. BOS stands where the tokeniser's
 * post-processor puts it, EOS behind the answer (a label like any other); a chat carries its own.
 */
#ifndef RF_DATA_FORMATTER_H
#define RF_DATA_FORMATTER_H

#include <jansson.h>
#include <stdint.h>

#include "refract/base/status.h"
#include "refract/data/text.h"
#include "refract/data/tokenizer.h"

/** X(constant, name, keys of its rows) */
#define RF_FORMAT_LIST(X)                                                                          \
    X(AUTO, "auto", "told by the row's keys")                                                      \
    X(TEXT, "text", "text")                                                                        \
    X(COMPLETION, "completion", "prompt, completion")                                              \
    X(ALPACA, "alpaca", "instruction, input, output; or query, response (MetaMathQA)")             \
    X(CHAT, "chat", "messages [{role, content}]; or conversations [{from, value}]")                \
    X(GSM8K, "gsm8k", "question, answer")                                                          \
    X(CLASSIFICATION, "classification", "text, text_pair (optional), label (a number)")            \
    X(TOKENS, "tokens", "input_ids, labels (optional)")

typedef enum rf_format {
#define RF_FORMAT_ENUM(constant, name, keys) RF_FORMAT_##constant,
    RF_FORMAT_LIST(RF_FORMAT_ENUM)
#undef RF_FORMAT_ENUM
} rf_format;

/** Name of a format, and the format of a name (-1 if there is none). Local. */
const char *rf_format_name(rf_format format);
int rf_format_find(const char *name);
/** The format a row's keys tell; RF_INPUT when they fit none. Local. */
rf_status rf_format_detect(rf_format *format, const json_t *row);

typedef struct rf_formatter rf_formatter;

/**
 * `format` and `template` as in data.format and data.template (template also: a family of chat.h by
 * name); tokenizer is borrowed and may be NULL when every row is tokens already. The caller owns
 * *formatter. Read-only once made; may be used by several threads. Local; RF_USAGE for unknown
 * names and pairs that do not fit, RF_INPUT for a template file, RF_RESOURCES.
 */
rf_status rf_formatter_create(rf_formatter **formatter, const char *format, const char *template,
                              const rf_tokenizer *tokenizer);
void rf_formatter_destroy(rf_formatter **formatter);

/**
 * Appends a row's ids and the labels beside them (RF_NO_LABEL: not learnt), uncut. With
 * train_on_inputs every token is a label; text always is; labels that come with tokens always stay.
 * A class number is the label of the last token. *is_text tells whether the row is plain text, to
 * be cut into windows. Local; RF_INPUT says what is wrong with the row, not where it is
 * (rf_rows_fail adds that), RF_USAGE where row and template do not fit, RF_RESOURCES.
 */
rf_status rf_formatter_encode(const rf_formatter *formatter, const json_t *row, int train_on_inputs,
                              rf_ids *ids, rf_ids *labels, int *is_text);

/**
 * Appends the ids generation starts from: all before the last answer of the row, which may lack it.
 * Local; as above.
 */
rf_status rf_formatter_prompt(const rf_formatter *formatter, const json_t *row, rf_ids *ids);

/**
 * Appends the ids of running text. `first`: 1 at the start of a stream (BOS and a leading blank
 * where the tokeniser wants them), 0 where it goes on. Local; RF_INPUT for bad UTF-8, RF_RESOURCES.
 */
rf_status rf_formatter_stream(const rf_formatter *formatter, rf_bytes text, int first, rf_ids *ids);

#endif
