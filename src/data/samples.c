#include "refract/data/samples.h"

#include <stdlib.h>
#include <string.h>

#include "gather.h"
#include "refract/comm/agree.h"
#include "refract/store/digest.h"
#include "share.h"
#include "token_store.h"

/* Samples that grow file by file. */
typedef struct loading {
    MPI_Comm comm;
    int rank, size;
    const rf_data_options *options;
    const rf_tokenizer *tokenizer;
    rf_formatter *formatter;
    rf_samples *samples;
} loading;

void rf_samples_destroy(rf_samples **samples)
{
    if (!*samples) return;
    free((*samples)->offset);
    free((*samples)->ids);
    free((*samples)->labels);
    free(*samples);
    *samples = NULL;
}

static rf_status grow(void **array, int64_t count, size_t item)
{
    void *grown = realloc(*array, (size_t)count * item);
    if (!grown)
        return rf_fail(RF_RESOURCES,
                       "no memory for %lld tokens. Use fewer ranks per node or less data",
                       (long long)count);
    *array = grown;
    return RF_OK;
}

/* How many more samples are wanted; INT64_MAX without a limit. */
static int64_t room(const loading *l)
{
    const int64_t most = l->options->max_samples;
    return most > 0 ? most - l->samples->count : INT64_MAX;
}

static rf_status make_room(rf_samples *samples, int64_t count, int64_t tokens)
{
    const int64_t all = samples->count + count, end = samples->offset[samples->count] + tokens;
    void *offset = samples->offset, *ids = samples->ids, *labels = samples->labels;
    rf_status status = grow(&offset, all + 1, sizeof *samples->offset);
    samples->offset = offset;
    if (status == RF_OK) status = grow(&ids, end + 1, sizeof *samples->ids);
    samples->ids = ids;
    if (status == RF_OK) status = grow(&labels, end + 1, sizeof *samples->labels);
    samples->labels = labels;
    return status;
}

static void keep_sample(rf_samples *samples, const rf_share *all, int64_t from, rf_entry entry)
{
    const int64_t at = samples->offset[samples->count];
    const size_t bytes = (size_t)entry.tokens * sizeof *samples->ids;
    memcpy(samples->ids + at, all->ids.ids + from, bytes);
    memcpy(samples->labels + at, all->labels.ids + from, bytes);
    samples->offset[++samples->count] = at + entry.tokens;
    samples->account.used++;
    samples->account.truncated += entry.lost > 0;
    samples->account.tokens_lost += entry.lost;
    if (entry.tokens > samples->longest) samples->longest = entry.tokens;
}

/* Takes entries in file order until the limit and accounts for every row. */
static void take_entries(loading *l, const rf_share *all)
{
    rf_account *account = &l->samples->account;
    int64_t from = 0;
    for (int64_t i = 0; i < all->count; i++) {
        const rf_entry entry = all->entries[i];
        account->rows += entry.opens;
        if (room(l) <= 0)
            account->skipped_limit += entry.opens;
        else if (entry.tokens > 0)
            keep_sample(l->samples, all, from, entry);
        else if (entry.opens)
            account->skipped_empty++;
        else
            account->tokens_lost += entry.lost;
        from += entry.tokens;
    }
    account->rows += all->unread;
    account->skipped_limit += all->unread;
}

static rf_status append(loading *l, const rf_share *all)
{
    RF_TRY_ALL(l->comm, make_room(l->samples, all->count, all->ids.count));
    take_entries(l, all);
    return RF_OK;
}

static rf_status gather_ids(MPI_Comm comm, const rf_ids *mine, rf_ids *all)
{
    void *bytes = NULL;
    size_t length = 0;
    RF_TRY(
        rf_gather_bytes(comm, mine->ids, (size_t)mine->count * sizeof *mine->ids, &bytes, &length));
    const int64_t count = (int64_t)(length / sizeof *all->ids);
    *all = (rf_ids){.ids = bytes, .count = count, .capacity = count};
    return RF_OK;
}

static rf_status gather_share(MPI_Comm comm, const rf_share *mine, rf_share *all)
{
    void *entries = NULL;
    size_t length = 0;
    RF_TRY(gather_ids(comm, &mine->ids, &all->ids));
    RF_TRY(gather_ids(comm, &mine->labels, &all->labels));
    RF_TRY(rf_gather_bytes(comm, mine->entries, (size_t)mine->count * sizeof *mine->entries,
                           &entries, &length));
    all->entries = entries;
    all->count = all->capacity = (int64_t)(length / sizeof *all->entries);
    MPI_Allreduce(&mine->unread, &all->unread, 1, MPI_INT64_T, MPI_SUM, comm);
    return RF_OK;
}

