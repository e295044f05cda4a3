/* Tokenisers of GGUF files: the parts that tokenizer.json would spell, after llama.cpp's reading.
 */
#include "gguf_tokenizer.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "gguf_file.h"
#include "refract/io/gguf_model.h"

#define SPLIT(regex)                                                                               \
    "{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"" regex "\"}}"
#define SEQUENCE(steps) "{\"type\":\"Sequence\",\"pretokenizers\":[" steps "]}"
#define BYTE_LEVEL(regex)                                                                          \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":" regex "}"
#define GPT2_WORDS                                                                                 \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\\\p{L}+| ?\\\\p{N}+| ?[^\\\\s\\\\p{L}\\\\p{N}]+|\\\\s+(?!\\\\S)"  \
    "|\\\\s+"
/* The words of Llama 3; Qwen 2 has its numbers digit by digit. */
#define TIKTOKEN_WORDS(numbers)                                                                    \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|" numbers                \
    "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"

static const char llama3_words[] =
    SEQUENCE(SPLIT(TIKTOKEN_WORDS("\\\\p{N}{1,3}")) "," BYTE_LEVEL("false"));

/* Pre-tokenisers of byte-level models by the name in the file. */
static const struct pre {
    const char *name;
    const char *json;
    const char *normalizer; /* NULL: none */
    int add_bos, ignore_merges;
} pres[] = {
    {"gpt-2", BYTE_LEVEL("true"), NULL, 0, 0},
    {"default",
     SEQUENCE(SPLIT("[\\\\p{P}\\\\$\\\\+<=>\\\\^~\\\\|]+") "," SPLIT(GPT2_WORDS) "," SPLIT(
         "\\\\p{N}+") "," SPLIT("[0-9][0-9][0-9]") "," BYTE_LEVEL("false")),
     NULL, 0, 0},
    {"smollm", SEQUENCE("{\"type\":\"Digits\",\"individual_digits\":true}," BYTE_LEVEL("true")),
     NULL, 0, 0},
    {"llama-bpe", llama3_words, NULL, 1, 1},
    {"llama-v3", llama3_words, NULL, 1, 1},
    {"llama3", llama3_words, NULL, 1, 1},
    {"qwen2", SEQUENCE(SPLIT(TIKTOKEN_WORDS("\\\\p{N}")) "," BYTE_LEVEL("false")),
     "{\"type\":\"NFC\"}", 0, 0},
};

static int is_text(rf_bytes text, const char *word)
{
    return text.length == strlen(word) && memcmp(text.at, word, text.length) == 0;
}

static rf_status find_pre(const rf_gguf *g, const struct pre **pre)
{
    rf_bytes name = {"default", 7};
    RF_TRY(rf_gguf_text(g, "tokenizer.ggml.pre", &name));
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++) {
        *pre = &pres[i];
        if (is_text(name, pres[i].name)) return RF_OK;
    }
    return rf_fail(
        RF_INPUT,
        "'tokenizer.ggml.pre' = '%.*s' is not supported (%s). Known are gpt-2, default, "
        "smollm, llama-bpe, qwen2; or give the model's tokenizer.json as model.tokenizer",
        (int)(name.length < 64 ? name.length : 64), name.at, rf_gguf_path(g));
}

/* Leaves out what says nothing: spellings of defaults. */
static void simplify(json_t *step)
{
    json_object_del(step, "trim_offsets");
    if (json_is_false(json_object_get(step, "invert"))) json_object_del(step, "invert");
    if (json_object_get(step, "type") && !json_object_get(step, "use_regex") &&
        strcmp(json_string_value(json_object_get(step, "type")), "ByteLevel") == 0)
        json_object_set_new(step, "use_regex", json_true());
    const json_t *parts = json_object_get(step, "pretokenizers");
    for (size_t i = 0; i < json_array_size(parts); i++) simplify(json_array_get(parts, i));
}

const char *rf_gguf_pre_name(const void *pre_tokenizer)
{
    const char *name = NULL;
    json_t *asked = json_deep_copy(pre_tokenizer);
    if (asked) simplify(asked);
    for (size_t i = 0; asked && !name && i < sizeof pres / sizeof *pres; i++) {
        json_t *known = json_loads(pres[i].json, 0, NULL);
        if (known && json_equal(known, asked)) name = pres[i].name;
        json_decref(known);
    }
    json_decref(asked);
    return name;
}

/* The array under a key must have an item for every token. */
static rf_status per_token(const rf_gguf_vocabulary *v, const char *key, rf_gguf_type item,
                           const rf_gguf_value **value)
{
    RF_TRY(rf_gguf_array(v->gguf, key, item, value));
    if (!*value || (*value)->count == v->count) return RF_OK;
    return rf_fail(RF_INPUT, "'%s' has %lld items for %lld tokens (%s). The file is damaged", key,
                   (long long)(*value)->count, (long long)v->count, rf_gguf_path(v->gguf));
}

