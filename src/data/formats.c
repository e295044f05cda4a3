#include "formats.h"

#include <stdlib.h>
#include <string.h>

#include "refract/data/samples.h"

static const char *const format_names[] = {
#define RF_FORMAT_NAME(constant, name, keys) name,
    RF_FORMAT_LIST(RF_FORMAT_NAME)
#undef RF_FORMAT_NAME
};
enum { FORMATS = sizeof format_names / sizeof format_names[0] };

/* Texts of classification rows as the GLUE tasks name them. */
static const struct {
    const char *first, *second;
} class_keys[] = {
    {"text", "text_pair"},     {"sentence", NULL},         {"sentence1", "sentence2"},
    {"premise", "hypothesis"}, {"question1", "question2"}, {"question", "sentence"},
};
enum { CLASS_KEYS = sizeof class_keys / sizeof class_keys[0] };

const char *rf_format_name(rf_format format)
{
    return format_names[format];
}

int rf_format_find(const char *name)
{
    for (int i = 0; i < FORMATS; i++)
        if (strcmp(format_names[i], name) == 0) return i;
    return -1;
}

static int has(const json_t *row, const char *key)
{
    return json_object_get(row, key) != NULL;
}

static int class_keys_of(const json_t *row)
{
    for (int i = 0; i < CLASS_KEYS; i++)
        if (has(row, class_keys[i].first) &&
            (i == 0 || !class_keys[i].second || has(row, class_keys[i].second)))
            return i;
    return -1;
}

rf_status rf_format_detect(rf_format *format, const json_t *row)
{
    if (has(row, "input_ids"))
        *format = RF_FORMAT_TOKENS;
    else if (has(row, "messages") || has(row, "conversations"))
        *format = RF_FORMAT_CHAT;
    else if (has(row, "prompt"))
        *format = RF_FORMAT_COMPLETION;
    else if (has(row, "instruction") || has(row, "query"))
        *format = RF_FORMAT_ALPACA;
    else if (has(row, "label") && class_keys_of(row) >= 0)
        *format = RF_FORMAT_CLASSIFICATION;
    else if (has(row, "question"))
        *format = RF_FORMAT_GSM8K;
    else if (has(row, "text"))
        *format = RF_FORMAT_TEXT;
    else
        return rf_fail(RF_INPUT, "the row's keys fit no format");
    return RF_OK;
}

/* The string under `key`; absent or null counts as empty unless required. */
static rf_status text_of(rf_bytes *text, const json_t *row, const char *key, int required)
{
    const json_t *value = json_object_get(row, key);
    *text = (rf_bytes){"", 0};
    if (json_is_string(value)) {
        *text = (rf_bytes){json_string_value(value), json_string_length(value)};
        return RF_OK;
    }
    if (!required && (!value || json_is_null(value))) return RF_OK;
    return rf_fail(RF_INPUT, "the row has no text under '%s'", key);
}

/* MetaMathQA: what stands behind the first line of a query is its input. */
static void split_query(rf_record *record)
{
    const rf_bytes query = record->instruction;
    const char *end = memchr(query.at, '\n', query.length);
    if (!end) return;
    record->instruction.length = (size_t)(end - query.at);
    record->input = (rf_bytes){end + 1, query.length - record->instruction.length - 1};
}

rf_status rf_row_record(rf_record *record, rf_format format, const json_t *row, int complete)
{
    *record = (rf_record){.input = {"", 0}};
    const int query = format == RF_FORMAT_ALPACA && !has(row, "instruction") && has(row, "query");
    switch (format) {
    case RF_FORMAT_COMPLETION:
        RF_TRY(text_of(&record->instruction, row, "prompt", 1));
        return text_of(&record->output, row, "completion", complete);
    case RF_FORMAT_GSM8K:
        RF_TRY(text_of(&record->instruction, row, "question", 1));
        return text_of(&record->output, row, "answer", complete);
    case RF_FORMAT_ALPACA:
        RF_TRY(text_of(&record->instruction, row, query ? "query" : "instruction", 1));
        RF_TRY(text_of(&record->input, row, "input", 0));
        if (query) split_query(record);
        return text_of(&record->output, row, query ? "response" : "output", complete);
    default:
        return text_of(&record->output, row, "text", 1);
    }
}

