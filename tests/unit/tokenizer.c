/* Real tokenisers against vectors made by others, and there and back over whole data sets. */
#include "rf_test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "refract/data/tokenizer.h"
#include "tokenizer_fixture.h"

enum { MOST_BYTES = 50000 /* of one file */ };

static rf_tokenizer *load(const char *relative)
{
    rf_tokenizer *tokenizer = NULL;
    assert_ok(rf_tokenizer_load(&tokenizer, rf_shared_path(relative)));
    return tokenizer;
}

static void check_vectors(const char *tokenizer_path, const char *texts_path, const char *ids_path)
{
    rf_tokenizer *tokenizer = load(tokenizer_path);
    tokenizer_assert_vectors(tokenizer, texts_path, ids_path);
    rf_tokenizer_destroy(&tokenizer);
}

static void encode__gpt2_vectors__are_equal(void **state)
{
    (void)state;
    skip_without("tokenizers/vectors");
    check_vectors("tokenizers/gpt2", "tokenizers/vectors/ggml-vocab-gpt-2.gguf.inp",
                  "tokenizers/vectors/ggml-vocab-gpt-2.gguf.out");
}

static void encode__llama2_vectors__are_equal(void **state)
{
    (void)state;
    skip_without("tokenizers/vectors");
    check_vectors("tokenizers/llama2", "tokenizers/vectors/ggml-vocab-llama-spm.gguf.inp",
                  "tokenizers/vectors/ggml-vocab-llama-spm.gguf.out");
}

static void check_there_and_back(const rf_tokenizer *tokenizer, const char *path)
{
    size_t size = 0, length = 0;
    char *text = rf_test_read_file(path, &size), *back = NULL;
    rf_ids ids = {0};
    if (size > MOST_BYTES) size = MOST_BYTES;
    while (size && ((unsigned char)text[size] & 0xC0) == 0x80) size--; /* not inside a character */
    assert_ok(rf_tokenizer_encode(tokenizer, text, size, 0, &ids));
    assert_ok(rf_tokenizer_decode(tokenizer, ids.ids, ids.count, 0, &back, &length));
    if (length != size || memcmp(text, back, size) != 0) fail_msg("%s does not come back", path);
    free(text);
    free(back);
    free(ids.ids);
}

/* All files below a folder, one after the other. */
static void walk(const rf_tokenizer *tokenizer, const char *folder)
{
    DIR *entries = opendir(folder);
    assert_non_null(entries);
    for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
        char path[4096];
        struct stat info;
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        assert_int_equal(stat(path, &info), 0);
        if (S_ISDIR(info.st_mode))
            walk(tokenizer, path);
        else
            check_there_and_back(tokenizer, path);
    }
    closedir(entries);
}

static void check_data(const char *tokenizer_path)
{
    rf_tokenizer *tokenizer = load(tokenizer_path);
    walk(tokenizer, rf_shared_path("data"));
    rf_tokenizer_destroy(&tokenizer);
}

static void decode__of_encoded_data__is_the_data_gpt2(void **state)
{
    (void)state;
    skip_without("tokenizers/gpt2");
    skip_without("data");
    check_data("tokenizers/gpt2");
}

static void decode__of_encoded_data__is_the_data_llama2(void **state)
{
    (void)state;
    skip_without("tokenizers/llama2");
    skip_without("data");
    check_data("tokenizers/llama2");
}

static void decode__of_encoded_data__is_the_data_stories(void **state)
{
    (void)state;
    skip_without("models/stories260K");
    skip_without("data");
    check_data("models/stories260K");
}

static void load__llama2_folder__knows_its_special_tokens(void **state)
{
    (void)state;
    skip_without("tokenizers/llama2");
    rf_tokenizer *tokenizer = load("tokenizers/llama2");
    rf_ids ids = {0};
    assert_int_equal(rf_tokenizer_size(tokenizer), 32000);
    assert_int_equal(rf_tokenizer_bos(tokenizer), 1);
    assert_int_equal(rf_tokenizer_eos(tokenizer), 2);
    assert_int_equal(rf_tokenizer_id(tokenizer, "</s>"), 2);
    assert_string_equal(rf_tokenizer_piece(tokenizer, 15043), "\xE2\x96\x81Hello");
    assert_ok(rf_tokenizer_encode(tokenizer, "Hello</s>", 9, 1, &ids));
    assert_int_equal(ids.count, 3);
    assert_memory_equal(ids.ids, ((int32_t[]){1, 15043, 2}), 12);
    free(ids.ids);
    rf_tokenizer_destroy(&tokenizer);
}

static const struct CMUnitTest tokenizer[] = {
    cmocka_unit_test(encode__gpt2_vectors__are_equal),
    cmocka_unit_test(encode__llama2_vectors__are_equal),
    cmocka_unit_test(decode__of_encoded_data__is_the_data_gpt2),
    cmocka_unit_test(decode__of_encoded_data__is_the_data_llama2),
    cmocka_unit_test(decode__of_encoded_data__is_the_data_stories),
    cmocka_unit_test(load__llama2_folder__knows_its_special_tokens),
};
RF_TEST_MAIN(tokenizer)