/*
 * A bad row counts only when fewer samples than the limit stand before it, as on one rank, which
 * would not have read it.
 */
static rf_status forgive(const loading *l, const rf_share *share, rf_status status)
{
    int64_t before = 0;
    MPI_Exscan(&share->kept, &before, 1, MPI_INT64_T, MPI_SUM, l->comm);
    if (l->rank == 0) before = 0;
    return status != RF_RESOURCES && before + share->kept >= room(l) ? RF_OK : status;
}

static rf_status load_rows(loading *l, const char *path)
{
    rf_share mine = {0}, all = {0};
    const int64_t limit = l->options->max_samples > 0 ? room(l) : 0;
    rf_status status =
        rf_share_rows(&mine, path, l->rank, l->size, l->formatter, l->options, limit);
    status = rf_agree(l->comm, forgive(l, &mine, status));
    if (status == RF_OK) status = gather_share(l->comm, &mine, &all);
    rf_share_free(&mine);
    if (status == RF_OK) status = append(l, &all);
    rf_share_free(&all);
    return status;
}

/* Cuts a whole stream into windows, each of which counts as a row. */
static rf_status cut_stream(const loading *l, rf_share *all, const char *path)
{
    RF_TRY(rf_ids_append(&all->labels, all->ids.ids, all->ids.count));
    const rf_status status = rf_share_check(all, 0, l->options->vocab);
    if (status != RF_OK)
        return rf_fail(status, "%s (%s). Use the model's own tokenizer", rf_status_message(), path);
    if (all->ids.count == 0) return RF_OK;
    RF_TRY(rf_share_cut(all, 0, l->options->max_length, 1));
    for (int64_t i = 0; i < all->count; i++) all->entries[i].opens = 1;
    return RF_OK;
}

static rf_status load_stream(loading *l, const char *path)
{
    const char *format = l->options->format;
    if (strcmp(format, "auto") != 0 && strcmp(format, "text") != 0)
        return rf_fail(RF_USAGE,
                       "a .txt file has no rows of format %s (%s). Set data.format to text", format,
                       path);
    rf_share mine = {0}, all = {0};
    rf_status status =
        rf_agree(l->comm, rf_share_stream(&mine, path, l->rank, l->size, l->formatter));
    if (status == RF_OK) status = gather_ids(l->comm, &mine.ids, &all.ids);
    rf_share_free(&mine);
    if (status == RF_OK) status = rf_agree(l->comm, cut_stream(l, &all, path));
    if (status == RF_OK) status = append(l, &all);
    rf_share_free(&all);
    return status;
}

/* Samples of a token store, cut where they are longer than is wanted now. */
static rf_status recut(const loading *l, const rf_samples *stored, rf_share *all, const char *path)
{
    for (int64_t i = 0; i < stored->count; i++) {
        const int64_t from = stored->offset[i], tokens = stored->offset[i + 1] - from;
        const int64_t begin = all->ids.count;
        RF_TRY(rf_ids_append(&all->ids, stored->ids + from, tokens));
        RF_TRY(rf_ids_append(&all->labels, stored->labels + from, tokens));
        RF_TRY(rf_share_cut(all, begin, l->options->max_length, 0));
    }
    const rf_status status = rf_share_check(all, 0, l->options->vocab);
    if (status == RF_OK) return RF_OK;
    return rf_fail(status, "%s (%s). Prepare it with the model's own tokenizer",
                   rf_status_message(), path);
}

/* What the store's own rows went through before they were stored. */
static void add_history(rf_account *account, const rf_samples *stored)
{
    account->rows += stored->account.rows - stored->count;
    account->truncated += stored->account.truncated;
    account->tokens_lost += stored->account.tokens_lost;
    account->skipped_empty += stored->account.skipped_empty;
    account->skipped_limit += stored->account.skipped_limit;
}

