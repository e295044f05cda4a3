/* Metadata of the architecture `llama` as a model configuration. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "refract/io/gguf_model.h"

enum { ROPE_PAIRS = 256 };

static rf_status refuse(const rf_gguf *g, const char *key, const char *value, const char *hint)
{
    return rf_fail(RF_INPUT, "'%s' = %s is not supported (%s). %s", key, value, rf_gguf_path(g),
                   hint);
}

/* A key that must have one of two texts where it is there. */
static rf_status only(const rf_gguf *g, const char *key, const char *a, const char *b)
{
    rf_bytes text = {0};
    char value[64], hint[128];
    RF_TRY(rf_gguf_text(g, key, &text));
    if (!text.at) return RF_OK;
    snprintf(value, sizeof value, "%.*s", (int)(text.length < 63 ? text.length : 63), text.at);
    if (strcmp(value, a) == 0 || strcmp(value, b) == 0) return RF_OK;
    snprintf(hint, sizeof hint, "Supported: %s%s%s", a, b[0] ? ", " : "", b);
    return refuse(g, key, value, hint);
}

/* What would change the numbers and is not implemented. */
static rf_status check_unsupported(const rf_gguf *g)
{
    int64_t experts = 0, shards = 1;
    RF_TRY(rf_gguf_require(g, "general.architecture"));
    RF_TRY(only(g, "general.type", "model", "model"));
    RF_TRY(only(g, "general.architecture", "llama", "llama"));
    RF_TRY(rf_gguf_whole(g, "llama.expert_count", 0, INT32_MAX, &experts));
    if (experts > 0)
        return refuse(g, "llama.expert_count", "above 0", "Give a model without experts");
    RF_TRY(rf_gguf_whole(g, "split.count", 0, INT32_MAX, &shards));
    if (shards > 1)
        return refuse(g, "split.count", "above 1", "Merge the parts with llama-gguf-split --merge");
    return only(g, "llama.rope.scaling.type", "none", "linear");
}

static rf_status check_heads(const rf_model_config *c, int64_t value_length, const rf_gguf *g)
{
    if (c->heads % c->kv_heads != 0)
        return rf_fail(RF_INPUT,
                       "'llama.attention.head_count' %lld is not a multiple of "
                       "'llama.attention.head_count_kv' %lld (%s)",
                       (long long)c->heads, (long long)c->kv_heads, rf_gguf_path(g));
    if (c->d_head % 2 != 0)
        return rf_fail(RF_INPUT, "heads of %lld are odd: rotary positions turn pairs (%s)",
                       (long long)c->d_head, rf_gguf_path(g));
    if (value_length == c->d_head) return RF_OK;
    return rf_fail(RF_INPUT,
                   "'llama.attention.value_length' %lld is not the %lld of the keys, which is not "
                   "supported (%s)",
                   (long long)value_length, (long long)c->d_head, rf_gguf_path(g));
}

static rf_status read_sizes(rf_model_config *c, const rf_gguf *g)
{
    const struct {
        const char *key;
        int64_t *value;
        int64_t most;
        int required;
    } sizes[] = {
        {"llama.embedding_length", &c->d_model, 1 << 24, 1},
        {"llama.feed_forward_length", &c->d_ff, 1 << 26, 1},
        {"llama.block_count", &c->layers, 1 << 16, 1},
        {"llama.attention.head_count", &c->heads, 1 << 16, 1},
        {"llama.attention.head_count_kv", &c->kv_heads, 1 << 16, 0},
        {"llama.attention.key_length", &c->d_head, 1 << 16, 0},
        {"llama.context_length", &c->max_position, INT32_MAX, 1},
        {"llama.attention.sliding_window", &c->window, INT32_MAX, 0},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (sizes[i].required) RF_TRY(rf_gguf_require(g, sizes[i].key));
        RF_TRY(rf_gguf_whole(g, sizes[i].key, 1, sizes[i].most, sizes[i].value));
    }
    if (c->kv_heads == 0) c->kv_heads = c->heads;
    if (c->d_head == 0 && c->d_model % c->heads != 0)
        return rf_fail(RF_INPUT,
                       "'llama.embedding_length' %lld is not a multiple of "
                       "'llama.attention.head_count' %lld (%s)",
                       (long long)c->d_model, (long long)c->heads, rf_gguf_path(g));
    if (c->d_head == 0) c->d_head = c->d_model / c->heads;
    int64_t value_length = c->d_head, turned = c->d_head;
    RF_TRY(rf_gguf_whole(g, "llama.attention.value_length", 1, 1 << 16, &value_length));
    RF_TRY(check_heads(c, value_length, g));
    RF_TRY(rf_gguf_whole(g, "llama.rope.dimension_count", 1, 1 << 16, &turned));
    if (turned == c->d_head) return RF_OK;
    return refuse(g, "llama.rope.dimension_count", "other than the size of a head",
                  "Only whole heads are turned");
}

