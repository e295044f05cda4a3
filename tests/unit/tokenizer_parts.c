/* Every kind of normalizer, pre-tokenizer, added token, post-processor and decoder. */
#include "rf_test.h"

#include <stdio.h>
#include <stdlib.h>

#include "tokenizer_fixture.h"

/* Words that are pieces are tokens as they are; other characters are unknown one by one. */
#define WHOLE_WORDS "\"ignore_merges\":true,\"unk_token\":\"?\""

static void check(const char *key, const char *part, const char *pieces, const char *text,
                  const char *wanted)
{
    char parts[2048];
    snprintf(parts, sizeof parts, "\"%s\":%s", key, part);
    rf_tokenizer *tokenizer = tokenizer_of(parts, pieces, "", WHOLE_WORDS);
    assert_tokens(tokenizer, text, wanted);
    rf_tokenizer_destroy(&tokenizer);
}

static void normalized(const char *part, const char *text, const char *form)
{
    char pieces[64];
    snprintf(pieces, sizeof pieces, "? %s", form);
    check("normalizer", part, pieces, text, form);
}

static void normalize__unicode_forms(void **state)
{
    (void)state;
    normalized("{\"type\":\"NFC\"}", "e\xCC\x81", "\xC3\xA9");
    normalized("{\"type\":\"NFD\"}", "\xC3\xA9", "e\xCC\x81");
    normalized("{\"type\":\"NFKC\"}", "\xEF\xAC\x81\xEF\xBD\x86", "fif");
    normalized("{\"type\":\"NFKD\"}", "\xEF\xAC\x81\xC3\xA9", "fie\xCC\x81");
    normalized("{\"type\":\"NFC\"}", "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", "\xED\x95\x9C");
}

static void normalize__case_blanks_and_marks(void **state)
{
    (void)state;
    normalized("{\"type\":\"Lowercase\"}", "A\xC3\x89\xCE\xA3\xC4\xB0",
               "a\xC3\xA9\xCF\x83i\xCC\x87");
    normalized("{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":true}", " \t\xC2\xA0x\n",
               "x");
    normalized("{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":false}", " x.", "x.");
    normalized(
        "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFD\"},{\"type\":\"StripAccents\"}]}",
        "\xC3\xA9\xE1\xBA\xAD", "ea");
}

static void normalize__replace_prepend_and_bytes(void **state)
{
    (void)state;
    normalized("{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"_\"}", "a b  c",
               "a_b__c");
    normalized("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\"$1\"}",
               "a   b", "a$1b");
    normalized("{\"type\":\"Prepend\",\"prepend\":\"_\"}", "a", "_a");
    normalized("{\"type\":\"Prepend\",\"prepend\":\"_\"}", "", "");
    normalized("{\"type\":\"ByteLevel\"}", "a \n", "a\xC4\xA0\xC4\x8A");
}

/* Split at blanks in every way; blanks that stay become '_' so that they can be named here. */
static void split(const char *behavior, int invert, const char *pieces, const char *text,
                  const char *wanted)
{
    char part[256];
    snprintf(part, sizeof part,
             "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"_\"},\"behavior\":\"%s\",\"invert\":%s}",
             behavior, invert ? "true" : "false");
    check("pre_tokenizer", part, pieces, text, wanted);
}

static void split__every_behavior(void **state)
{
    (void)state;
    split("Removed", 0, "? the final down", "the_final__down", "the|final|down");
    split("Isolated", 0, "? the final down _", "the_final__down", "the|_|final|_|_|down");
    split("MergedWithPrevious", 0, "? the_ final_ down _", "the_final__down", "the_|final_|_|down");
    split("MergedWithNext", 0, "? the _final _down _", "the_final__down", "the|_final|_|_down");
    split("Contiguous", 0, "? the final down _ __", "the_final__down", "the|_|final|__|down");
    split("Removed", 1, "? _", "a_b__c", "_|_|_");
}

