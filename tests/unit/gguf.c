/* The file format: what is read, and that nothing damaged is believed. */
#include "rf_test.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "gguf_writer.h"
#include "refract/io/inspect.h"

static const char *in_folder(const char *name)
{
    static char path[4200];
    snprintf(path, sizeof path, "%s/%s", rf_test_folder(), name);
    return path;
}

static const float four[4] = {1, 2, 3, 4};

/* A sound file of two tensors with every kind of value. */
static gguf_writer small_file(void)
{
    static const char *const words[] = {"one", "", "drei \xC3\xA4"};
    static const int32_t numbers[] = {-1, 0, 7};
    const int8_t minus = -3;
    const uint64_t big = UINT64_MAX;
    const double third = 1.0 / 3;
    gguf_writer w = gguf_begin();
    gguf_text(&w, "general.architecture", "llama");
    gguf_u32(&w, "count", 12);
    gguf_f32(&w, "ratio", 0.5f);
    gguf_bool(&w, "yes", 1);
    gguf_key(&w, "minus", RF_GGUF_I8);
    gguf_put(&w.keys, &minus, 1);
    gguf_key(&w, "big", RF_GGUF_U64);
    gguf_put(&w.keys, &big, 8);
    gguf_key(&w, "third", RF_GGUF_F64);
    gguf_put(&w.keys, &third, 8);
    gguf_texts(&w, "words", words, 3);
    gguf_i32s(&w, "numbers", numbers, 3);
    gguf_tensor(&w, "b", 0, 2, 2, four, sizeof four);
    gguf_tensor(&w, "a", 0, 0, 4, four, sizeof four);
    return w;
}

static void refused(gguf_writer *w, const char *message)
{
    rf_gguf *gguf = NULL;
    gguf_end(w, in_folder("bad.gguf"));
    assert_status(rf_gguf_open(&gguf, in_folder("bad.gguf")), RF_INPUT);
    assert_null(gguf);
    assert_message_has(message);
    assert_message_has("bad.gguf");
}

static void open__sound_file__gives_every_value_and_tensor(void **state)
{
    (void)state;
    gguf_writer w = small_file();
    gguf_end(&w, in_folder("small.gguf"));
    rf_gguf *g = NULL;
    assert_true(rf_gguf_recognises(in_folder("small.gguf")));
    assert_ok(rf_gguf_open(&g, in_folder("small.gguf")));
    assert_int_equal(rf_gguf_count(g), 9);
    int64_t whole = 0;
    double number = 0;
    int flag = 0;
    rf_bytes text = {0};
    assert_ok(rf_gguf_whole(g, "count", 0, 100, &whole));
    assert_int_equal(whole, 12);
    assert_ok(rf_gguf_whole(g, "minus", -10, 0, &whole));
    assert_int_equal(whole, -3);
    assert_ok(rf_gguf_whole(g, "nowhere", 0, 0, &whole));
    assert_int_equal(whole, -3);
    assert_ok(rf_gguf_number(g, "ratio", 0, 1, &number));
    assert_true(number == 0.5);
    assert_ok(rf_gguf_number(g, "third", 0, 1, &number));
    assert_true(number == 1.0 / 3);
    assert_ok(rf_gguf_flag(g, "yes", &flag));
    assert_int_equal(flag, 1);
    assert_ok(rf_gguf_text(g, "general.architecture", &text));
    assert_memory_equal(text.at, "llama", text.length);
    rf_gguf_strings words = {.value = rf_gguf_find(g, "words")};
    assert_true(rf_gguf_next_string(&words) && words.text.length == 3);
    assert_true(rf_gguf_next_string(&words) && words.text.length == 0);
    assert_true(rf_gguf_next_string(&words) && memcmp(words.text.at, "drei \xC3\xA4", 7) == 0);
    assert_false(rf_gguf_next_string(&words));
    assert_true(rf_gguf_whole_at(rf_gguf_find(g, "numbers"), 0, &whole));
    assert_int_equal(whole, -1);
    assert_false(rf_gguf_whole_at(rf_gguf_find(g, "big"), 0, &whole));

    float values[4] = {0};
    const rf_tensor_info *b = rf_safetensors_find(rf_gguf_tensors(g), "b");
    assert_int_equal(b->dims, 2);
    assert_int_equal(b->begin % 32, 0);
    assert_ok(rf_safetensors_load(rf_gguf_tensors(g), "a", RF_F32, values, 4));
    assert_memory_equal(values, four, sizeof four);
    rf_gguf_close(&g);
    assert_null(g);
}

