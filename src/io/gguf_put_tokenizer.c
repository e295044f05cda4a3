/* tokenizer.json as metadata of a GGUF file. */
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gguf_file.h"
#include "gguf_tokenizer.h"
#include "json.h"
#include "refract/io/gguf_write.h"

/* The tokens in order of their ids; texts belong to the document. */
typedef struct vocabulary {
    const char **text; /* [count] NULL where an id has none; owned */
    int32_t *kind;     /* [count] owned */
    float *score;      /* [count] owned */
    int64_t count;
    const char *file;
} vocabulary;

static rf_status refuse(const vocabulary *v, const char *what)
{
    return rf_fail(RF_USAGE,
                   "the tokeniser cannot be written into a GGUF file: %s (%s). Export --format "
                   "merged and convert that, or start from a GGUF base",
                   what, v->file);
}

static rf_status set_token(vocabulary *v, const char *text, int64_t id, int32_t kind)
{
    if (id < 0 || id >= v->count)
        return rf_fail(RF_INPUT, "token '%.60s' has id %lld, the model has %lld tokens (%s)", text,
                       (long long)id, (long long)v->count, v->file);
    v->text[id] = text;
    v->kind[id] = kind;
    return RF_OK;
}

static int is_byte(const char *text)
{
    return strlen(text) == 6 && strncmp(text, "<0x", 3) == 0 && text[5] == '>';
}

static rf_status take_tokens(vocabulary *v, const json_t *document, int is_scored)
{
    const json_t *model = json_object_get(document, "model"), *added;
    const char *text;
    json_t *item;
    size_t i;
    json_object_foreach(json_object_get(model, "vocab"), text, item)
    {
        const int32_t kind = is_scored && is_byte(text) ? RF_TOKEN_BYTE : RF_TOKEN_NORMAL;
        RF_TRY(set_token(v, text, json_integer_value(item), kind));
    }
    added = json_object_get(document, "added_tokens");
    json_array_foreach(added, i, item)
    {
        text = json_string_value(json_object_get(item, "content"));
        const int special = json_is_true(json_object_get(item, "special"));
        if (text)
            RF_TRY(set_token(v, text, json_integer_value(json_object_get(item, "id")),
                             special ? RF_TOKEN_CONTROL : RF_TOKEN_USER_DEFINED));
    }
    const char *unknown = json_string_value(json_object_get(model, "unk_token"));
    for (int64_t id = 0; unknown && id < v->count; id++)
        if (v->text[id] && strcmp(v->text[id], unknown) == 0) v->kind[id] = RF_TOKEN_UNKNOWN;
    return RF_OK;
}

static void put_string(FILE *out, const char *text)
{
    const uint64_t length = strlen(text);
    fwrite(&length, sizeof length, 1, out);
    fwrite(text, 1, length, out);
}

static rf_status put_strings(rf_gguf_metadata *m, const char *key, int64_t count, char **bytes,
                             FILE *out, const size_t *length)
{
    const int failed = fclose(out) != 0;
    if (!failed) rf_gguf_put_array(m, key, RF_GGUF_STRING, count, *bytes, *length);
    free(*bytes);
    return failed ? rf_fail(RF_RESOURCES, "no memory for a tokeniser") : RF_OK;
}

/* Ids of the embedding that no token has are padding, as in llama.cpp's converter. */
static rf_status put_tokens(rf_gguf_metadata *m, vocabulary *v)
{
    char *bytes = NULL, padding[32];
    size_t length = 0;
    FILE *out = open_memstream(&bytes, &length);
    if (!out) return rf_fail(RF_RESOURCES, "no memory for a tokeniser");
    for (int64_t id = 0; id < v->count; id++) {
        snprintf(padding, sizeof padding, "[PAD%lld]", (long long)id);
        put_string(out, v->text[id] ? v->text[id] : padding);
        if (!v->text[id]) v->kind[id] = RF_TOKEN_UNUSED;
    }
    RF_TRY(put_strings(m, "tokenizer.ggml.tokens", v->count, &bytes, out, &length));
    rf_gguf_put_array(m, "tokenizer.ggml.token_type", RF_GGUF_I32, v->count, v->kind,
                      (size_t)v->count * sizeof *v->kind);
    return RF_OK;
}

/* "a b" or ["a", "b"]: both halves. */
static int halves(const json_t *merge, char *left, char *right, size_t bytes)
{
    const char *text = json_string_value(merge), *blank = text ? strchr(text + 1, ' ') : NULL;
    const char *a = json_string_value(json_array_get(merge, 0));
    const char *b = json_string_value(json_array_get(merge, 1));
    if (blank)
        return snprintf(left, bytes, "%.*s", (int)(blank - text), text) < (int)bytes &&
               snprintf(right, bytes, "%s", blank + 1) < (int)bytes;
    return a && b && snprintf(left, bytes, "%s", a) < (int)bytes &&
           snprintf(right, bytes, "%s", b) < (int)bytes;
}

static rf_status put_merges(rf_gguf_metadata *m, const vocabulary *v, const json_t *merges)
{
    enum { MOST = 1024 };
    char *bytes = NULL, left[MOST], right[MOST], both[2 * MOST + 2];
    size_t length = 0, i;
    const json_t *merge;
    FILE *out = open_memstream(&bytes, &length);
    if (!out) return rf_fail(RF_RESOURCES, "no memory for a tokeniser");
    json_array_foreach(merges, i, merge)
    {
        if (!halves(merge, left, right, MOST)) {
            fclose(out);
            free(bytes);
            return refuse(v, "a merge is no pair of tokens");
        }
        snprintf(both, sizeof both, "%s %s", left, right);
        put_string(out, both);
    }
    return put_strings(m, "tokenizer.ggml.merges", (int64_t)json_array_size(merges), &bytes, out,
                       &length);
}