static const char llama3_words[] =
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\""
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}|"
    " ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},"
    "\"behavior\":\"Isolated\",\"invert\":false},"
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}";

static void split__as_llama3_does(void **state)
{
    (void)state;
    check("pre_tokenizer", llama3_words,
          "? I 'M \xC4\xA0"
          "fine \xC4\xA0 123 45 !!\xC4\x8A \xC4\x8A\xC4\x8A \xC4\xA0\xC4\xA0 \xC4\xA0x "
          "\xC3\xA9\xC3\xA9 \xC3\x83\xC2\xA9t",
          "I'M fine 12345!!\n   x\n\n\xC3\xA9t",
          "I|'M|\xC4\xA0"
          "fine|\xC4\xA0|123|45|!!\xC4\x8A|\xC4\xA0\xC4\xA0|\xC4\xA0x|\xC4\x8A\xC4\x8A|"
          "\xC3\x83\xC2\xA9t");
}

static void split__byte_level_with_its_own_words(void **state)
{
    (void)state;
    const char *plain = "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}";
    const char *prefixed = "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true}";
    const char *pieces = "? Hello \xC4\xA0Hello 's \xC4\xA0you \xC4\xA0\xC4\xA0 \xC4\xA0"
                         "12 \xC4\xA0\xC4\xA0\xC4\xA0 \xC4\xA0?! \xC4\x80";
    check("pre_tokenizer", plain, pieces, "Hello's you   12 ?!   ",
          "Hello|'s|\xC4\xA0you|\xC4\xA0\xC4\xA0|\xC4\xA0"
          "12|\xC4\xA0?!|\xC4\xA0\xC4\xA0\xC4\xA0");
    check("pre_tokenizer", prefixed, pieces, "Hello you", "\xC4\xA0Hello|\xC4\xA0you");
    check("pre_tokenizer", prefixed, pieces, " Hello", "\xC4\xA0Hello");
}

static void split__digits_punctuation_and_blanks(void **state)
{
    (void)state;
    check("pre_tokenizer", "{\"type\":\"Digits\",\"individual_digits\":true}", "? ab 1 2 \xC2\xBD",
          "ab12\xC2\xBD", "ab|1|2|\xC2\xBD");
    check("pre_tokenizer", "{\"type\":\"Digits\",\"individual_digits\":false}", "? ab 12 c",
          "ab12c", "ab|12|c");
    check("pre_tokenizer", "{\"type\":\"Punctuation\"}", "? ab ! - \xE2\x80\xA6",
          "ab!-\xE2\x80\xA6", "ab|!|-|\xE2\x80\xA6");
    check("pre_tokenizer", "{\"type\":\"Punctuation\",\"behavior\":\"Contiguous\"}", "? ab !-",
          "ab!-", "ab|!-");
    check("pre_tokenizer", "{\"type\":\"Whitespace\"}", "? ab_1 !? \xE2\x93\x90",
          "ab_1!? \xE2\x93\x90\n", "ab_1|!?|\xE2\x93\x90");
    check("pre_tokenizer", "{\"type\":\"WhitespaceSplit\"}", "? ab! c", " ab!\xC2\xA0 c\n",
          "ab!|c");
    check("pre_tokenizer", "{\"type\":\"BertPreTokenizer\"}", "? ab ! c", "ab! c", "ab|!|c");
    check("pre_tokenizer", "{\"type\":\"CharDelimiterSplit\",\"delimiter\":\"x\"}", "? a b", "axxb",
          "a|b");
}