static void ask__another_type_or_range__names_file_and_key(void **state)
{
    (void)state;
    gguf_writer w = small_file();
    gguf_end(&w, in_folder("small.gguf"));
    rf_gguf *g = NULL;
    assert_ok(rf_gguf_open(&g, in_folder("small.gguf")));
    int64_t whole = 0;
    double number = 0;
    int flag = 0;
    rf_bytes text = {0};
    const rf_gguf_value *value = NULL;
    assert_status(rf_gguf_whole(g, "ratio", 0, 1, &whole), RF_INPUT);
    assert_message_has("'ratio' is of type f32, not a whole number (");
    assert_status(rf_gguf_whole(g, "numbers", 0, 1, &whole), RF_INPUT);
    assert_message_has("'numbers' is an array of i32");
    assert_status(rf_gguf_whole(g, "big", 0, INT64_MAX, &whole), RF_INPUT);
    assert_status(rf_gguf_whole(g, "count", 20, 30, &whole), RF_INPUT);
    assert_message_has("'count' = 12 is not in 20 ... 30");
    assert_status(rf_gguf_number(g, "general.architecture", 0, 1, &number), RF_INPUT);
    assert_status(rf_gguf_number(g, "ratio", 1, 2, &number), RF_INPUT);
    assert_message_has("'ratio' = 0.5");
    assert_status(rf_gguf_flag(g, "count", &flag), RF_INPUT);
    assert_status(rf_gguf_text(g, "words", &text), RF_INPUT);
    assert_status(rf_gguf_array(g, "words", RF_GGUF_I32, &value), RF_INPUT);
    assert_message_has("'words' is an array of string, not an array of i32");
    assert_status(rf_gguf_require(g, "nowhere"), RF_INPUT);
    assert_message_has("key 'nowhere' is missing");
    assert_message_has("small.gguf");
    rf_gguf_close(&g);
}

static void open__other_versions_and_files__are_refused_by_name(void **state)
{
    (void)state;
    rf_gguf *g = NULL;
    gguf_writer w = small_file();
    w.version = 2;
    refused(&w, "GGUF version 2 is not supported");
    w = small_file();
    w.version = 0x03000000;
    refused(&w, "big-endian");
    rf_test_write_file(in_folder("text"), "hello, hello", 12);
    assert_false(rf_gguf_recognises(in_folder("text")));
    assert_status(rf_gguf_open(&g, in_folder("text")), RF_INPUT);
    assert_message_has("does not begin with GGUF");
    assert_status(rf_gguf_open(&g, in_folder("nowhere")), RF_INPUT);
    assert_message_has("nowhere");
    assert_status(rf_gguf_open(&g, rf_test_folder()), RF_INPUT);
    assert_false(rf_gguf_recognises(in_folder("nowhere")));
}

static void put_array(gguf_writer *w, const char *key, uint32_t item, uint64_t count)
{
    gguf_key(w, key, RF_GGUF_ARRAY);
    gguf_put(&w->keys, &item, sizeof item);
    gguf_put(&w->keys, &count, sizeof count);
}

