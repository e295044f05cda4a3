/* Files that are damaged, wrong or not supported fail with the reason; none brings the program
 * down. */
#include "rf_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tokenizer_fixture.h"

static void refused(const char *json, const char *reason)
{
    rf_tokenizer *tokenizer = NULL;
    assert_status(rf_tokenizer_parse(&tokenizer, json, strlen(json), NULL, 0, "dir/tokenizer.json"),
                  RF_INPUT);
    assert_null(tokenizer);
    assert_message_has(reason);
    assert_message_has("dir/tokenizer.json");
}

static void refused_part(const char *part, const char *reason)
{
    char *json = tokenizer_json(part, "a b ab", "a b", "");
    refused(json, reason);
    free(json);
}

static void parse__kinds_not_supported__are_named(void **state)
{
    (void)state;
    refused("{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", "Unigram");
    refused("{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", "WordPiece");
    refused("{\"model\":{\"vocab\":{}}}", "none named");
    refused_part("\"normalizer\":{\"type\":\"Precompiled\"}", "Precompiled");
    refused_part("\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}", "UnicodeScripts");
    refused_part("\"post_processor\":{\"type\":\"BertProcessing\"}", "BertProcessing");
    refused_part("\"decoder\":{\"type\":\"WordPiece\"}", "WordPiece");
    refused("{\"version\":\"9.0\",\"model\":{}}", "9.0");
}

static void parse__wrong_values__are_named(void **state)
{
    (void)state;
    refused_part("\"normalizer\":7", "normalizer");
    refused_part("\"normalizer\":{\"type\":\"Prepend\"}", "'prepend'");
    refused_part("\"normalizer\":{\"type\":\"Strip\",\"strip_left\":1}", "'strip_left'");
    refused_part("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},"
                 "\"behavior\":\"Removed\"}",
                 "cannot be compiled");
    refused_part("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a&&b]\"},"
                 "\"behavior\":\"Removed\"}",
                 "intersection");
    refused_part("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"\"},"
                 "\"behavior\":\"Removed\"}",
                 "empty pattern");
    refused_part("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},"
                 "\"behavior\":\"Cut\"}",
                 "'Cut'");
    refused_part("\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"ab\"}",
                 "one character");
    refused_part("\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\","
                 "\"add_prefix_space\":false,\"prepend_scheme\":\"first\"}",
                 "contradicts");
    refused_part("\"pre_tokenizer\":{\"type\":\"Sequence\"}", "'pretokenizers'");
    refused_part("\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":-1,\"stop\":0}",
                 "'start'");
}

static void parse__templates_that_cannot_be__are_named(void **state)
{
    (void)state;
    refused_part("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}",
                 "must contain A");
    refused_part("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
                 "{\"SpecialToken\":{\"id\":\"S\"}},{\"Sequence\":{\"id\":\"A\"}}]}",
                 "'S'");
    refused_part("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
                 "{\"SpecialToken\":{\"id\":\"S\"}},{\"Sequence\":{\"id\":\"A\"}}],"
                 "\"special_tokens\":{\"S\":{\"ids\":[3]}}}",
                 "outside the vocabulary");
}

static void parse__vocabularies_that_contradict_themselves__are_named(void **state)
{
    (void)state;
    refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", "id 0");
    refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]}}",
            "duplicate");
    refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}", "'a'");
    refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":2000000000},\"merges\":[]}}", "'a'");
    refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":1.5},\"merges\":[]}}", "'a'");
    refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", "'b'");
    refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}}", "'aa'");
    refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}", "merge 0");
    refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a a\"]}}", "merge 0");
    refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}", "merge 0");
    refused("{\"model\":{\"type\":\"BPE\",\"vocab\":[],\"merges\":[]}}", "'vocab'");
    refused("{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[],\"dropout\":0.1}}",
            "'dropout'");
}

static void parse__added_tokens_that_contradict__are_named(void **state)
{
    (void)state;
    refused_part("\"added_tokens\":{}", "'added_tokens'");
    refused_part("\"added_tokens\":[3]", "object");
    refused_part("\"added_tokens\":[{\"id\":9}]", "'content'");
    refused_part("\"added_tokens\":[{\"id\":9,\"content\":\"\"}]", "empty");
    refused_part("\"added_tokens\":[{\"content\":\"x\"}]", "'x'");
    refused_part("\"added_tokens\":[{\"id\":20000000,\"content\":\"x\"}]", "'x'");
    refused_part("\"added_tokens\":[{\"id\":1,\"content\":\"a\"}]", "'a'");
    refused_part("\"added_tokens\":[{\"id\":1,\"content\":\"x\"}]", "'b'");
    refused_part("\"added_tokens\":[{\"id\":5,\"content\":\"x\"},{\"id\":5,\"content\":\"y\"}]",
                 "id 5");
    refused_part("\"added_tokens\":[{\"id\":5,\"content\":\"x\"},{\"id\":6,\"content\":\"x\"}]",
                 "twice");
}