static void split__expressions_as_oniguruma_reads_them(void **state)
{
    (void)state;
    const char *format =
        "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"%s\"},\"behavior\":\"Removed\","
        "\"invert\":true}";
    static const struct {
        const char *regex, *text, *wanted;
    } cases[] = {
        {"[^(\\\\s|[.,])]+", "ab (c.d", "ab|c|d"}, /* classes nest */
        {"a$", "a\nba", "a|a"},                    /* $ at every line */
        {"\\\\s",
         "a\xE1\xA0\x8E"
         "b\xC2\x85",
         "\xC2\x85"}, /* not U+180E, but U+0085 */
        {"\\\\w+", "a\xCC\x81_\xE2\x93\x90 b",
         "a\xCC\x81_\xE2\x93\x90|b"}, /* marks, circled letters */
        {"[[:alpha:]x-]+", "ab-1x", "ab-|x"},
        {"\\\\h+|[]z]", "xfg]0z", "f|]|0|z"},
        {"\\\\S+", " a b", "a|b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char part[512];
        snprintf(part, sizeof part, format, cases[i].regex);
        check("pre_tokenizer", part, "? ab a b c d f ] 0 z x ab- \xC2\x85 a\xCC\x81_\xE2\x93\x90",
              cases[i].text, cases[i].wanted);
    }
}

#define META "\xE2\x96\x81"
#define METASPACE(options)                                                                         \
    "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"" META "\"" options "}"

static void metaspace(const char *parts, const char *text, const char *wanted)
{
    char all[1024];
    snprintf(all, sizeof all,
             "%s,\"added_tokens\":[{\"id\":6,\"content\":\"<s>\",\"special\":true}]", parts);
    rf_tokenizer *tokenizer = tokenizer_of(all, "? a b " META "a " META "b " META, "", WHOLE_WORDS);
    assert_tokens(tokenizer, text, wanted);
    rf_tokenizer_destroy(&tokenizer);
}

static void split__metaspace_in_every_scheme(void **state)
{
    (void)state;
    metaspace(METASPACE(",\"prepend_scheme\":\"always\""), "a b<s>a",
              META "a|" META "b|<s>|" META "a");
    metaspace(METASPACE(",\"prepend_scheme\":\"first\""), "a b<s>a", META "a|" META "b|<s>|a");
    metaspace(METASPACE(",\"prepend_scheme\":\"first\""), "<s>a", "<s>|a");
    metaspace(METASPACE(",\"prepend_scheme\":\"never\""), "a b", "a|" META "b");
    /* first: of the original text, not of what a normalizer left of it */
    metaspace(METASPACE(",\"prepend_scheme\":\"first\"") ",\"normalizer\":{\"type\":\"Strip\"}",
              " a", "a");
    metaspace(METASPACE(",\"prepend_scheme\":\"first\"") ",\"normalizer\":{\"type\":\"Lowercase\"}",
              "A", META "a");
    metaspace(METASPACE(""), "a", META "a");
    metaspace(METASPACE(",\"add_prefix_space\":true"), " a  b", META "a|" META "|" META "b");
    metaspace(METASPACE(",\"add_prefix_space\":false"), "a b", "a|" META "b");
    metaspace(METASPACE(",\"split\":false"), "a", META "a");
    metaspace(METASPACE(",\"split\":false"), "a b", META "|a|" META "|b");
}

static void added(const char *flags, const char *normalizer, const char *text, const char *wanted)
{
    char parts[512];
    snprintf(parts, sizeof parts,
             "\"added_tokens\":[{\"id\":6,\"content\":\"<m>\"%s},{\"id\":7,\"content\":\"<m>x\","
             "\"normalized\":false}],\"normalizer\":%s",
             flags, normalizer);
    rf_tokenizer *tokenizer = tokenizer_of(parts, "? a b < m >", "", "\"unk_token\":\"?\"");
    assert_tokens(tokenizer, text, wanted);
    rf_tokenizer_destroy(&tokenizer);
}

static void added_tokens__longest_and_leftmost(void **state)
{
    (void)state;
    added(",\"normalized\":false", "null", "a<m>b<m>xa", "a|<m>|b|<m>x|a");
    added(",\"normalized\":false", "null", "<<m>>", "<|<m>|>");
    added(",\"normalized\":false", "null", "<m", "<|m");
}

static void added_tokens__of_blanks__do_not_match_blanks_already_taken(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = tokenizer_of(
        "\"added_tokens\":[{\"id\":2,\"content\":\" \",\"lstrip\":true,\"rstrip\":true}]", "a b",
        "", "");
    assert_tokens(tokenizer, "a   b", "a| |b");
    rf_tokenizer_destroy(&tokenizer);
}

static void added_tokens__flags(void **state)
{
    (void)state;
    added(",\"normalized\":false,\"lstrip\":true", "null", "a \t<m> b", "a|<m>|?|b");
    added(",\"normalized\":false,\"rstrip\":true", "null", "a <m>\xC2\xA0 b", "a|?|<m>|b");
    added(",\"normalized\":false,\"rstrip\":true,\"lstrip\":true", "null", "<m>  <m> a",
          "<m>|<m>|a");
    added(",\"normalized\":false,\"single_word\":true", "null", "a<m> <m> <m>a",
          "a|<|m|>|?|<m>|?|<|m|>|a");
    added(",\"normalized\":false,\"single_word\":true", "null", "-<m>,", "?|<m>|?");
    added(",\"normalized\":false", "{\"type\":\"Lowercase\"}", "<M>A<m>", "<|m|>|a|<m>");
    added(",\"normalized\":true", "{\"type\":\"Lowercase\"}", "<M>A<m>", "<m>|a|<m>");
}

static void post_processor__template_adds_tokens_around(void **state)
{
    (void)state;
    const char *parts =
        "\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},"
        "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"S\",\"type_id\":"
        "0}},"
        "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"E\",\"type_id\":0}"
        "}],"
        "\"pair\":[],\"special_tokens\":{\"S\":{\"id\":\"S\",\"ids\":[1,2],\"tokens\":[\"b\",\"c\"]"
        "},"
        "\"E\":{\"id\":\"E\",\"ids\":[3],\"tokens\":[\"d\"]}}}]}";
    rf_tokenizer *tokenizer = tokenizer_of(parts, "a b c d", "", "");
    assert_special_tokens(tokenizer, "aa", "b|c|a|a|d");
    assert_special_tokens(tokenizer, "", "b|c|d");
    assert_tokens(tokenizer, "aa", "a|a");
    rf_tokenizer_destroy(&tokenizer);
}

static void decoded(const char *part, const char *pieces, const char *tokens, const char *wanted)
{
    char parts[1024];
    snprintf(parts, sizeof parts, "\"decoder\":%s", part);
    rf_tokenizer *tokenizer = tokenizer_of(parts, pieces, "", "");
    assert_decoded(tokenizer, tokens, 0, wanted);
    rf_tokenizer_destroy(&tokenizer);
}

static void decode__byte_level__joins_bytes_and_mends_broken_ones(void **state)
{
    (void)state;
    const char *part = "{\"type\":\"ByteLevel\"}";
    decoded(part,
            "a \xC4\xA0"
            "b \xC3\x83 \xC2\xA9",
            "a|\xC4\xA0"
            "b|\xC3\x83|\xC2\xA9",
            "a b\xC3\xA9");
    decoded(part, "a \xC3\x83 \xC3\xA2\xC4\xA3", "\xC3\x83|a|\xC3\xA2\xC4\xA3|a",
            "\xEF\xBF\xBD"
            "a\xEF\xBF\xBD"
            "a");
    decoded(part, "\xE2\x96\x81x", "\xE2\x96\x81x", "\xE2\x96\x81x"); /* not of the alphabet */
}

static void decode__byte_fallback__needs_whole_characters(void **state)
{
    (void)state;
    const char *part = "{\"type\":\"ByteFallback\"}", *pieces = "<0xE5> <0x8f> <0xAB> <0x61> a";
    decoded(part, pieces, "<0xE5>|<0x8f>|<0xAB>|a|<0x61>",
            "\xE5\x8F\xAB"
            "aa");
    decoded(part, pieces, "<0xE5>|<0x8f>|a",
            "\xEF\xBF\xBD\xEF\xBF\xBD"
            "a");
    decoded(part, pieces, "<0xE5>", "\xEF\xBF\xBD");
}

static void decode__strip_replace_fuse_and_metaspace(void **state)
{
    (void)state;
    const char *llama =
        "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"" META
        "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
        "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}";
    decoded(llama, META "a " META " <0x0A>", META "a|" META "a|<0x0A>|" META, "a a\n ");
    decoded("{\"type\":\"Strip\",\"content\":\"x\",\"start\":1,\"stop\":2}", "xxaxxx x", "xxaxxx|x",
            "xax");
    decoded("{\"type\":\"Metaspace\",\"replacement\":\"_\"}", "_a b", "_a|_a|b", "a ab");
    decoded("{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"never\"}", "_a",
            "_a|_a", " a a");
    decoded("{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"[0-9]+\"},\"content\":\"#\"}", "a1 22b",
            "a1|22b", "a##b");
    decoded("{\"type\":\"BPEDecoder\",\"suffix\":\"</w>\"}", "a b</w> c</w>", "a|b</w>|c</w>",
            "ab c");
    decoded("null", "a b", "a|b", "a b");
}

static void decode__skip_special__leaves_them_out(void **state)
{
    (void)state;
    rf_tokenizer *tokenizer = tokenizer_of("\"decoder\":{\"type\":\"Fuse\"},\"added_tokens\":[{"
                                           "\"id\":1,\"content\":\"<s>\",\"special\":true},"
                                           "{\"id\":2,\"content\":\"<t>\",\"special\":false}]",
                                           "a <s>", "", "");
    assert_int_equal(rf_tokenizer_size(tokenizer), 3);
    assert_decoded(tokenizer, "<s>|a|<t>", 0, "<s>a<t>");
    assert_decoded(tokenizer, "<s>|a|<t>", 1, "a<t>");
    assert_decoded(tokenizer, "", 1, "");
    char *text = NULL;
    assert_status(rf_tokenizer_decode(tokenizer, (int32_t[]){3}, 1, 0, &text, NULL), RF_INPUT);
    assert_message_has("id 3");
    assert_status(rf_tokenizer_decode(tokenizer, (int32_t[]){-1}, 1, 0, &text, NULL), RF_INPUT);
    assert_null(text);
    rf_tokenizer_destroy(&tokenizer);
}

static const struct CMUnitTest tokenizer_parts[] = {
    cmocka_unit_test(normalize__unicode_forms),
    cmocka_unit_test(normalize__case_blanks_and_marks),
    cmocka_unit_test(normalize__replace_prepend_and_bytes),
    cmocka_unit_test(split__every_behavior),
    cmocka_unit_test(split__as_llama3_does),
    cmocka_unit_test(split__byte_level_with_its_own_words),
    cmocka_unit_test(split__digits_punctuation_and_blanks),
    cmocka_unit_test(split__expressions_as_oniguruma_reads_them),
    cmocka_unit_test(split__metaspace_in_every_scheme),
    cmocka_unit_test(added_tokens__longest_and_leftmost),
    cmocka_unit_test(added_tokens__of_blanks__do_not_match_blanks_already_taken),
    cmocka_unit_test(added_tokens__flags),
    cmocka_unit_test(post_processor__template_adds_tokens_around),
    cmocka_unit_test(decode__byte_level__joins_bytes_and_mends_broken_ones),
    cmocka_unit_test(decode__byte_fallback__needs_whole_characters),
    cmocka_unit_test(decode__strip_replace_fuse_and_metaspace),
    cmocka_unit_test(decode__skip_special__leaves_them_out),
};
RF_TEST_MAIN(tokenizer_parts)
