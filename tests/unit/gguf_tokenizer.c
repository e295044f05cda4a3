/* Tokenisers out of GGUF metadata: small ones by hand, real ones against vectors of llama.cpp. */
#include "rf_test.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "gguf_writer.h"
#include "refract/io/gguf_model.h"
#include "refract/io/model_files.h"
#include "tokenizer_fixture.h"

static const char *model_path(void)
{
    static char path[4200];
    snprintf(path, sizeof path, "%s/tokenizer.gguf", rf_test_folder());
    return path;
}

static rf_tokenizer *load(gguf_writer *w)
{
    rf_tokenizer *tokenizer = NULL;
    gguf_end(w, model_path());
    assert_ok(rf_model_files_tokenizer(&tokenizer, model_path()));
    return tokenizer;
}

static void refused(gguf_writer *w, const char *message)
{
    rf_tokenizer *tokenizer = NULL;
    gguf_end(w, model_path());
    assert_status(rf_model_files_tokenizer(&tokenizer, model_path()), RF_INPUT);
    assert_null(tokenizer);
    assert_message_has(message);
    assert_message_has("tokenizer.gguf");
}

#define BLANK "\xC4\xA0" /* the byte-level alphabet's blank */
static const char *const byte_pieces[] = {"<end>", "<tool>", "h",  "i",         "1",
                                          "2",     BLANK,    "hi", "12",        (BLANK "hi"),
                                          "s",     "'",      "'s", (BLANK "1"), "\xC4\x8A"};
static const char *const byte_merges[] = {"h i", "1 2", (BLANK " hi"), "' s", (BLANK " 1")};
enum { BYTE_PIECES = sizeof byte_pieces / sizeof *byte_pieces, BYTE_MERGES = 5 };

/* A byte-level model; `pre` NULL: none named. */
static gguf_writer byte_level(const char *pre)
{
    int32_t kinds[BYTE_PIECES] = {3, 4};
    gguf_writer w = gguf_begin();
    for (int i = 2; i < BYTE_PIECES; i++) kinds[i] = 1;
    gguf_text(&w, "tokenizer.ggml.model", "gpt2");
    if (pre) gguf_text(&w, "tokenizer.ggml.pre", pre);
    gguf_texts(&w, "tokenizer.ggml.tokens", byte_pieces, BYTE_PIECES);
    gguf_i32s(&w, "tokenizer.ggml.token_type", kinds, BYTE_PIECES);
    gguf_texts(&w, "tokenizer.ggml.merges", byte_merges, BYTE_MERGES);
    gguf_u32(&w, "tokenizer.ggml.bos_token_id", 0);
    gguf_u32(&w, "tokenizer.ggml.eos_token_id", 0);
    gguf_u32(&w, "tokenizer.ggml.padding_token_id", UINT32_MAX);
    return w;
}