/* The vocabulary is as large as the embedding has rows; all who name it must agree. */
static rf_status read_vocab(rf_model_config *c, const rf_gguf *g)
{
    const rf_tensor_info *embed = rf_safetensors_find(rf_gguf_tensors(g), "token_embd.weight");
    const rf_gguf_value *tokens = NULL;
    if (!embed || embed->dims != 2 || embed->dim[0] < 1 || embed->dim[0] > INT32_MAX)
        return rf_fail(RF_INPUT, "tensor 'token_embd.weight' is missing or no matrix (%s)",
                       rf_gguf_path(g));
    c->vocab = embed->dim[0];
    int64_t named = c->vocab;
    RF_TRY(rf_gguf_whole(g, "llama.vocab_size", 1, INT32_MAX, &named));
    RF_TRY(rf_gguf_array(g, "tokenizer.ggml.tokens", RF_GGUF_STRING, &tokens));
    if (tokens) named = tokens->count != c->vocab ? tokens->count : named;
    if (named == c->vocab) return RF_OK;
    return rf_fail(
        RF_INPUT,
        "the vocabulary has %lld tokens, 'token_embd.weight' has %lld rows (%s). The file "
        "was put together wrongly",
        (long long)named, (long long)c->vocab, rf_gguf_path(g));
}

/*
 * Llama 3 stretches its low frequencies; its GGUF files hold only the resulting factors. They are
 * those of factor 8 or 32 (whatever is largest), low 1, high 4, original length 8192.
 */
static rf_status recognise_llama3(rf_model_config *c, const rf_gguf *g, const float *factors)
{
    const int64_t n = c->d_head / 2;
    rf_rope plain = {.theta = c->rope.theta}, *rope = &c->rope;
    double stretched[ROPE_PAIRS], even[ROPE_PAIRS];
    double most = 1;
    for (int64_t i = 0; i < n; i++) most = fmax(most, (double)factors[i]);
    rope->kind = RF_ROPE_LLAMA3;
    rope->factor = most;
    rope->low_freq_factor = 1;
    rope->high_freq_factor = 4;
    rope->original_max_position = 8192;
    rf_rope_frequencies(stretched, rope, c->d_head);
    rf_rope_frequencies(even, &plain, c->d_head);
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(even[i] / stretched[i] / (double)factors[i] - 1) < 1e-4))
            return rf_fail(RF_INPUT,
                           "'rope_freqs.weight' is not how Llama 3 stretches its rotary "
                           "frequencies (%s). Other ways are not supported",
                           rf_gguf_path(g));
    return RF_OK;
}

static rf_status read_factors(rf_model_config *c, const rf_gguf *g)
{
    float factors[ROPE_PAIRS];
    if (!rf_safetensors_find(rf_gguf_tensors(g), "rope_freqs.weight")) return RF_OK;
    if (c->d_head / 2 > ROPE_PAIRS)
        return rf_fail(RF_INPUT, "'rope_freqs.weight' is for heads of %lld, at most %d (%s)",
                       (long long)c->d_head, 2 * ROPE_PAIRS, rf_gguf_path(g));
    RF_TRY(rf_safetensors_load(rf_gguf_tensors(g), "rope_freqs.weight", RF_F32, factors,
                               c->d_head / 2));
    return recognise_llama3(c, g, factors);
}