static void open__bad_keys__are_named(void **state)
{
    (void)state;
    const unsigned char two = 2;
    const uint64_t huge = UINT64_MAX;
    gguf_writer w = small_file();
    gguf_u32(&w, "count", 3);
    refused(&w, "key 'count' is there twice");
    w = small_file();
    gguf_key(&w, "odd", (rf_gguf_type)13);
    refused(&w, "key 'odd' has the unknown type 13");
    w = small_file();
    gguf_key(&w, "maybe", RF_GGUF_BOOL);
    gguf_put(&w.keys, &two, 1);
    refused(&w, "key 'maybe' is neither true nor false");
    w = small_file();
    put_array(&w, "nested", RF_GGUF_ARRAY, 1);
    refused(&w, "key 'nested' is an array of arrays");
    w = small_file();
    put_array(&w, "vast", RF_GGUF_F64, UINT64_MAX / 4);
    refused(&w, "the file ends within key 'vast'");
    w = small_file();
    put_array(&w, "vast", RF_GGUF_STRING, 1000);
    gguf_put(&w.keys, &huge, sizeof huge);
    refused(&w, "key 'vast'");
    w = small_file();
    gguf_text(&w, "latin", "\xE4");
    refused(&w, "key 'latin' holds a string that is not UTF-8");
    w = small_file();
    gguf_text(&w, "", "nothing");
    refused(&w, "the name of key 9 is empty");
    w = small_file();
    gguf_u32(&w, "general.alignment", 48);
    refused(&w, "'general.alignment' 48 is no power of two");
    w = small_file();
    w.key_count = UINT64_MAX;
    refused(&w, "key");
}

static void open__bad_tensors__are_named(void **state)
{
    (void)state;
    gguf_writer w = small_file();
    gguf_tensor(&w, "c", 77, 0, 4, four, sizeof four);
    refused(&w, "tensor 'c' has the unknown type 77");
    w = small_file();
    gguf_tensor(&w, "c", gguf_number_of(RF_Q4_0), 2, 33, four, sizeof four);
    refused(&w, "tensor 'c' has rows of 33 items, which are no blocks of Q4_0");
    w = small_file();
    gguf_tensor(&w, "c", 0, 1, 5, four, sizeof four);
    refused(&w, "tensor 'c' reaches beyond the end of the file");
    w = small_file();
    gguf_tensor(&w, "c", 0, INT64_MAX / 2, 4, four, sizeof four);
    refused(&w, "tensor 'c' is too large");
    w = small_file();
    gguf_tensor(&w, "c", 0, 1, -4, four, sizeof four);
    refused(&w, "tensor 'c' is too large");
    w = small_file();
    gguf_tensor(&w, "a", 0, 1, 4, four, sizeof four);
    refused(&w, "tensor 'a'");
    w = small_file();
    w.alignment = 8;
    gguf_tensor(&w, "c", 0, 0, 2, four, 8);
    refused(&w, "tensor 'c' begins at 48, no multiple of 32");
    w = small_file();
    gguf_tensor(&w, "c", 0, 0, 12, four, sizeof four);
    gguf_tensor(&w, "d", 0, 0, 4, four, sizeof four);
    refused(&w, "tensors 'c' and 'd' overlap");
    w = small_file();
    gguf_tensor(&w, "a_name_that_is_longer_than_the_sixty_four_bytes_that_the_format_allows_it", 0,
                0, 4, four, sizeof four);
    refused(&w, "has a string of");
}

static void open__another_alignment__is_followed(void **state)
{
    (void)state;
    rf_gguf *g = NULL;
    float values[4] = {0};
    gguf_writer w = gguf_begin();
    w.alignment = 256;
    gguf_u32(&w, "general.alignment", 256);
    gguf_tensor(&w, "a", 0, 0, 2, four, 8);
    gguf_tensor(&w, "b", 0, 0, 4, four, sizeof four);
    gguf_end(&w, in_folder("wide.gguf"));
    assert_ok(rf_gguf_open(&g, in_folder("wide.gguf")));
    assert_int_equal(rf_gguf_alignment(g), 256);
    assert_int_equal(rf_safetensors_find(rf_gguf_tensors(g), "b")->begin % 256, 0);
    assert_ok(rf_safetensors_load(rf_gguf_tensors(g), "b", RF_F32, values, 4));
    assert_memory_equal(values, four, sizeof four);
    rf_gguf_close(&g);
}

