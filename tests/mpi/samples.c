#include "rf_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refract/data/prepare.h"
#include "refract/data/samples.h"
#include "tiny_tokenizer.h"

static rf_tokenizer *tiny(void)
{
    rf_tokenizer *tokenizer = NULL;
    char *json = tiny_tokenizer_json(1);
    const char *config = tiny_tokenizer_config();
    const rf_status status =
        rf_tokenizer_parse(&tokenizer, json, strlen(json), config, strlen(config), "tiny");
    assert_all(status == RF_OK);
    free(json);
    return tokenizer;
}

/* A file that root writes and every rank may read afterwards. */
static const char *file_of(const char *name, const char *text)
{
    static char paths[4][4096];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", rf_test_folder(), name);
    if (rf_test_rank() == 0 && text) rf_test_write_file(path, text, strlen(text));
    MPI_Barrier(MPI_COMM_WORLD);
    return path;
}

static rf_status load_with(rf_samples **samples, MPI_Comm comm, const char *path,
                           rf_data_options options, const rf_tokenizer *tokenizer)
{
    options.paths = &path;
    options.path_count = 1;
    if (!options.format) options.format = "auto";
    if (!options.template) options.template = "auto";
    if (!options.max_length) options.max_length = 64;
    return rf_samples_load(samples, comm, &options, tokenizer, NULL);
}

/* Loaded on all ranks and on one alone: everything is the same. */
static rf_samples *load_both(const char *path, rf_data_options options,
                             const rf_tokenizer *tokenizer)
{
    rf_samples *all = NULL, *alone = NULL;
    const rf_status status = load_with(&all, MPI_COMM_WORLD, path, options, tokenizer);
    if (status != RF_OK) print_error("%s\n", rf_status_message());
    assert_all(status == RF_OK);
    assert_all(load_with(&alone, MPI_COMM_SELF, path, options, tokenizer) == RF_OK);
    assert_all(strcmp(all->digest, alone->digest) == 0);
    assert_all(memcmp(&all->account, &alone->account, sizeof all->account) == 0);
    assert_all(all->count == alone->count && all->longest == alone->longest);
    rf_samples_destroy(&alone);
    return all;
}

static char *many_rows(int rows)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    for (int i = 0; i < rows; i++) {
        fprintf(out, "{\"prompt\":\"row %d is", i);
        for (int k = 0; k < i % 7; k++) fprintf(out, " ab");
        fprintf(out, "\",\"completion\":\"%s\"}\n", i % 5 == 3 ? "" : "so it is");
    }
    fclose(out);
    return text;
}

static void rows__any_rank_count__give_the_same_samples(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = tiny();
    char *text = many_rows(53);
    const char *path = file_of("many.jsonl", text);
    rf_samples *samples = load_both(path, (rf_data_options){.max_length = 24}, tokenizer);
    const rf_account a = samples->account;
    assert_all(a.rows == 53 && a.used == samples->count);
    assert_all(a.rows == a.used + a.skipped_empty && a.skipped_limit == 0);
    assert_all(a.truncated > 0 && a.tokens_lost >= a.truncated && a.skipped_empty >= 10);
    assert_all(samples->longest == 24);
    rf_samples_destroy(&samples);
    assert_all(samples == NULL);
    rf_tokenizer_destroy(&tokenizer);
    free(text);
}

static void limit__any_rank_count__keeps_the_first_samples(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = tiny();
    char *text = many_rows(53);
    const char *path = file_of("many.jsonl", text);
    for (int64_t limit = 1; limit < 60; limit += 13) {
        rf_samples *samples = load_both(path, (rf_data_options){.max_samples = limit}, tokenizer);
        const rf_account a = samples->account;
        assert_all(a.rows == 53 && samples->count == (limit < 43 ? limit : 43));
        assert_all(a.rows == a.used + a.skipped_empty + a.skipped_limit);
        rf_samples_destroy(&samples);
    }
    rf_tokenizer_destroy(&tokenizer);
    free(text);
}