/* A piece's score is minus the rank of the first merge that makes it: the highest goes first. */
static rf_status put_scores(rf_gguf_metadata *m, vocabulary *v, const json_t *model)
{
    enum { MOST = 1024 };
    char left[MOST], right[MOST], both[2 * MOST];
    const json_t *merges = json_object_get(model, "merges"), *merge;
    size_t i;
    for (int64_t id = 0; id < v->count; id++) v->score[id] = -(float)json_array_size(merges) - 1;
    json_array_foreach(merges, i, merge)
    {
        if (!halves(merge, left, right, MOST)) return refuse(v, "a merge is no pair of tokens");
        snprintf(both, sizeof both, "%s%s", left, right);
        const json_t *id = json_object_get(json_object_get(model, "vocab"), both);
        const int64_t at = id ? json_integer_value(id) : -1;
        if (at >= 0 && at < v->count && v->score[at] < -(float)i) v->score[at] = -(float)i;
    }
    rf_gguf_put_array(m, "tokenizer.ggml.scores", RF_GGUF_F32, v->count, v->score,
                      (size_t)v->count * sizeof *v->score);
    return RF_OK;
}

/* 1 when a text begins with a special token. */
static int adds_begin(const json_t *post)
{
    const json_t *step;
    size_t i;
    int adds = 0;
    json_array_foreach(json_object_get(post, "processors"), i, step) adds |= adds_begin(step);
    const json_t *first = json_array_get(json_object_get(post, "single"), 0);
    return adds || json_object_get(first, "SpecialToken") != NULL;
}

/* 1 when a blank stands before a text, by a normaliser or a pre-tokeniser. */
static int adds_blank(const json_t *document)
{
    const json_t *step, *pre = json_object_get(document, "pre_tokenizer");
    const char *scheme = json_string_value(json_object_get(pre, "prepend_scheme"));
    size_t i;
    int adds = scheme && strcmp(scheme, "never") != 0;
    const json_t *steps = json_object_get(json_object_get(document, "normalizer"), "normalizers");
    json_array_foreach(steps, i, step) adds |= json_object_get(step, "prepend") != NULL;
    return adds;
}

static void put_ids(rf_gguf_metadata *m, const rf_model_config *c, const json_t *document)
{
    if (c->bos >= 0) rf_gguf_put_whole(m, "tokenizer.ggml.bos_token_id", c->bos);
    if (c->eos_count > 0) rf_gguf_put_whole(m, "tokenizer.ggml.eos_token_id", c->eos[0]);
    if (c->eos_count > 1) rf_gguf_put_whole(m, "tokenizer.ggml.eot_token_id", c->eos[1]);
    if (c->pad >= 0) rf_gguf_put_whole(m, "tokenizer.ggml.padding_token_id", c->pad);
    rf_gguf_put_flag(m, "tokenizer.ggml.add_bos_token",
                     adds_begin(json_object_get(document, "post_processor")));
}

static rf_status put_all(rf_gguf_metadata *m, vocabulary *v, const rf_model_config *c,
                         const json_t *document)
{
    const json_t *model = json_object_get(document, "model");
    const char *type = json_string_value(json_object_get(model, "type"));
    const int is_scored = json_is_true(json_object_get(model, "byte_fallback"));
    const char *pre =
        is_scored ? NULL : rf_gguf_pre_name(json_object_get(document, "pre_tokenizer"));
    if (!type || strcmp(type, "BPE") != 0) return refuse(v, "its model is no BPE");
    if (!is_scored && !pre) return refuse(v, "its pre_tokenizer has no name there that is known");
    v->text = calloc((size_t)v->count, sizeof *v->text);
    v->kind = calloc((size_t)v->count, sizeof *v->kind);
    v->score = calloc((size_t)v->count, sizeof *v->score);
    if (!v->text || !v->kind || !v->score)
        return rf_fail(RF_RESOURCES, "no memory for a tokeniser");
    RF_TRY(take_tokens(v, document, is_scored));
    rf_gguf_put_text(m, "tokenizer.ggml.model", is_scored ? "llama" : "gpt2");
    rf_gguf_put_text(m, "tokenizer.ggml.pre", is_scored ? "default" : pre);
    RF_TRY(put_tokens(m, v));
    if (is_scored) {
        RF_TRY(put_scores(m, v, model));
        rf_gguf_put_flag(m, "tokenizer.ggml.add_space_prefix", adds_blank(document));
    } else {
        RF_TRY(put_merges(m, v, json_object_get(model, "merges")));
    }
    put_ids(m, c, document);
    return RF_OK;
}

rf_status rf_gguf_put_tokenizer(rf_gguf_metadata *m, const rf_model_config *config,
                                const char *folder)
{
    char path[PATH_MAX];
    json_t *document = NULL;
    vocabulary v = {.count = config->vocab, .file = path};
    snprintf(path, sizeof path, "%.4000s/tokenizer.json", folder);
    if (access(path, F_OK) != 0) {
        rf_gguf_put_text(m, "tokenizer.ggml.model", "none");
        return RF_OK;
    }
    RF_TRY(rf_json_load(&document, path));
    const rf_status status = put_all(m, &v, config, document);
    json_decref(document);
    free(v.text);
    free(v.kind);
    free(v.score);
    return status;
}