static void load__type_that_is_only_listed__is_refused_by_name(void **state)
{
    (void)state;
    rf_gguf *g = NULL;
    float values[256];
    char block[176] = {0};
    gguf_writer w = gguf_begin();
    gguf_tensor(&w, "a", 13, 0, 256, block, sizeof block);
    gguf_end(&w, in_folder("q5_k.gguf"));
    assert_ok(rf_gguf_open(&g, in_folder("q5_k.gguf")));
    assert_status(rf_safetensors_load(rf_gguf_tensors(g), "a", RF_F32, values, 256), RF_INPUT);
    assert_message_has("tensor 'a' of dtype Q5_K cannot be read as f32");
    rf_gguf_close(&g);
}

/* Cut at every length, and every byte of the head changed: refused, or read without harm. */
static void open__cut_or_changed_anywhere__does_no_harm(void **state)
{
    (void)state;
    gguf_writer w = small_file();
    gguf_end(&w, in_folder("whole.gguf"));
    size_t length = 0;
    char *bytes = rf_test_read_file(in_folder("whole.gguf"), &length);
    for (size_t cut = 0; cut < length; cut++) {
        rf_gguf *g = NULL;
        rf_test_write_file(in_folder("cut.gguf"), bytes, cut);
        assert_status(rf_gguf_open(&g, in_folder("cut.gguf")), RF_INPUT);
    }
    FILE *out = fopen("/dev/null", "w");
    for (size_t at = 0; at < length; at++) {
        rf_gguf *g = NULL;
        const char kept = bytes[at];
        bytes[at] = (char)(kept ^ (const char[]){0x01, 0x40, -1}[at % 3]);
        rf_test_write_file(in_folder("cut.gguf"), bytes, length);
        bytes[at] = kept;
        const rf_status status = rf_gguf_open(&g, in_folder("cut.gguf"));
        assert_true(status == RF_OK || status == RF_INPUT);
        if (status == RF_OK) assert_ok(rf_inspect(out, in_folder("cut.gguf"), 1));
        rf_gguf_close(&g);
    }
    fclose(out);
    free(bytes);
}

static void inspect__gguf__lists_keys_and_tensors(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    gguf_writer w = small_file();
    gguf_end(&w, in_folder("small.gguf"));
    FILE *out = open_memstream(&text, &size);
    assert_ok(rf_inspect(out, in_folder("small.gguf"), 1));
    fclose(out);
    assert_non_null(strstr(text, "GGUF version 3, 2 tensors, 8 numbers, 32 bytes"));
    assert_non_null(strstr(text, "\"llama\""));
    assert_non_null(strstr(text, "3 string: \"one\", \"\", \"drei"));
    assert_non_null(strstr(text, "3 i32: -1, 0, 7\n"));
    assert_non_null(strstr(text, "F32     [2, 2]"));
    assert_non_null(strstr(text, "verified"));
    free(text);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(open__sound_file__gives_every_value_and_tensor),
    cmocka_unit_test(ask__another_type_or_range__names_file_and_key),
    cmocka_unit_test(open__other_versions_and_files__are_refused_by_name),
    cmocka_unit_test(open__bad_keys__are_named),
    cmocka_unit_test(open__bad_tensors__are_named),
    cmocka_unit_test(open__another_alignment__is_followed),
    cmocka_unit_test(load__type_that_is_only_listed__is_refused_by_name),
    cmocka_unit_test(open__cut_or_changed_anywhere__does_no_harm),
    cmocka_unit_test(inspect__gguf__lists_keys_and_tensors),
};
RF_TEST_MAIN(tests)