static void limit__broken_row_behind_it__is_not_met(void **state)
{
    (void)state;
    rf_samples *samples = NULL;
    const char *path = file_of("late.jsonl", "{\"input_ids\":[1,2]}\n{\"input_ids\":[1,2]}\n"
                                             "{\"input_ids\":[1,2]}\n{broken}\n"
                                             "{\"input_ids\":[7,2]}\n");
    samples = load_both(path, (rf_data_options){.max_samples = 3}, NULL);
    assert_all(samples->account.rows == 5 && samples->account.skipped_limit == 2);
    rf_samples_destroy(&samples);
    rf_data_options options = {.max_samples = 4};
    assert_all(load_with(&samples, MPI_COMM_WORLD, path, options, NULL) == RF_INPUT);
    assert_all(strstr(rf_status_message(), "late.jsonl, line 4") != NULL);
}

static void tokens__rows__are_cut_counted_and_skipped(void **state)
{
    (void)state;
    const char *path = file_of("tokens.json", "[{\"input_ids\":[1,2,3,4,5]},{\"input_ids\":[9]},"
                                              "{\"input_ids\":[6,7],\"labels\":[6,-100]},"
                                              "{\"input_ids\":[]},{\"input_ids\":[8,7],"
                                              "\"labels\":[-100,7]}]");
    rf_samples *samples = load_both(path, (rf_data_options){.max_length = 3, .vocab = 10}, NULL);
    static const int32_t ids[] = {1, 2, 3, 8, 7}, labels[] = {1, 2, 3, RF_NO_LABEL, 7};
    assert_all(samples->count == 2 && samples->offset[2] == 5);
    assert_all(memcmp(samples->ids, ids, sizeof ids) == 0);
    assert_all(memcmp(samples->labels, labels, sizeof labels) == 0);
    const rf_account a = samples->account;
    assert_all(a.rows == 5 && a.used == 2 && a.truncated == 1 && a.tokens_lost == 2);
    assert_all(a.skipped_empty == 3);
    rf_samples_destroy(&samples);
}

static void tokens__beyond_the_vocabulary__name_file_and_line(void **state)
{
    (void)state;
    rf_samples *samples = NULL;
    const char *path = file_of("big.jsonl", "{\"input_ids\":[1,2]}\n\n{\"input_ids\":[1,10]}\n"
                                            "{\"input_ids\":[1,11]}\n");
    assert_all(load_with(&samples, MPI_COMM_WORLD, path, (rf_data_options){.vocab = 10}, NULL) ==
               RF_INPUT);
    assert_all(strstr(rf_status_message(), "token 10 is beyond") != NULL);
    assert_all(strstr(rf_status_message(), "big.jsonl, line 3") != NULL);
    assert_all(samples == NULL);
}

static void data__nothing_to_learn_or_unknown__is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *word;
        rf_status status;
    } bad[] = {{"empty.jsonl", "", "nothing to learn", RF_INPUT},
               {"empty.json", "[]", "nothing to learn", RF_INPUT},
               {"single.jsonl", "{\"input_ids\":[1]}", "nothing to learn", RF_INPUT},
               {"words.jsonl", "{\"text\":\"a\"}", "need a tokenizer", RF_USAGE},
               {"data.csv", "a,b", "unknown kind", RF_USAGE},
               {"missing.jsonl", NULL, "missing.jsonl", RF_INPUT},
               {"missing.h5", NULL, "missing.h5", RF_INPUT},
               {"plain.h5", "no HDF5", "plain.h5", RF_INPUT}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        rf_samples *samples = NULL;
        const char *path = file_of(bad[i].name, bad[i].text);
        const rf_status status =
            load_with(&samples, MPI_COMM_WORLD, path, (rf_data_options){0}, NULL);
        assert_all(status == bad[i].status);
        assert_all(strstr(rf_status_message(), bad[i].word) != NULL);
        assert_all(samples == NULL);
    }
}

/* A text of about `bytes` bytes in lines and paragraphs. */
static char *long_text(size_t bytes)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    for (size_t i = 0, n = 0; n < bytes; i++)
        n += (size_t)fprintf(out, "line %zu\303\244 ab ab%s", i, i % 3 ? "\n" : "\n\n");
    fclose(out);
    return text;
}