static rf_status load_store(loading *l, const char *path)
{
    rf_samples *stored = NULL;
    rf_share all = {0};
    rf_status status = rf_token_store_read(&stored, l->comm, path, l->tokenizer);
    if (status == RF_OK) status = rf_agree(l->comm, recut(l, stored, &all, path));
    if (status == RF_OK) status = append(l, &all);
    if (status == RF_OK) add_history(&l->samples->account, stored);
    rf_share_free(&all);
    rf_samples_destroy(&stored);
    return status;
}

static int ends_in(const char *path, const char *ending)
{
    const size_t length = strlen(path), tail = strlen(ending);
    return length >= tail && strcmp(path + length - tail, ending) == 0;
}

static rf_status load_file(loading *l, const char *path)
{
    if (ends_in(path, ".h5")) return load_store(l, path);
    if (ends_in(path, ".txt")) return load_stream(l, path);
    if (ends_in(path, ".jsonl") || ends_in(path, ".json")) return load_rows(l, path);
    return rf_fail(
        RF_USAGE,
        "unknown kind of data file (%s). Known are .jsonl, .json (an array), .txt and .h5 "
        "(a token store)",
        path);
}

rf_status rf_samples_digest(rf_samples *samples)
{
    rf_digest digest;
    const size_t tokens = (size_t)samples->offset[samples->count];
    RF_TRY(rf_digest_start(&digest));
    rf_digest_add(&digest, samples->offset, ((size_t)samples->count + 1) * sizeof *samples->offset);
    rf_digest_add(&digest, samples->ids, tokens * sizeof *samples->ids);
    rf_digest_add(&digest, samples->labels, tokens * sizeof *samples->labels);
    rf_digest_finish(&digest, samples->digest);
    return RF_OK;
}

static rf_status load_all(loading *l)
{
    const rf_data_options *options = l->options;
    RF_ASSERT(options->max_length > 0, "max_length %lld", (long long)options->max_length);
    if (options->path_count == 0) return rf_fail(RF_USAGE, "no data are named. Set data.train");
    for (int i = 0; i < options->path_count; i++) RF_TRY(load_file(l, options->paths[i]));
    const rf_account *account = &l->samples->account;
    if (l->samples->count == 0)
        return rf_fail(
            RF_INPUT,
            "the data hold nothing to learn (%s): %lld rows, %lld without a label. Check "
            "data.format and the files",
            options->paths[0], (long long)account->rows, (long long)account->skipped_empty);
    RF_TRY_ALL(l->comm, rf_samples_digest(l->samples));
    return RF_OK;
}

static rf_status start(loading *l)
{
    MPI_Comm_rank(l->comm, &l->rank);
    MPI_Comm_size(l->comm, &l->size);
    l->samples = calloc(1, sizeof *l->samples);
    if (!l->samples) return rf_fail(RF_RESOURCES, "no memory for the samples");
    l->samples->offset = calloc(1, sizeof *l->samples->offset);
    if (!l->samples->offset) return rf_fail(RF_RESOURCES, "no memory for the samples");
    return rf_formatter_create(&l->formatter, l->options->format, l->options->template,
                               l->tokenizer);
}

static void report(const loading *l, rf_log *log)
{
    const rf_account *a = &l->samples->account;
    rf_log_info(
        log,
        "data: %lld rows, %lld samples, %lld tokens (%s%s); %lld truncated (%lld tokens lost), "
        "%lld without a label, %lld beyond the limit",
        (long long)a->rows, (long long)a->used, (long long)l->samples->offset[l->samples->count],
        l->options->paths[0], l->options->path_count > 1 ? ", ..." : "", (long long)a->truncated,
        (long long)a->tokens_lost, (long long)a->skipped_empty, (long long)a->skipped_limit);
    if (l->rank == 0 && l->tokenizer && rf_tokenizer_eos(l->tokenizer) < 0)
        rf_log_warning(log, "the tokenizer names no EOS token: answers end without one");
}

rf_status rf_samples_load(rf_samples **samples, MPI_Comm comm, const rf_data_options *options,
                          const rf_tokenizer *tokenizer, rf_log *log)
{
    loading l = {.comm = comm, .options = options, .tokenizer = tokenizer};
    *samples = NULL;
    rf_status status = rf_agree(comm, start(&l));
    if (status == RF_OK) status = load_all(&l);
    if (status == RF_OK && log) report(&l, log);
    if (status != RF_OK) rf_samples_destroy(&l.samples);
    rf_formatter_destroy(&l.formatter);
    *samples = l.samples;
    return status;
}
