#include "generate_prompts.h"

#include <stdlib.h>
#include <string.h>

#include "refract/data/formatter.h"
#include "refract/data/rows.h"

static rf_status no_memory(void)
{
    return rf_fail(RF_RESOURCES, "no memory for the prompts");
}

static rf_status check_text(const json_t *row)
{
    const json_t *prompt = json_object_get(row, "prompt");
    if (!prompt && !json_object_get(row, "messages") && !json_object_get(row, "input_ids"))
        return rf_fail(RF_INPUT, "a row has none of prompt, messages and input_ids");
    if (!prompt) return RF_OK;
    if (!json_is_string(prompt)) return rf_fail(RF_INPUT, "'prompt' is no string");
    return json_string_length(prompt) > 0 ? RF_OK : rf_fail(RF_INPUT, "the prompt is empty");
}

/* What a user says, as messages; other rows as they are. Owned by the caller. */
static json_t *as_chat(json_t *row, int is_chat)
{
    json_t *prompt = json_object_get(row, "prompt");
    if (!is_chat || !prompt) return json_incref(row);
    return json_pack("{s:[{s:s, s:O}]}", "messages", "role", "user", "content", prompt);
}

static rf_status check_ids(const int32_t *ids, int64_t count, int64_t vocab)
{
    if (count == 0) return rf_fail(RF_INPUT, "the prompt is empty");
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= vocab)
            return rf_fail(RF_INPUT, "token %d is none of the model's %lld", (int)ids[i],
                           (long long)vocab);
    return RF_OK;
}

rf_status prompt_list_add(prompt_list *list, const rf_formatter *formatter,
                          const rf_session *session, json_t *row, const json_t *asked)
{
    const int64_t begin = list->ids.count;
    if (list->count == list->capacity) {
        const int64_t capacity = 2 * list->capacity + 16;
        int64_t *end = realloc(list->end, (size_t)capacity * sizeof *end);
        if (end) list->end = end;
        if (end) list->capacity = capacity;
    }
    if (list->count == list->capacity || json_array_append_new(list->rows, row) != 0)
        return no_memory();
    RF_TRY(rf_formatter_prompt(formatter, asked, &list->ids));
    const int64_t count = list->ids.count - begin;
    RF_TRY(check_ids(list->ids.ids + begin, count, session->model.vocab));
    if (count > list->longest) list->longest = count;
    list->end[list->count++] = list->ids.count;
    return RF_OK;
}

/* Takes the reference to `row`. */
static rf_status add(prompt_list *list, const rf_formatter *formatter, const rf_session *session,
                     json_t *row, int is_chat)
{
    rf_status status = check_text(row);
    json_t *asked = status == RF_OK ? as_chat(row, is_chat) : NULL;
    if (status == RF_OK && !asked) status = no_memory();
    if (status == RF_OK)
        status = prompt_list_add(list, formatter, session, json_incref(row), asked);
    json_decref(asked);
    json_decref(row);
    return status;
}

static rf_status read_file(prompt_list *list, const rf_generate_options *options,
                           const rf_formatter *formatter, const rf_session *session)
{
    rf_rows *rows = NULL;
    json_t *row = NULL;
    rf_status status = rf_rows_open(&rows, options->prompts);
    while (status == RF_OK && (status = rf_rows_next(rows, &row)) == RF_OK && row) {
        status = add(list, formatter, session, row, options->is_chat);
        if (status == RF_INPUT || status == RF_USAGE)
            status = rf_rows_fail(rows, status,
                                  "A row is {\"prompt\": TEXT}, {\"messages\": [...]} or "
                                  "{\"input_ids\": [...]}");
    }
    if (status == RF_OK && list->count == 0)
        status = rf_fail(RF_INPUT, "the file holds no prompts (%s). Write one row per prompt",
                         options->prompts);
    rf_rows_close(&rows);
    return status;
}

static rf_status read_one(prompt_list *list, const rf_generate_options *options,
                          const rf_formatter *formatter, const rf_session *session)
{
    json_t *row = json_pack("{s:s}", "prompt", options->prompt);
    if (!row)
        return rf_fail(RF_USAGE, "the prompt is not UTF-8 (--prompt). Give it in that encoding");
    const rf_status status = add(list, formatter, session, row, options->is_chat);
    if (status != RF_INPUT) return status;
    return rf_fail(RF_USAGE, "%s (--prompt). See refract generate --help", rf_status_message());
}

rf_status prompt_list_read(prompt_list *list, const rf_generate_options *options,
                           const rf_session *session)
{
    rf_formatter *formatter = NULL;
    list->rows = json_array();
    if (!list->rows) return no_memory();
    RF_TRY(rf_formatter_create(&formatter, "auto", "auto", session->tokenizer));
    const rf_status status = options->prompts ? read_file(list, options, formatter, session)
                                              : read_one(list, options, formatter, session);
    rf_formatter_destroy(&formatter);
    return status;
}

rf_prompt prompt_list_at(const prompt_list *list, int64_t at)
{
    const int64_t begin = at > 0 ? list->end[at - 1] : 0;
    return (rf_prompt){.ids = list->ids.ids + begin, .count = list->end[at] - begin, .index = at};
}

void prompt_list_free(prompt_list *list)
{
    json_decref(list->rows);
    free(list->ids.ids);
    free(list->end);
    *list = (prompt_list){0};
}