static void stream__text_file__is_cut_into_windows(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = tiny();
    char *text = long_text((1 << 20) + 200000);
    const char *path = file_of("long.txt", text);
    rf_ids whole = {0};
    assert_all(rf_tokenizer_encode(tokenizer, text, strlen(text), 1, &whole) == RF_OK);
    rf_samples *samples = load_both(path, (rf_data_options){.max_length = 100}, tokenizer);
    const int64_t tokens = samples->offset[samples->count];
    assert_all(whole.count - tokens == (whole.count % 100 == 1));
    assert_all(memcmp(samples->ids, whole.ids, (size_t)tokens * sizeof *whole.ids) == 0);
    assert_all(memcmp(samples->labels, whole.ids, (size_t)tokens * sizeof *whole.ids) == 0);
    assert_all(samples->offset[1] == 100 && samples->longest == 100);
    assert_all(samples->account.rows == samples->count + samples->account.skipped_empty);
    rf_samples_destroy(&samples);
    rf_tokenizer_destroy(&tokenizer);
    free(whole.ids);
    free(text);
}

static void paths__several__are_joined_in_order(void **state)
{
    (void)state;
    const char *paths[] = {file_of("one.jsonl", "{\"input_ids\":[1,2]}\n{\"input_ids\":[3,4]}\n"),
                           file_of("two.json", "[{\"input_ids\":[5,6]}]")};
    rf_data_options options = {.paths = paths,
                               .path_count = 2,
                               .format = "auto",
                               .template = "auto",
                               .max_length = 8,
                               .max_samples = 3};
    rf_samples *samples = NULL;
    static const int32_t ids[] = {1, 2, 3, 4, 5, 6};
    assert_all(rf_samples_load(&samples, MPI_COMM_WORLD, &options, NULL, NULL) == RF_OK);
    assert_all(samples->count == 3 && memcmp(samples->ids, ids, sizeof ids) == 0);
    rf_samples_destroy(&samples);
}

static void store__written_and_read__is_the_same(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = tiny();
    char *text = many_rows(31);
    const char *path = file_of("many.jsonl", text), *store = file_of("many.h5", NULL);
    const rf_data_options options = {
        .paths = &path, .path_count = 1, .format = "auto", .template = "auto", .max_length = 20};
    rf_samples *samples = load_both(path, options, tokenizer);
    assert_all(rf_samples_write(samples, MPI_COMM_WORLD, store, &options, tokenizer) == RF_OK);
    rf_samples *again = load_both(store, options, tokenizer);
    assert_all(strcmp(samples->digest, again->digest) == 0);
    assert_all(memcmp(&samples->account, &again->account, sizeof samples->account) == 0);
    rf_samples_destroy(&again);
    again = load_both(store, (rf_data_options){.max_length = 14, .max_samples = 3}, NULL);
    assert_all(again->count == 3 && again->longest == 14);
    rf_samples_destroy(&again);
    rf_samples_destroy(&samples);
    rf_tokenizer_destroy(&tokenizer);
    free(text);
}

static rf_status store_tokens(const char *rows, const char *store, const rf_tokenizer *tokenizer)
{
    const rf_data_options options = {
        .paths = &rows, .path_count = 1, .format = "tokens", .template = "auto", .max_length = 20};
    rf_samples *samples = NULL;
    assert_all(rf_samples_load(&samples, MPI_COMM_WORLD, &options, NULL, NULL) == RF_OK);
    const rf_status status = rf_samples_write(samples, MPI_COMM_WORLD, store, &options, tokenizer);
    rf_samples_destroy(&samples);
    return status;
}

static void store__write_fails__keeps_the_old_file(void **state)
{
    (void)state;
    const char *rows = file_of("t.jsonl", "{\"input_ids\":[1,2,3]}\n");
    const char *store = file_of("kept.h5", "old");
    setenv("RF_FAULT", "tokens.write:0", 1);
    const rf_status status = store_tokens(rows, store, NULL);
    unsetenv("RF_FAULT");
    assert_all(status == RF_WRITE);
    size_t length = 0;
    char *kept = rf_test_read_file(store, &length);
    assert_all(strcmp(kept, "old") == 0);
    free(kept);
}

static void store__gather_out_of_memory__is_agreed(void **state)
{
    (void)state;
    rf_samples *samples = NULL;
    const char *rows = file_of("t.jsonl", "{\"input_ids\":[1,2,3]}\n");
    for (int failing = 0; failing < rf_test_size(); failing++) {
        char fault[64];
        snprintf(fault, sizeof fault, "gather.memory:%d", failing);
        setenv("RF_FAULT", fault, 1);
        const rf_status status =
            load_with(&samples, MPI_COMM_WORLD, rows, (rf_data_options){0}, NULL);
        unsetenv("RF_FAULT");
        assert_all(status == RF_RESOURCES && samples == NULL);
    }
}