static void byte_level__each_pre_tokenizer__cuts_as_it_should(void **state)
{
    (void)state;
    const struct {
        const char *pre, *text, *wanted;
    } cases[] = {
        {"gpt-2", "hi hi's 12", "hi|" BLANK "hi|'s|" BLANK "|12"},
        {"smollm", "hi hi's 12", "hi|" BLANK "hi|'s|" BLANK "|1|2"},
        {"smollm", "12", "1|2"},
        {"qwen2", "hi 12", "hi|" BLANK "|1|2"},
        {"llama-bpe", "hi 12", "hi|" BLANK "|12"},
        {"default", "hi 12", "hi|" BLANK "|12"},
        {NULL, "hi 12", "hi|" BLANK "|12"},
        {"smollm", "hi<tool>hi<end>", "hi|<tool>|hi|<end>"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gguf_writer w = byte_level(cases[i].pre);
        rf_tokenizer *t = load(&w);
        assert_tokens(t, cases[i].text, cases[i].wanted);
        rf_tokenizer_destroy(&t);
    }
}

static void byte_level__special_tokens__follow_the_metadata(void **state)
{
    (void)state;
    gguf_writer w = byte_level("smollm");
    gguf_text(&w, "tokenizer.chat_template", "{% x %}");
    rf_tokenizer *t = load(&w);
    assert_int_equal(rf_tokenizer_size(t), BYTE_PIECES);
    assert_int_equal(rf_tokenizer_bos(t), 0);
    assert_int_equal(rf_tokenizer_eos(t), 0);
    assert_int_equal(rf_tokenizer_pad(t), -1);
    assert_int_equal(rf_tokenizer_unk(t), -1);
    assert_string_equal(rf_tokenizer_chat_template(t), "{% x %}");
    assert_special_tokens(t, "hi", "hi");
    assert_decoded(t, "hi|" BLANK "hi|<end>|<tool>", 1, "hi hi<tool>");
    rf_tokenizer_destroy(&t);
    w = byte_level("llama-bpe");
    t = load(&w);
    assert_special_tokens(t, "hi", "<end>|hi");
    rf_tokenizer_destroy(&t);
    w = byte_level("llama-bpe");
    gguf_bool(&w, "tokenizer.ggml.add_bos_token", 0);
    gguf_bool(&w, "tokenizer.ggml.add_eos_token", 1);
    t = load(&w);
    assert_special_tokens(t, "hi", "hi|<end>");
    rf_tokenizer_destroy(&t);
}

#define U "\xE2\x96\x81" /* SentencePiece's blank */
static const char *const pieces[] = {"<unk>", "<s>", "</s>", "<0x41>", "<0x42>", U,     "a",  "b",
                                     "c",     "ab",  "bc",   (U "a"),  "abc",    (U U), "xx", "x"};
enum { PIECES = sizeof pieces / sizeof *pieces };

/* bc before ab before _a; abc last; xx is for control only. */
static gguf_writer scored(const char *skip)
{
    const int32_t kinds[PIECES] = {2, 3, 3, 6, 6, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 1};
    const float scores[PIECES] = {0, 0, 0, 0, 0, -9, -9, -9, -9, -2, -1, -3, -4, -5, 0, -9};
    gguf_writer w = gguf_begin();
    gguf_text(&w, "tokenizer.ggml.model", "llama");
    gguf_texts(&w, "tokenizer.ggml.tokens", pieces, PIECES);
    if (strcmp(skip, "kinds") != 0) gguf_i32s(&w, "tokenizer.ggml.token_type", kinds, PIECES);
    if (strcmp(skip, "scores") != 0) gguf_f32s(&w, "tokenizer.ggml.scores", scores, PIECES);
    gguf_u32(&w, "tokenizer.ggml.bos_token_id", 1);
    gguf_u32(&w, "tokenizer.ggml.eos_token_id", 2);
    gguf_u32(&w, "tokenizer.ggml.unknown_token_id", 0);
    return w;
}

static void scored__neighbours__merge_by_the_score_of_what_they_make(void **state)
{
    (void)state;
    gguf_writer w = scored("");
    rf_tokenizer *t = load(&w);
    assert_tokens(t, "abc", U "a|bc");
    assert_tokens(t, "ab", U "|ab");
    assert_tokens(t, "a  b", U "a|" U U "|b");
    assert_tokens(t, "xAB", U "|x|<0x41>|<0x42>");
    assert_tokens(t, "C", U "|<unk>");
    assert_special_tokens(t, "b", "<s>|" U "|b");
    assert_tokens(t, "b</s>b", U "|b|</s>|" U "|b");
    assert_decoded(t, "<s>|" U "a|bc|" U "|<0x41>|<0x42>", 1, "abc AB");
    assert_int_equal(rf_tokenizer_unk(t), 0);
    rf_tokenizer_destroy(&t);
    w = scored("");
    gguf_bool(&w, "tokenizer.ggml.add_space_prefix", 0);
    gguf_bool(&w, "tokenizer.ggml.add_bos_token", 0);
    t = load(&w);
    assert_special_tokens(t, "abc", "abc");
    assert_decoded(t, U "a|bc", 1, " abc");
    rf_tokenizer_destroy(&t);
}

/* aa | a and a | aa both make aaa: pieces of equal score are merged from the left. */
static void scored__equal_scores__merge_leftmost_first(void **state)
{
    (void)state;
    static const char *const words[] = {"<unk>", U, "a", "b", "ab", "ba"};
    const float scores[] = {0, -9, -9, -9, -1, -1};
    gguf_writer w = gguf_begin();
    gguf_text(&w, "tokenizer.ggml.model", "llama");
    gguf_texts(&w, "tokenizer.ggml.tokens", words, 6);
    gguf_f32s(&w, "tokenizer.ggml.scores", scores, 6);
    gguf_bool(&w, "tokenizer.ggml.add_bos_token", 0);
    gguf_bool(&w, "tokenizer.ggml.add_space_prefix", 0);
    rf_tokenizer *t = load(&w);
    assert_tokens(t, "aba", "ab|a");
    assert_tokens(t, "bab", "ba|b");
    rf_tokenizer_destroy(&t);
}

static void load__bad_metadata__names_the_key(void **state)
{
    (void)state;
    static const char *const broken[] = {"hi"}, *const twice[] = {"a", "a"};
    const float nan_score[] = {0, NAN, 0};
    gguf_writer w = gguf_begin();
    gguf_text(&w, "x", "y");
    refused(&w, "key 'tokenizer.ggml.model' is missing");
    w = gguf_begin();
    gguf_text(&w, "tokenizer.ggml.model", "gpt2");
    refused(&w, "key 'tokenizer.ggml.tokens' is missing");
    w = byte_level("falcon");
    refused(&w, "'tokenizer.ggml.pre' = 'falcon' is not supported");
    w = byte_level("smollm");
    gguf_u32(&w, "tokenizer.ggml.unknown_token_id", 500);
    refused(&w, "'tokenizer.ggml.unknown_token_id' 500 is no id");
    w = scored("scores");
    refused(&w, "key 'tokenizer.ggml.scores' is missing");
    w = scored("kinds");
    gguf_i32s(&w, "tokenizer.ggml.token_type", (const int32_t[]){1, 1}, 2);
    refused(&w, "'tokenizer.ggml.token_type' has 2 items for 16 tokens");
    w = scored("");
    gguf_bool(&w, "tokenizer.ggml.remove_extra_whitespaces", 1);
    refused(&w, "remove_extra_whitespaces");
    for (int i = 0; i < 4; i++) {
        w = gguf_begin();
        gguf_text(&w, "tokenizer.ggml.model", i == 0 ? "bert" : i == 3 ? "llama" : "gpt2");
        gguf_texts(&w, "tokenizer.ggml.tokens", i == 3 ? byte_pieces : twice, i == 3 ? 3 : 2);
        gguf_texts(&w, "tokenizer.ggml.merges", broken, i == 1);
        if (i == 3) gguf_f32s(&w, "tokenizer.ggml.scores", nan_score, 3);
        refused(&w, (const char *const[]){"'tokenizer.ggml.model' = 'bert'", "merge 0 of",
                                          "piece 'a' is there twice", "the score of token 1"}[i]);
    }
}

/* A tokenizer.json as the metadata that llama.cpp's converter makes of it. */
typedef struct real_model {
    json_t *root;
    const char **token, **merge;
    int32_t *kind;
    float *score;
    int64_t count, merges;
} real_model;

static int is_blank(const char *text)
{
    while (strncmp(text, U, strlen(U)) == 0) text += strlen(U);
    return *text == '\0';
}

static real_model read_real(const char *path)
{
    real_model m = {.root = json_load_file(path, 0, NULL)};
    assert_non_null(m.root);
    json_t *model = json_object_get(m.root, "model");
    json_t *vocab = json_object_get(model, "vocab"), *merges = json_object_get(model, "merges");
    const char *key = NULL;
    json_t *value = NULL;
    size_t index = 0;
    m.count = (int64_t)json_object_size(vocab);
    m.token = calloc((size_t)m.count, sizeof *m.token);
    m.kind = calloc((size_t)m.count, sizeof *m.kind);
    m.score = calloc((size_t)m.count, sizeof *m.score);
    m.merge = calloc(json_array_size(merges), sizeof *m.merge);
    json_object_foreach(vocab, key, value)
    {
        const int64_t id = json_integer_value(value);
        m.token[id] = key;
        m.kind[id] = strncmp(key, "<0x", 3) == 0 ? 6 : 1;
        /* runs of blanks are merged last of all */
        m.score[id] = id < 259 ? 0 : is_blank(key) ? -1e9f : (float)(259 - id);
    }
    for (index = 0; index < json_array_size(merges); index++) {
        value = json_array_get(merges, index);
        m.merge[m.merges++] = json_string_value(value);
    }
    json_array_foreach(json_object_get(m.root, "added_tokens"), index, value)
        m.kind[json_integer_value(json_object_get(value, "id"))] = 3;
    return m;
}

static void free_real(real_model *m)
{
    json_decref(m->root);
    free(m->token);
    free(m->kind);
    free(m->score);
    free(m->merge);
}

static void real__gpt2__gives_the_ids_of_llama_cpp(void **state)
{
    (void)state;
    skip_without("tokenizers/gpt2/tokenizer.json");
    real_model m = read_real(rf_shared_path("tokenizers/gpt2/tokenizer.json"));
    gguf_writer w = gguf_begin();
    gguf_text(&w, "tokenizer.ggml.model", "gpt2");
    gguf_text(&w, "tokenizer.ggml.pre", "gpt-2");
    gguf_texts(&w, "tokenizer.ggml.tokens", m.token, m.count);
    gguf_i32s(&w, "tokenizer.ggml.token_type", m.kind, m.count);
    gguf_texts(&w, "tokenizer.ggml.merges", m.merge, m.merges);
    rf_tokenizer *t = load(&w);
    tokenizer_assert_vectors(t, "tokenizers/vectors/ggml-vocab-gpt-2.gguf.inp",
                             "tokenizers/vectors/ggml-vocab-gpt-2.gguf.out");
    rf_tokenizer_destroy(&t);
    free_real(&m);
}

static void real__llama2__gives_the_ids_of_llama_cpp(void **state)
{
    (void)state;
    skip_without("tokenizers/llama2/tokenizer.json");
    real_model m = read_real(rf_shared_path("tokenizers/llama2/tokenizer.json"));
    gguf_writer w = gguf_begin();
    gguf_text(&w, "tokenizer.ggml.model", "llama");
    gguf_texts(&w, "tokenizer.ggml.tokens", m.token, m.count);
    gguf_i32s(&w, "tokenizer.ggml.token_type", m.kind, m.count);
    gguf_f32s(&w, "tokenizer.ggml.scores", m.score, m.count);
    gguf_u32(&w, "tokenizer.ggml.bos_token_id", 1);
    rf_tokenizer *t = load(&w);
    tokenizer_assert_vectors(t, "tokenizers/vectors/ggml-vocab-llama-spm.gguf.inp",
                             "tokenizers/vectors/ggml-vocab-llama-spm.gguf.out");
    rf_tokenizer_destroy(&t);
    free_real(&m);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(byte_level__each_pre_tokenizer__cuts_as_it_should),
    cmocka_unit_test(byte_level__special_tokens__follow_the_metadata),
    cmocka_unit_test(scored__neighbours__merge_by_the_score_of_what_they_make),
    cmocka_unit_test(scored__equal_scores__merge_leftmost_first),
    cmocka_unit_test(load__bad_metadata__names_the_key),
    cmocka_unit_test(real__gpt2__gives_the_ids_of_llama_cpp),
    cmocka_unit_test(real__llama2__gives_the_ids_of_llama_cpp),
};
RF_TEST_MAIN(tests)
