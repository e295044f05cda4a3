/* The byte-pair model: order of merges, unknown characters, options; and texts as one long word. */
#include "rf_test.h"

#include <stdlib.h>
#include <string.h>

#include "refract/data/bpe.h"
#include "tokenizer_fixture.h"

static void check(const char *pieces, const char *merges, const char *options, const char *text,
                  const char *wanted)
{
    rf_tokenizer *tokenizer = tokenizer_of("", pieces, merges, options);
    assert_tokens(tokenizer, text, wanted);
    rf_tokenizer_destroy(&tokenizer);
}

static void merge__lowest_rank_first__then_leftmost(void **state)
{
    (void)state;
    check("a b c ab bc", "b c,a b", "", "abc", "a|bc");
    check("a b c ab bc", "a b,b c", "", "abc", "ab|c");
    check("a aa", "a a", "", "aaaaa", "aa|aa|a");
    check("a b ab aba", "a b,ab a", "", "ababa", "ab|aba");
    check("u n r e l a t d re at ed un ated rel related unrelated",
          "r e,a t,e d,u n,at ed,re l,rel ated,un related", "", "unrelated", "unrelated");
}

static void merge__pair_that_is_listed_twice__has_its_last_rank(void **state)
{
    (void)state;
    check("a b c ab bc", "a b,b c,a b", "", "abc", "a|bc");
}

static void encode__unknown_character__vanishes_without_unknown_token(void **state)
{
    (void)state;
    check("a b ab", "a b", "", "axb", "ab");
    check("a b", "", "", "x", "");
    check("a b", "", "", "", "");
}

static void encode__unknown_characters__are_fused_if_asked(void **state)
{
    (void)state;
    check("a b <unk>", "", "\"unk_token\":\"<unk>\"", "axyb", "a|<unk>|<unk>|b");
    check("a b <unk>", "", "\"unk_token\":\"<unk>\",\"fuse_unk\":true", "axyb", "a|<unk>|b");
    check("a b <unk>", "", "\"unk_token\":\"<unk>\",\"fuse_unk\":true", "xyz", "<unk>");
}

static void encode__byte_fallback__wants_all_bytes_of_a_character(void **state)
{
    (void)state;
    const char *options = "\"unk_token\":\"<unk>\",\"byte_fallback\":true";
    check("a <0xC3> <0xA9> <0x0A> <unk>", "", options, "a\xC3\xA9\n", "a|<0xC3>|<0xA9>|<0x0A>");
    check("a <0xC3> <unk>", "", options, "a\xC3\xA9", "a|<unk>");
    /* as in the reference library, a pending unknown token stands behind the bytes */
    check("a <0xC3> <0xA9> <unk>", "", options,
          "x\xC3\xA9"
          "a",
          "<0xC3>|<0xA9>|<unk>|a");
}

static void encode__ignore_merges__takes_whole_words_that_are_pieces(void **state)
{
    (void)state;
    check("a b c ab abc", "a b", "", "abc", "ab|c");
    check("a b c ab abc", "a b", "\"ignore_merges\":true", "abc", "abc");
    check("a b c ab abc", "a b", "\"ignore_merges\":true", "abca", "ab|c|a");
}

static void encode__prefix_and_suffix__mark_inner_and_last_characters(void **state)
{
    (void)state;
    const char *prefix = "\"continuing_subword_prefix\":\"##\"";
    const char *suffix = "\"end_of_word_suffix\":\"</w>\"";
    check("a ##b ##c ab abc", "a ##b,ab ##c", prefix, "abc", "abc");
    check("a b ##b ##c ab abc", "a ##b,ab ##c", prefix, "b", "b");
    check("a b b</w> ab ab</w>", "a b,a b</w>", suffix, "ab", "ab</w>");
    check("a b b</w> ab ab</w>", "a b,a b</w>", suffix, "abab", "ab|ab</w>");
}

static void parse__merges_as_pairs_or_as_lines__are_the_same(void **state)
{
    (void)state;
    static const char json[] = "{\"model\":{\"vocab\":{\"a\":0,\"b\":1,\" \":2,\"ab\":3,\"a b\":4,"
                               "\"a \":5},\"merges\":[[\"a\",\" \"],[\"a \",\"b\"]]}}";
    rf_tokenizer *tokenizer = NULL;
    assert_ok(rf_tokenizer_parse(&tokenizer, json, strlen(json), NULL, 0, "inline"));
    assert_tokens(tokenizer, "aba b", "a|b|a b");
    rf_tokenizer_destroy(&tokenizer);
}

/* Naive merging, for comparison: the lowest rank, leftmost, over and over. */
static size_t merge_naively(char word[][8], size_t count, const rf_bpe_merge *merges,
                            int merge_count)
{
    for (;;) {
        int best = merge_count;
        size_t where = 0;
        for (size_t i = 0; i + 1 < count; i++)
            for (int m = 0; m < best; m++)
                if (!strcmp(word[i], merges[m].left.at) &&
                    !strcmp(word[i + 1], merges[m].right.at)) {
                    best = m;
                    where = i;
                }
        if (best == merge_count) return count;
        memcpy(word[where] + strlen(word[where]), word[where + 1], strlen(word[where + 1]) + 1);
        memmove(word[where + 1], word[where + 2], (count - where - 2) * sizeof *word);
        count--;
    }
}