static void store__other_tokenizer__is_refused(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = tiny(), *other = NULL;
    char *json = tiny_tokenizer_json(1);
    char *piece = strstr(json, "\"~\"");
    assert_all(piece != NULL);
    memcpy(piece, "\"\x7F\"", 3);
    assert_all(rf_tokenizer_parse(&other, json, strlen(json), NULL, 0, "other") == RF_OK);
    const char *rows = file_of("t.jsonl", "{\"input_ids\":[1,2,3]}\n");
    const char *store = file_of("t.h5", NULL);
    rf_samples *samples = NULL;
    assert_all(store_tokens(rows, store, tokenizer) == RF_OK);
    assert_all(load_with(&samples, MPI_COMM_WORLD, store, (rf_data_options){0}, tokenizer) ==
               RF_OK);
    rf_samples_destroy(&samples);
    assert_all(load_with(&samples, MPI_COMM_WORLD, store, (rf_data_options){0}, other) == RF_INPUT);
    assert_all(strstr(rf_status_message(), "another tokenizer") != NULL);
    rf_tokenizer_destroy(&tokenizer);
    rf_tokenizer_destroy(&other);
    free(json);
}

/* One byte changed anywhere: refused, or of no consequence. */
static void store__damaged__is_never_read_wrong(void **state)
{
    (void)state;
    const char *rows = file_of("t.jsonl", "{\"input_ids\":[11,12,13]}\n{\"input_ids\":[14,15]}\n");
    const char *store = file_of("t.h5", NULL);
    assert_all(store_tokens(rows, store, NULL) == RF_OK);
    rf_samples *samples = NULL;
    assert_all(load_with(&samples, MPI_COMM_SELF, store, (rf_data_options){0}, NULL) == RF_OK);
    char digest[sizeof samples->digest];
    memcpy(digest, samples->digest, sizeof digest);
    rf_samples_destroy(&samples);
    if (rf_test_rank() != 0) return;
    size_t length = 0;
    char *bytes = rf_test_read_file(store, &length);
    int refused = 0;
    for (size_t at = 0; at < length; at += 97) {
        bytes[at] ^= 0x10;
        rf_test_write_file(store, bytes, length);
        bytes[at] ^= 0x10;
        const rf_status status =
            load_with(&samples, MPI_COMM_SELF, store, (rf_data_options){0}, NULL);
        refused += status != RF_OK;
        if (status == RF_OK)
            assert_string_equal(samples->digest, digest);
        else
            assert_int_equal(status, RF_INPUT);
        rf_samples_destroy(&samples);
    }
    assert_true(refused > 0);
    free(bytes);
}

static void print__sample__shows_what_is_learnt(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = tiny();
    const char *path = file_of("p.jsonl", "{\"prompt\":\"xa\",\"completion\":\"b\"}\n"
                                          "{\"input_ids\":[300,301],\"labels\":[1,2]}\n");
    rf_samples *samples = load_both(path, (rf_data_options){0}, tokenizer);
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    rf_sample_print(out, samples, 0, tokenizer);
    rf_sample_print(out, samples, 1, NULL);
    fclose(out);
    assert_all(strcmp(text, "sample 0: 6 tokens, 2 learnt\n"
                            "  given  \u2502<s>\u2502\u2581\u2502x\u2502a\u2502\n"
                            "  learnt \u2502b\u2502</s>\u2502\n"
                            "sample 1: 2 tokens, 1 learnt\n"
                            "  given  \u2502300\u2502\n"
                            "  learnt \u2502301 => 2\u2502\n") == 0);
    free(text);
    rf_samples_destroy(&samples);
    rf_tokenizer_destroy(&tokenizer);
}

static rf_tokenizer *shared_tokenizer(const char *relative)
{
    rf_tokenizer *tokenizer = NULL;
    assert_all(rf_tokenizer_load(&tokenizer, rf_shared_path(relative)) == RF_OK);
    return tokenizer;
}