static void encode__text_that_is_not_utf8__is_refused_whole(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "a\xFF", "a\xC3", "a\xC0\x80", "a\xED\xA0\x80", "a\xF4\x90\x80\x80", "abcdefgh\x80"};
    rf_tokenizer *tokenizer = tokenizer_of("", "a b ab", "a b", "");
    rf_ids ids = {0};
    assert_ok(rf_tokenizer_encode(tokenizer, "ab", 2, 0, &ids));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_status(rf_tokenizer_encode(tokenizer, bad[i], strlen(bad[i]), 0, &ids), RF_INPUT);
        assert_message_has("UTF-8");
        assert_int_equal(ids.count, 1);
    }
    free(ids.ids);
    rf_tokenizer_destroy(&tokenizer);
}

static void encode__missing_unknown_token__is_refused_when_needed(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = tokenizer_of("", "a b", "", "\"unk_token\":\"<unk>\"");
    rf_ids ids = {0};
    assert_tokens(tokenizer, "ab", "a|b");
    assert_status(rf_tokenizer_encode(tokenizer, "axb", 3, 0, &ids), RF_INPUT);
    assert_message_has("<unk>");
    assert_int_equal(ids.count, 0);
    free(ids.ids);
    rf_tokenizer_destroy(&tokenizer);
}

/* A file with every kind of part in it. */
static char *full_file(void)
{
    return tokenizer_json(
        "\"added_tokens\":[{\"id\":6,\"content\":\"<s>\",\"special\":true,\"lstrip\":true},"
        "{\"id\":7,\"content\":\"zz\",\"normalized\":true,\"single_word\":true}],"
        "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKC\"},{\"type\":"
        "\"Lowercase\"},"
        "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s+\"},\"content\":\" \"}]},"
        "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
        "\"pattern\":"
        "{\"Regex\":\"[^\\\\r\\\\n]?\\\\p{L}+|[x[yz]]|\\\\s+(?!\\\\S)\"},\"behavior\":"
        "\"MergedWithNext\","
        "\"invert\":false},{\"type\":\"Digits\",\"individual_digits\":true},{\"type\":"
        "\"Metaspace\","
        "\"replacement\":\"_\",\"prepend_scheme\":\"first\",\"split\":true}]},"
        "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":"
        "\"<s>\","
        "\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"special_tokens\":{\"<s>\":{"
        "\"id\":"
        "\"<s>\",\"ids\":[6],\"tokens\":[\"<s>\"]}}},"
        "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteFallback\"},{\"type\":"
        "\"Strip\","
        "\"content\":\" "
        "\",\"start\":1,\"stop\":2},{\"type\":\"Metaspace\",\"replacement\":\"_\"}]}",
        "a b _ ab _a <unk>", "a b,_ a",
        "\"unk_token\":\"<unk>\",\"fuse_unk\":true,\"byte_fallback\":true,\"ignore_merges\":false");
}

/* Whatever can be parsed has to encode and decode, or say why not. */
static int try_file(const char *json, size_t length)
{
    rf_tokenizer *tokenizer = NULL;
    rf_ids ids = {0};
    char *text = NULL;
    const rf_status status = rf_tokenizer_parse(&tokenizer, json, length, NULL, 0, "damaged");
    assert_true(status == RF_OK || status == RF_INPUT);
    if (status != RF_OK) return 0;
    static const char sample[] = "Ab <s>12  abab zz\n\xE1\xBA\xAD\xF0\x9F\xA6\x99 x";
    if (rf_tokenizer_encode(tokenizer, sample, sizeof sample - 1, 1, &ids) == RF_OK &&
        rf_tokenizer_decode(tokenizer, ids.ids, ids.count, 1, &text, NULL) == RF_OK)
        free(text);
    free(ids.ids);
    rf_tokenizer_destroy(&tokenizer);
    return 1;
}

static void parse__cut_short_anywhere__is_refused(void **state)
{
    (void)state;
    char *json = full_file();
    const size_t length = strlen(json);
    assert_true(try_file(json, length));
    for (size_t cut = 0; cut < length; cut++) {
        char *shorter = malloc(cut + 1); /* so that reading beyond the end is seen */
        memcpy(shorter, json, cut);
        assert_false(try_file(shorter, cut));
        free(shorter);
    }
    free(json);
}

static void parse__flipped_bytes__never_bring_it_down(void **state)
{
    (void)state;
    char *json = full_file();
    const size_t length = strlen(json);
    int parsed = 0;
    for (size_t at = 0; at < length; at++) {
        const char before = json[at];
        for (int bit = 0; bit < 8; bit += 4) {
            json[at] = (char)(before ^ 1 << (bit + (int)(at % 4)));
            parsed += try_file(json, length);
        }
        json[at] = before;
    }
    assert_true(parsed > 100);
    free(json);
}

static const struct CMUnitTest tokenizer_damage[] = {
    cmocka_unit_test(parse__kinds_not_supported__are_named),
    cmocka_unit_test(parse__wrong_values__are_named),
    cmocka_unit_test(parse__templates_that_cannot_be__are_named),
    cmocka_unit_test(parse__vocabularies_that_contradict_themselves__are_named),
    cmocka_unit_test(parse__added_tokens_that_contradict__are_named),
    cmocka_unit_test(encode__text_that_is_not_utf8__is_refused_whole),
    cmocka_unit_test(encode__missing_unknown_token__is_refused_when_needed),
    cmocka_unit_test(parse__cut_short_anywhere__is_refused),
    cmocka_unit_test(parse__flipped_bytes__never_bring_it_down),
};
RF_TEST_MAIN(tokenizer_damage)