static rf_status read_vocabulary(rf_gguf_vocabulary *v)
{
    const rf_gguf_value *tokens = NULL;
    RF_TRY(rf_gguf_require(v->gguf, "tokenizer.ggml.tokens"));
    RF_TRY(rf_gguf_array(v->gguf, "tokenizer.ggml.tokens", RF_GGUF_STRING, &tokens));
    if (tokens->count == 0 || tokens->count > RF_BPE_MOST_IDS)
        return rf_fail(RF_INPUT, "'tokenizer.ggml.tokens' has %lld tokens (%s)",
                       (long long)tokens->count, rf_gguf_path(v->gguf));
    v->piece = malloc((size_t)tokens->count * sizeof *v->piece);
    if (!v->piece) return rf_fail(RF_RESOURCES, "no memory for the tokens of a tokeniser");
    rf_gguf_strings strings = {.value = tokens};
    while (rf_gguf_next_string(&strings)) {
        v->piece[v->count] = (rf_bpe_piece){strings.text, (int32_t)v->count};
        v->count++;
    }
    RF_TRY(per_token(v, "tokenizer.ggml.token_type", RF_GGUF_I32, &v->kind));
    return per_token(v, "tokenizer.ggml.scores", RF_GGUF_F32, &v->score);
}

static json_t *text_of(rf_bytes bytes)
{
    return json_stringn(bytes.at, bytes.length);
}

/* Tokens that are found in the text before anything else. */
static json_t *list_added(const rf_gguf_vocabulary *v)
{
    json_t *list = json_array();
    for (int64_t id = 0; id < v->count; id++) {
        const int64_t kind = rf_gguf_token_kind(v, id);
        const int special = kind == RF_TOKEN_CONTROL || kind == RF_TOKEN_UNKNOWN;
        if ((!special && kind != RF_TOKEN_USER_DEFINED) || v->piece[id].text.length == 0) continue;
        json_t *token = json_pack("{s:I, s:o, s:b, s:b}", "id", (json_int_t)id, "content",
                                  text_of(v->piece[id].text), "special", special, "normalized", 0);
        if (json_array_append_new(list, token) == 0) continue;
        json_decref(list);
        return NULL;
    }
    return list;
}

/* SentencePiece: blanks are U+2581, one stands before a text unless the file says otherwise. */
static json_t *scored_parts(int prefix)
{
    static const char replace[] =
        "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\\u2581\"}";
    static const char decoder[] =
        "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\\u2581\"},\"content\":\" \"},"
        "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}";
    char *text = NULL;
    if (asprintf(&text,
                 "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[%s%s]},"
                 "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[%s%s]}}",
                 prefix ? "{\"type\":\"Prepend\",\"prepend\":\"\\u2581\"}," : "", replace, decoder,
                 prefix ? ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}" : "") <
        0)
        return NULL;
    json_t *parts = json_loads(text, 0, NULL);
    free(text);
    return parts;
}

static json_t *listed_parts(const struct pre *pre)
{
    json_t *parts = json_object();
    json_object_set_new(parts, "pre_tokenizer", json_loads(pre->json, 0, NULL));
    if (pre->normalizer)
        json_object_set_new(parts, "normalizer", json_loads(pre->normalizer, 0, NULL));
    json_object_set_new(parts, "decoder", json_pack("{s:s}", "type", "ByteLevel"));
    return parts;
}

/* A token named by its id. */
static rf_status name_token(json_t *config, const rf_gguf_vocabulary *v, const char *key,
                            const char *name)
{
    int64_t id = -1;
    RF_TRY(rf_gguf_whole(v->gguf, key, 0, UINT32_MAX, &id));
    if (id < 0 || id == UINT32_MAX) return RF_OK; /* the greatest number stands for none */
    if (id >= v->count)
        return rf_fail(RF_INPUT, "'%s' %lld is no id below %lld (%s)", key, (long long)id,
                       (long long)v->count, rf_gguf_path(v->gguf));
    json_object_set_new(config, name, text_of(v->piece[id].text));
    return RF_OK;
}