static rf_status role_of(rf_role *role, const json_t *message)
{
    static const struct {
        const char *word;
        rf_role role;
    } roles[] = {{"system", RF_SYSTEM},
                 {"user", RF_USER},
                 {"human", RF_USER},
                 {"assistant", RF_ASSISTANT},
                 {"gpt", RF_ASSISTANT}};
    const char *word = json_string_value(json_object_get(message, "role"));
    if (!word) word = json_string_value(json_object_get(message, "from"));
    if (!word) return rf_fail(RF_INPUT, "a message of the chat has no role");
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        if (strcmp(roles[i].word, word) == 0) {
            *role = roles[i].role;
            return RF_OK;
        }
    return rf_fail(RF_INPUT, "a message has the role '%s', not system, user or assistant", word);
}

static rf_status append_string(rf_text *text, const json_t *value)
{
    if (!json_is_string(value)) return rf_fail(RF_INPUT, "a message of the chat has no text");
    return rf_text_append(text, json_string_value(value), json_string_length(value));
}

/* A string, or a list of parts {"type": "text", "text": ...}. */
static rf_status append_content(rf_text *text, const json_t *message)
{
    const json_t *content = json_object_get(message, "content"), *part = NULL;
    if (!content) content = json_object_get(message, "value");
    if (!json_is_array(content)) return append_string(text, content);
    size_t i = 0;
    json_array_foreach(content, i, part) RF_TRY(append_string(text, json_object_get(part, "text")));
    return RF_OK;
}

rf_status rf_row_conversation(rf_conversation *conversation, const json_t *row)
{
    *conversation = (rf_conversation){0};
    const json_t *list = json_object_get(row, "messages"), *message = NULL;
    if (!list) list = json_object_get(row, "conversations");
    if (!json_is_array(list) || json_array_size(list) == 0)
        return rf_fail(RF_INPUT, "the row has no list of messages");
    conversation->messages = calloc(json_array_size(list), sizeof *conversation->messages);
    if (!conversation->messages) return rf_fail(RF_RESOURCES, "no memory for a chat");
    size_t i = 0;
    json_array_foreach(list, i, message)
    {
        const size_t begin = conversation->text.length;
        RF_TRY(role_of(&conversation->messages[i].role, message));
        RF_TRY(append_content(&conversation->text, message));
        conversation->messages[i].content.length = conversation->text.length - begin;
        conversation->count++;
    }
    const char *at = conversation->text.bytes ? conversation->text.bytes : "";
    for (int64_t m = 0; m < conversation->count; m++) {
        conversation->messages[m].content.at = at;
        at += conversation->messages[m].content.length;
    }
    return RF_OK;
}

void rf_conversation_free(rf_conversation *conversation)
{
    free(conversation->messages);
    free(conversation->text.bytes);
    *conversation = (rf_conversation){0};
}

static rf_status append_numbers(rf_ids *ids, const json_t *list, const char *key, int64_t lowest)
{
    const json_t *value = NULL;
    size_t i = 0;
    json_array_foreach(list, i, value)
    {
        const int64_t number = json_is_integer(value) ? json_integer_value(value) : -1;
        const int32_t id = (int32_t)number;
        if (!json_is_integer(value) || id != number || (id < 0 && number != lowest))
            return rf_fail(RF_INPUT, "entry %zu of '%s' is not a token id", i, key);
        RF_TRY(rf_ids_append(ids, &id, 1));
    }
    return RF_OK;
}

rf_status rf_row_tokens(rf_ids *ids, rf_ids *labels, const json_t *row)
{
    const json_t *list = json_object_get(row, "input_ids"),
                 *targets = json_object_get(row, "labels");
    if (!json_is_array(list)) return rf_fail(RF_INPUT, "the row has no list 'input_ids'");
    if (!targets || json_is_null(targets)) targets = list;
    if (!json_is_array(targets) || json_array_size(targets) != json_array_size(list))
        return rf_fail(RF_INPUT, "'labels' and 'input_ids' differ in length");
    RF_TRY(append_numbers(ids, list, "input_ids", 0));
    return append_numbers(labels, targets, "labels", RF_NO_LABEL);
}

rf_status rf_row_class(rf_class_row *found, const json_t *row)
{
    *found = (rf_class_row){0};
    const int keys = class_keys_of(row);
    if (keys < 0) return rf_fail(RF_INPUT, "the row has no text to classify");
    RF_TRY(text_of(&found->first, row, class_keys[keys].first, 1));
    if (class_keys[keys].second && has(row, class_keys[keys].second))
        RF_TRY(text_of(&found->second, row, class_keys[keys].second, 1));
    const json_t *label = json_object_get(row, "label");
    const int64_t number = json_is_integer(label) ? json_integer_value(label) : -1;
    if (number < 0 || number > INT32_MAX)
        return rf_fail(RF_INPUT, "'label' is not the number of a class, from 0");
    found->label = (int32_t)number;
    return RF_OK;
}