#define BYTES(text)                                                                                \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
static const rf_bpe_piece pieces[] = {
    {BYTES("a"), 0},   {BYTES("b"), 1},    {BYTES("c"), 2},    {BYTES("_"), 3},  {BYTES("ab"), 4},
    {BYTES("_a"), 5},  {BYTES("bc"), 6},   {BYTES("_ab"), 7},  {BYTES("aa"), 8}, {BYTES("__"), 9},
    {BYTES("ca"), 10}, {BYTES("aab"), 11}, {BYTES("bca"), 12},
};
static const rf_bpe_merge merges[] = {
    {BYTES("a"), BYTES("b")},  {BYTES("_"), BYTES("a")},  {BYTES("b"), BYTES("c")},
    {BYTES("_"), BYTES("ab")}, {BYTES("a"), BYTES("a")},  {BYTES("_"), BYTES("_")},
    {BYTES("c"), BYTES("a")},  {BYTES("a"), BYTES("ab")}, {BYTES("bc"), BYTES("a")},
};
enum { PIECES = sizeof pieces / sizeof *pieces, MERGES = sizeof merges / sizeof *merges };

/* Words of all lengths: scanned, on a heap, cut where no merge reaches ("b_" and "c_" do not join).
 */
static void encode__random_words__equals_naive_merging(void **state)
{
    (void)state;
    const rf_bpe_source source = {"inline", pieces, PIECES, merges, MERGES, .ignore_merges = 0};
    rf_bpe *bpe = NULL;
    rf_bpe_work *work = NULL;
    static char naive[512][8], word[512];
    assert_ok(rf_bpe_create(&bpe, &source));
    assert_ok(rf_bpe_work_create(&work, 4096));
    for (uint64_t trial = 0; trial < 120; trial++) {
        const size_t length = 1 + (size_t)(trial * trial) % 250;
        rf_ids ids = {0};
        for (size_t i = 0; i < length; i++) {
            const double x = rf_test_value(trial, i);
            word[i] = "abc_"[x < -0.2 ? 0 : x < 0.3 ? 1 : x < 0.6 ? 2 : 3];
            naive[i][0] = word[i];
            naive[i][1] = '\0';
        }
        const size_t count = merge_naively(naive, length, merges, MERGES);
        assert_ok(rf_bpe_encode(bpe, work, word, length, &ids));
        assert_int_equal(ids.count, count);
        for (size_t i = 0; i < count; i++)
            assert_string_equal(rf_bpe_piece_of(bpe, ids.ids[i]).at, naive[i]);
        free(ids.ids);
    }
    rf_bpe_work_destroy(&work);
    rf_bpe_destroy(&bpe);
}

static void from_bpe__with_other_parts__is_a_tokenizer(void **state)
{
    (void)state;
    static const char parts[] =
        "{\"added_tokens\":[{\"id\":13,\"content\":\"<s>\",\"special\":true}],"
        "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\"}}";
    static const char config[] = "{\"bos_token\":\"<s>\",\"add_bos_token\":true}";
    const rf_bpe_source source = {"inline", pieces, PIECES, merges, MERGES, .ignore_merges = 0};
    rf_bpe *bpe = NULL;
    rf_tokenizer *tokenizer = NULL;
    assert_ok(rf_bpe_create(&bpe, &source));
    assert_ok(rf_tokenizer_from_bpe(&tokenizer, &bpe, parts, strlen(parts), config, strlen(config),
                                    "inline"));
    assert_null(bpe);
    assert_special_tokens(tokenizer, "ab aab<s>", "<s>|_ab|_a|ab|<s>");
    rf_tokenizer_destroy(&tokenizer);
}

static const struct CMUnitTest tokenizer_model[] = {
    cmocka_unit_test(merge__lowest_rank_first__then_leftmost),
    cmocka_unit_test(merge__pair_that_is_listed_twice__has_its_last_rank),
    cmocka_unit_test(encode__unknown_character__vanishes_without_unknown_token),
    cmocka_unit_test(encode__unknown_characters__are_fused_if_asked),
    cmocka_unit_test(encode__byte_fallback__wants_all_bytes_of_a_character),
    cmocka_unit_test(encode__ignore_merges__takes_whole_words_that_are_pieces),
    cmocka_unit_test(encode__prefix_and_suffix__mark_inner_and_last_characters),
    cmocka_unit_test(parse__merges_as_pairs_or_as_lines__are_the_same),
    cmocka_unit_test(encode__random_words__equals_naive_merging),
    cmocka_unit_test(from_bpe__with_other_parts__is_a_tokenizer),
};
RF_TEST_MAIN(tokenizer_model)