static rf_status read_rope(rf_model_config *c, const rf_gguf *g)
{
    rf_bytes kind = {0};
    double factor = 0;
    c->rope.theta = 1e4;
    RF_TRY(rf_gguf_number(g, "llama.rope.freq_base", 1e-3, 1e15, &c->rope.theta));
    RF_TRY(rf_gguf_text(g, "llama.rope.scaling.type", &kind));
    RF_TRY(rf_gguf_number(g, "llama.rope.scale_linear", 0, 1e9, &factor));
    RF_TRY(rf_gguf_number(g, "llama.rope.scaling.factor", 0, 1e9, &factor));
    const int none = kind.at && kind.length == 4; /* "none" */
    if (!none && factor > 0 && factor != 1) {
        c->rope.kind = RF_ROPE_LINEAR;
        c->rope.factor = factor;
    }
    return read_factors(c, g);
}

static rf_status add_eos(rf_model_config *c, const rf_gguf *g, const char *key)
{
    int64_t id = -1;
    RF_TRY(rf_gguf_whole(g, key, 0, UINT32_MAX, &id));
    if (id < 0 || id == UINT32_MAX) return RF_OK; /* the greatest number stands for none */
    if (id >= c->vocab)
        return rf_fail(RF_INPUT, "'%s' %lld is no id below %lld (%s)", key, (long long)id,
                       (long long)c->vocab, rf_gguf_path(g));
    for (int i = 0; i < c->eos_count; i++)
        if (c->eos[i] == id) return RF_OK;
    c->eos[c->eos_count++] = id;
    return RF_OK;
}

static rf_status read_tokens(rf_model_config *c, const rf_gguf *g)
{
    c->bos = c->pad = -1;
    RF_TRY(rf_gguf_whole(g, "tokenizer.ggml.bos_token_id", 0, UINT32_MAX, &c->bos));
    RF_TRY(rf_gguf_whole(g, "tokenizer.ggml.padding_token_id", 0, UINT32_MAX, &c->pad));
    if (c->bos >= c->vocab) c->bos = -1;
    if (c->pad >= c->vocab) c->pad = -1;
    RF_TRY(add_eos(c, g, "tokenizer.ggml.eos_token_id"));
    RF_TRY(add_eos(c, g, "tokenizer.ggml.eot_token_id"));
    return add_eos(c, g, "tokenizer.ggml.eom_token_id");
}

static int has(const rf_gguf *g, const char *tensor)
{
    return rf_safetensors_find(rf_gguf_tensors(g), tensor) != NULL;
}

static void read_layout(rf_model_config *c, const rf_gguf *g)
{
    const rf_tensor_info *q = rf_safetensors_find(rf_gguf_tensors(g), "blk.0.attn_q.weight");
    const int bf16 = q && q->known && q->type == RF_BF16, f16 = q && q->known && q->type == RF_F16;
    c->tied = !has(g, "output.weight");
    c->attention_bias = has(g, "blk.0.attn_q.bias");
    c->mlp_bias = has(g, "blk.0.ffn_gate.bias");
    strcpy(c->dtype, bf16 ? "bfloat16" : f16 ? "float16" : "float32");
    strcpy(c->model_type, c->window > 0 ? "mistral" : "llama");
}

rf_status rf_gguf_config(rf_model_config *config, const rf_gguf *gguf)
{
    memset(config, 0, sizeof *config);
    config->initializer_range = 0.02;
    RF_TRY(check_unsupported(gguf));
    RF_TRY(read_sizes(config, gguf));
    RF_TRY(read_vocab(config, gguf));
    RF_TRY(rf_gguf_require(gguf, "llama.attention.layer_norm_rms_epsilon"));
    RF_TRY(rf_gguf_number(gguf, "llama.attention.layer_norm_rms_epsilon", 1e-30, 1,
                          &config->norm_eps));
    RF_TRY(read_rope(config, gguf));
    RF_TRY(read_tokens(config, gguf));
    read_layout(config, gguf);
    return RF_OK;
}