/* BOS, a question that is given, an answer that is learnt, EOS. */
static void shared__gsm8k__is_used_row_by_row(void **state)
{
    (void)state;
    if (rf_test_size() > 2) return; /* the small tests go further */
    skip_without("data/gsm8k/train.jsonl");
    rf_tokenizer *tokenizer = shared_tokenizer("tokenizers/llama2");
    const rf_data_options options = {.max_length = 1024, .vocab = 32000};
    rf_samples *samples = load_both(rf_shared_path("data/gsm8k/train.jsonl"), options, tokenizer);
    assert_all(samples->count == 7473 && samples->account.truncated == 0);
    int64_t label_tokens = 0, ends = 0;
    for (int64_t i = 0; i < samples->count; i++) {
        const int64_t begin = samples->offset[i], end = samples->offset[i + 1];
        ends += samples->ids[begin] == 1 && samples->ids[end - 1] == 2 &&
                samples->labels[end - 1] == 2 && samples->labels[begin] == RF_NO_LABEL;
        for (int64_t t = begin; t < end; t++) label_tokens += samples->labels[t] == samples->ids[t];
    }
    assert_all(ends == 7473 && label_tokens > 7473 * 50);
    rf_samples_destroy(&samples);
    rf_tokenizer_destroy(&tokenizer);
}

static void shared__commonsense_arrays__fit_their_template(void **state)
{
    (void)state;
    if (rf_test_size() > 2) return; /* the small tests go further */
    skip_without("data/commonsense/ARC-Easy/test.json");
    rf_tokenizer *tokenizer = shared_tokenizer("tokenizers/llama2");
    rf_samples *samples =
        load_both(rf_shared_path("data/commonsense/ARC-Easy/test.json"),
                  (rf_data_options){.template = "llm-adapters", .max_length = 256}, tokenizer);
    assert_all(samples->account.rows == 2376);
    rf_samples_destroy(&samples);
    rf_tokenizer_destroy(&tokenizer);
}

/* Blocks of a stream are cut so that no token changes, whatever the tokeniser. */
static void shared__text__is_tokenised_as_in_one_piece(void **state)
{
    (void)state;
    skip_without("data/text/tinystories.txt");
    static const struct {
        const char *text, *tokenizer;
    } cases[] = {{"data/text/tinystories.txt", "tokenizers/gpt2"},
                 {"data/text/tinyshakespeare.txt", "tokenizers/llama2"}};
    if (rf_test_size() > 1) return; /* other tests compare rank counts */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rf_tokenizer *tokenizer = NULL;
        rf_samples *samples = NULL;
        assert_ok(rf_tokenizer_load(&tokenizer, rf_shared_path(cases[i].tokenizer)));
        rf_ids whole = {0};
        size_t length = 0;
        char path[8192];
        snprintf(path, sizeof path, "%s", rf_shared_path(cases[i].text));
        assert_ok(load_with(&samples, MPI_COMM_SELF, path, (rf_data_options){0}, tokenizer));
        char *text = rf_test_read_file(path, &length);
        assert_ok(rf_tokenizer_encode(tokenizer, text, length, 1, &whole));
        const int64_t tokens = samples->offset[samples->count];
        assert_true(tokens == whole.count || tokens == whole.count - 1);
        assert_memory_equal(samples->ids, whole.ids, (size_t)tokens * sizeof *whole.ids);
        free(text);
        free(whole.ids);
        rf_samples_destroy(&samples);
        rf_tokenizer_destroy(&tokenizer);
    }
}

static const struct CMUnitTest samples[] = {
    cmocka_unit_test(rows__any_rank_count__give_the_same_samples),
    cmocka_unit_test(limit__any_rank_count__keeps_the_first_samples),
    cmocka_unit_test(limit__broken_row_behind_it__is_not_met),
    cmocka_unit_test(tokens__rows__are_cut_counted_and_skipped),
    cmocka_unit_test(tokens__beyond_the_vocabulary__name_file_and_line),
    cmocka_unit_test(data__nothing_to_learn_or_unknown__is_refused),
    cmocka_unit_test(stream__text_file__is_cut_into_windows),
    cmocka_unit_test(paths__several__are_joined_in_order),
    cmocka_unit_test(store__written_and_read__is_the_same),
    cmocka_unit_test(store__write_fails__keeps_the_old_file),
    cmocka_unit_test(store__gather_out_of_memory__is_agreed),
    cmocka_unit_test(store__other_tokenizer__is_refused),
    cmocka_unit_test(store__damaged__is_never_read_wrong),
    cmocka_unit_test(print__sample__shows_what_is_learnt),
    cmocka_unit_test(shared__gsm8k__is_used_row_by_row),
    cmocka_unit_test(shared__commonsense_arrays__fit_their_template),
    cmocka_unit_test(shared__text__is_tokenised_as_in_one_piece),
};
RF_TEST_MAIN(samples)