/* What tokenizer_config.json would say. */
static rf_status fill_config(json_t *config, const rf_gguf_vocabulary *v, int add_bos)
{
    const rf_gguf *g = v->gguf;
    rf_bytes chat = {0};
    int add_eos = 0;
    RF_TRY(name_token(config, v, "tokenizer.ggml.bos_token_id", "bos_token"));
    RF_TRY(name_token(config, v, "tokenizer.ggml.eos_token_id", "eos_token"));
    RF_TRY(name_token(config, v, "tokenizer.ggml.padding_token_id", "pad_token"));
    RF_TRY(name_token(config, v, "tokenizer.ggml.unknown_token_id", "unk_token"));
    RF_TRY(rf_gguf_flag(g, "tokenizer.ggml.add_bos_token", &add_bos));
    RF_TRY(rf_gguf_flag(g, "tokenizer.ggml.add_eos_token", &add_eos));
    json_object_set_new(config, "add_bos_token", json_boolean(add_bos));
    json_object_set_new(config, "add_eos_token", json_boolean(add_eos));
    RF_TRY(rf_gguf_text(g, "tokenizer.chat_template", &chat));
    if (chat.at) json_object_set_new(config, "chat_template", text_of(chat));
    return RF_OK;
}

/* Takes *model and the objects. */
static rf_status assemble(rf_tokenizer **tokenizer, rf_bpe **model, const rf_gguf_vocabulary *v,
                          json_t *parts, json_t *config)
{
    char *spelt = NULL, *beside = NULL;
    if (parts && json_object_set_new(parts, "added_tokens", list_added(v)) == 0)
        spelt = json_dumps(parts, 0);
    if (spelt) beside = json_dumps(config, 0);
    rf_status status = RF_OK;
    if (beside)
        status = rf_tokenizer_from_bpe(tokenizer, model, spelt, strlen(spelt), beside,
                                       strlen(beside), rf_gguf_path(v->gguf));
    else
        status = rf_fail(RF_RESOURCES, "no memory for the tokeniser of %s", rf_gguf_path(v->gguf));
    rf_bpe_destroy(model);
    free(spelt);
    free(beside);
    json_decref(parts);
    return status;
}

static rf_status build_listed(rf_tokenizer **tokenizer, const rf_gguf_vocabulary *v, json_t *config)
{
    const struct pre *pre = NULL;
    rf_bpe *model = NULL;
    RF_TRY(find_pre(v->gguf, &pre));
    RF_TRY(fill_config(config, v, pre->add_bos));
    RF_TRY(rf_gguf_listed_bpe(&model, v, pre->ignore_merges));
    return assemble(tokenizer, &model, v, listed_parts(pre), config);
}

static rf_status build_scored(rf_tokenizer **tokenizer, const rf_gguf_vocabulary *v, json_t *config)
{
    int prefix = 1, collapse = 0;
    rf_bpe *model = NULL;
    RF_TRY(rf_gguf_flag(v->gguf, "tokenizer.ggml.add_space_prefix", &prefix));
    RF_TRY(rf_gguf_flag(v->gguf, "tokenizer.ggml.remove_extra_whitespaces", &collapse));
    if (collapse)
        return rf_fail(RF_INPUT,
                       "'tokenizer.ggml.remove_extra_whitespaces' is not supported (%s). Give the "
                       "model's tokenizer.json as model.tokenizer",
                       rf_gguf_path(v->gguf));
    if (!v->score) return rf_gguf_require(v->gguf, "tokenizer.ggml.scores");
    RF_TRY(fill_config(config, v, 1));
    RF_TRY(rf_gguf_scored_bpe(&model, v));
    return assemble(tokenizer, &model, v, scored_parts(prefix), config);
}

static rf_status build(rf_tokenizer **tokenizer, rf_gguf_vocabulary *v, json_t *config)
{
    rf_bytes model = {0};
    RF_TRY(rf_gguf_require(v->gguf, "tokenizer.ggml.model"));
    RF_TRY(rf_gguf_text(v->gguf, "tokenizer.ggml.model", &model));
    RF_TRY(read_vocabulary(v));
    if (is_text(model, "gpt2")) return build_listed(tokenizer, v, config);
    if (is_text(model, "llama")) return build_scored(tokenizer, v, config);
    return rf_fail(
        RF_INPUT,
        "'tokenizer.ggml.model' = '%.*s' is not supported (%s). Known are gpt2, llama; or "
        "give the model's tokenizer.json as model.tokenizer",
        (int)(model.length < 64 ? model.length : 64), model.at, rf_gguf_path(v->gguf));
}

rf_status rf_gguf_tokenizer(rf_tokenizer **tokenizer, const rf_gguf *gguf)
{
    rf_gguf_vocabulary vocabulary = {.gguf = gguf};
    json_t *config = json_object();
    *tokenizer = NULL;
    rf_status status = config ? build(tokenizer, &vocabulary, config)
                              : rf_fail(RF_RESOURCES, "no memory for a tokeniser");
    json_decref(config);
    free(vocabulary.piece);
    return status;
}
