/* Folders: tokenizer.json and the files beside it. */
#include "rf_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tokenizer_fixture.h"

/* A folder for one test, with a tokenizer.json whose ids 3 and 4 are <s> and </s>. */
static const char *fresh_folder(const char *name)
{
    static char folder[4096];
    snprintf(folder, sizeof folder, "%s/%s", rf_test_folder(), name);
    assert_int_equal(mkdir(folder, 0700), 0);
    return folder;
}

static void put(const char *folder, const char *name, const char *text)
{
    char path[8192];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    rf_test_write_file(path, text, strlen(text));
}

static void put_tokenizer(const char *folder)
{
    char *json = tokenizer_json("\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"special\":true},"
                                "{\"id\":4,\"content\":\"</s>\",\"special\":true}]",
                                "a b ab", "a b", "");
    put(folder, "tokenizer.json", json);
    free(json);
}

static rf_tokenizer *load(const char *folder)
{
    rf_tokenizer *tokenizer = NULL;
    assert_ok(rf_tokenizer_load(&tokenizer, folder));
    return tokenizer;
}

static void load__alone__has_no_special_tokens(void **state)
{
    (void)state;
    const char *folder = fresh_folder("alone");
    put_tokenizer(folder);
    rf_tokenizer *tokenizer = load(folder);
    assert_int_equal(rf_tokenizer_bos(tokenizer), -1);
    assert_int_equal(rf_tokenizer_pad(tokenizer), -1);
    assert_null(rf_tokenizer_chat_template(tokenizer));
    assert_special_tokens(tokenizer, "ab", "ab");
    assert_int_equal(rf_tokenizer_size(tokenizer), 5);
    assert_int_equal(rf_tokenizer_id(tokenizer, "<s>"), 3);
    assert_int_equal(rf_tokenizer_id(tokenizer, "nothing"), -1);
    assert_null(rf_tokenizer_piece(tokenizer, 5));
    rf_tokenizer_destroy(&tokenizer);
}

static void load__config__names_tokens_and_adds_them(void **state)
{
    (void)state;
    const char *folder = fresh_folder("config");
    put_tokenizer(folder);
    put(folder, "tokenizer_config.json",
        "{\"bos_token\":{\"__type\":\"AddedToken\",\"content\":\"<s>\"},\"eos_token\":\"</s>\","
        "\"unk_token\":null,\"add_bos_token\":true,\"add_eos_token\":true,\"chat_template\":"
        "\"T\"}");
    put(folder, "special_tokens_map.json",
        "{\"bos_token\":\"a\",\"pad_token\":\"</s>\",\"unk_token\":{\"content\":\"b\"}}");
    rf_tokenizer *tokenizer = load(folder);
    assert_int_equal(rf_tokenizer_bos(tokenizer), 3);
    assert_int_equal(rf_tokenizer_eos(tokenizer), 4);
    assert_int_equal(rf_tokenizer_pad(tokenizer), 4);
    assert_int_equal(rf_tokenizer_unk(tokenizer), 1);
    assert_string_equal(rf_tokenizer_chat_template(tokenizer), "T");
    assert_special_tokens(tokenizer, "ab", "<s>|ab|</s>");
    rf_tokenizer_destroy(&tokenizer);
}

static void load__chat_templates__default_of_a_list_or_a_file(void **state)
{
    (void)state;
    const char *folder = fresh_folder("chat");
    put_tokenizer(folder);
    put(folder, "tokenizer_config.json",
        "{\"chat_template\":[{\"name\":\"tool\",\"template\":\"X\"},"
        "{\"name\":\"default\",\"template\":\"D\"}]}");
    rf_tokenizer *tokenizer = load(folder);
    assert_string_equal(rf_tokenizer_chat_template(tokenizer), "D");
    rf_tokenizer_destroy(&tokenizer);
    put(folder, "chat_template.jinja", "J\n");
    tokenizer = load(folder);
    assert_string_equal(rf_tokenizer_chat_template(tokenizer), "J\n");
    rf_tokenizer_destroy(&tokenizer);
}

static void load__file_in_the_working_folder__finds_its_neighbours(void **state)
{
    (void)state;
    const char *folder = fresh_folder("here");
    char before[4096];
    put_tokenizer(folder);
    put(folder, "tokenizer_config.json", "{\"eos_token\":\"</s>\"}");
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(folder), 0);
    rf_tokenizer *tokenizer = load("tokenizer.json");
    assert_int_equal(chdir(before), 0);
    assert_int_equal(rf_tokenizer_eos(tokenizer), 4);
    rf_tokenizer_destroy(&tokenizer);
}

static void refused(const char *path, const char *reason)
{
    rf_tokenizer *tokenizer = NULL;
    assert_status(rf_tokenizer_load(&tokenizer, path), RF_INPUT);
    assert_null(tokenizer);
    assert_message_has(reason);
}

static void load__what_is_not_there_or_wrong__is_named(void **state)
{
    (void)state;
    refused("/nowhere/at/all", "/nowhere/at/all");
    const char *folder = fresh_folder("wrong");
    refused(folder, "tokenizer.model");
    put_tokenizer(folder);
    put(folder, "tokenizer_config.json", "{\"bos_token\":7}");
    refused(folder, "wrong/tokenizer_config.json");
    put(folder, "tokenizer_config.json", "{\"add_bos_token\":true}");
    refused(folder, "add_bos_token");
    put(folder, "tokenizer_config.json", "{");
    refused(folder, "wrong/tokenizer_config.json");
    put(folder, "tokenizer_config.json", "{}");
    put(folder, "special_tokens_map.json", "[]");
    refused(folder, "wrong/special_tokens_map.json");
}

static const struct CMUnitTest tokenizer_files[] = {
    cmocka_unit_test(load__alone__has_no_special_tokens),
    cmocka_unit_test(load__config__names_tokens_and_adds_them),
    cmocka_unit_test(load__chat_templates__default_of_a_list_or_a_file),
    cmocka_unit_test(load__file_in_the_working_folder__finds_its_neighbours),
    cmocka_unit_test(load__what_is_not_there_or_wrong__is_named),
};
RF_TEST_MAIN(tokenizer_files)
