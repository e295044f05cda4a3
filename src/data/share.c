#include "share.h"

#include <stdlib.h>
#include <string.h>

#include "refract/data/rows.h"

void rf_share_free(rf_share *share)
{
    free(share->ids.ids);
    free(share->labels.ids);
    free(share->entries);
    *share = (rf_share){0};
}

static rf_status add_entry(rf_share *share, rf_entry entry)
{
    if (share->count == share->capacity) {
        const int64_t capacity = 2 * share->capacity + 64;
        rf_entry *grown = realloc(share->entries, (size_t)capacity * sizeof *grown);
        if (!grown) return rf_fail(RF_RESOURCES, "no memory for %lld rows", (long long)capacity);
        share->entries = grown;
        share->capacity = capacity;
    }
    share->entries[share->count++] = entry;
    share->kept += entry.tokens > 0;
    return RF_OK;
}

static int teaches(const int32_t *labels, int64_t count)
{
    for (int64_t i = 1; i < count; i++)
        if (labels[i] != RF_NO_LABEL) return 1;
    return 0;
}

rf_status rf_share_cut(rf_share *share, int64_t begin, int64_t max_length, int windows)
{
    const int64_t end = share->ids.count;
    int64_t at = begin, kept = begin;
    do {
        int64_t tokens = end - at < max_length ? end - at : max_length;
        const int64_t lost = windows ? 0 : end - at - tokens;
        rf_entry entry = {.tokens = tokens, .lost = lost, .opens = at == begin};
        if (!teaches(share->labels.ids + at, tokens)) entry = (rf_entry){0, tokens, at == begin};
        RF_TRY(add_entry(share, entry));
        if (kept != at && entry.tokens) {
            const size_t bytes = (size_t)tokens * sizeof *share->ids.ids;
            memmove(share->ids.ids + kept, share->ids.ids + at, bytes);
            memmove(share->labels.ids + kept, share->labels.ids + at, bytes);
        }
        kept += entry.tokens;
        at += tokens;
    } while (windows && at < end);
    share->ids.count = share->labels.count = kept;
    return RF_OK;
}

rf_status rf_share_check(const rf_share *share, int64_t begin, int64_t vocab)
{
    for (int64_t i = begin; vocab > 0 && i < share->ids.count; i++) {
        const int32_t id = share->ids.ids[i], label = share->labels.ids[i];
        if (id < vocab && label < vocab) continue;
        return rf_fail(RF_INPUT, "token %d is beyond the model's vocabulary of %lld",
                       id < vocab ? label : id, (long long)vocab);
    }
    return RF_OK;
}

static rf_status add_row(rf_share *share, const json_t *row, const rf_formatter *formatter,
                         const rf_data_options *options)
{
    const int64_t begin = share->ids.count;
    int is_text = 0;
    rf_status status = rf_formatter_encode(formatter, row, options->train_on_inputs, &share->ids,
                                           &share->labels, &is_text);
    if (status == RF_OK) status = rf_share_check(share, begin, options->vocab);
    if (status == RF_OK) status = rf_share_cut(share, begin, options->max_length, is_text);
    if (status != RF_OK) share->ids.count = share->labels.count = begin;
    return status;
}

static rf_status add_rows(rf_share *share, rf_rows *rows, const rf_formatter *formatter,
                          const rf_data_options *options, int64_t limit)
{
    json_t *row = NULL;
    while (limit == 0 || share->kept < limit) {
        RF_TRY(rf_rows_next(rows, &row));
        if (!row) return RF_OK;
        const rf_status status = add_row(share, row, formatter, options);
        json_decref(row);
        if (status == RF_INPUT)
            return rf_rows_fail(rows, status, "Mend or remove the row, or set data.format");
        if (status != RF_OK) return status;
    }
    share->unread = rf_rows_count(rows);
    return RF_OK;
}

/* Should the failure lie behind the limit after all, its row and those behind it are unread ones.
 */
static void count_bad_and_rest(rf_share *share, rf_rows *rows, rf_status status)
{
    char text[RF_MESSAGE_BYTES];
    strcpy(text, rf_status_message());
    share->unread = 1 + rf_rows_count(rows);
    rf_fail(status, "%s", text);
}

rf_status rf_share_rows(rf_share *share, const char *path, int part, int parts,
                        const rf_formatter *formatter, const rf_data_options *options,
                        int64_t limit)
{
    rf_rows *rows = NULL;
    RF_TRY(rf_rows_open(&rows, path));
    const int64_t bytes = rf_rows_bytes(rows);
    rf_rows_share(rows, bytes / parts * part + bytes % parts * part / parts,
                  bytes / parts * (part + 1) + bytes % parts * (part + 1) / parts);
    const rf_status status = add_rows(share, rows, formatter, options, limit);
    if (status != RF_OK && limit > 0) count_bad_and_rest(share, rows, status);
    rf_rows_close(&rows);
    return status;
}
