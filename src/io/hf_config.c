#include "refract/io/hf_config.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "json.h"

static rf_status refuse(const char *what, const char *value, const char *file, const char *hint)
{
    return rf_fail(RF_INPUT, "%s '%s' is not supported (%s). %s", what, value, file, hint);
}

/* A text key that may only have some values; absent is fine. */
static rf_status only(const json_t *json, const char *key, const char *a, const char *b,
                      const char *file)
{
    const char *value = a;
    char hint[128];
    RF_TRY(rf_json_text(&value, json, key, file));
    if (strcmp(value, a) == 0 || strcmp(value, b) == 0) return RF_OK;
    snprintf(hint, sizeof hint, "Supported: %s, %s", a, b);
    return refuse(key, value, file, hint);
}

static rf_status check_architecture(const json_t *json, const char *file)
{
    const json_t *list = json_object_get(json, "architectures");
    if (!json_is_array(list) || json_array_size(list) == 0) return RF_OK;
    const char *name = json_string_value(json_array_get(list, 0));
    if (name && strstr(name, "ForCausalLM")) return RF_OK;
    return refuse("architectures", name ? name : "?", file, "Give a causal language model");
}

/* What would change the numbers and is not implemented. */
static rf_status check_unsupported(const json_t *json, const char *file)
{
    double share = 1, dropout = 0;
    RF_TRY(only(json, "hidden_act", "silu", "swish", file));
    RF_TRY(rf_json_number(&share, json, "partial_rotary_factor", 0, 1, file));
    if (share < 1) return refuse("partial_rotary_factor", "below 1", file, "Only 1 is");
    RF_TRY(rf_json_number(&dropout, json, "attention_dropout", 0, 1, file));
    if (dropout > 0) return refuse("attention_dropout", "above 0", file, "Set it to 0.0");
    if (!rf_json_is_null(json, "quantization_config"))
        return refuse("quantization_config", "of packed weights", file,
                      "Give the model in float16, bfloat16 or float32");
    const json_t *types = json_object_get(json, "layer_types");
    for (size_t i = 1; i < json_array_size(types); i++)
        if (!json_equal(json_array_get(types, i), json_array_get(types, 0)))
            return refuse("layer_types", "of several kinds", file, "All layers must be alike");
    return RF_OK;
}

static rf_status read_sizes(rf_model_config *c, const json_t *json, const char *file)
{
    const struct {
        const char *key;
        int64_t *value;
        int64_t most;
        int required;
    } sizes[] = {
        {"vocab_size", &c->vocab, INT32_MAX, 1},
        {"hidden_size", &c->d_model, 1 << 24, 1},
        {"intermediate_size", &c->d_ff, 1 << 26, 1},
        {"num_hidden_layers", &c->layers, 1 << 16, 1},
        {"num_attention_heads", &c->heads, 1 << 16, 1},
        {"num_key_value_heads", &c->kv_heads, 1 << 16, 0},
        {"head_dim", &c->d_head, 1 << 16, 0},
        {"max_position_embeddings", &c->max_position, INT32_MAX, 0},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (sizes[i].required) RF_TRY(rf_json_require(json, sizes[i].key, file));
        RF_TRY(rf_json_whole(sizes[i].value, json, sizes[i].key, 1, sizes[i].most, file));
    }
    if (c->kv_heads == 0) c->kv_heads = c->heads;
    if (c->d_head == 0 && c->d_model % c->heads != 0)
        return rf_fail(RF_INPUT,
                       "'hidden_size' %lld is not a multiple of 'num_attention_heads' "
                       "%lld and there is no 'head_dim' (%s)",
                       (long long)c->d_model, (long long)c->heads, file);
    if (c->d_head == 0) c->d_head = c->d_model / c->heads;
    if (c->heads % c->kv_heads != 0)
        return rf_fail(RF_INPUT,
                       "'num_attention_heads' %lld is not a multiple of "
                       "'num_key_value_heads' %lld (%s)",
                       (long long)c->heads, (long long)c->kv_heads, file);
    if (c->d_head % 2 == 0) return RF_OK;
    return rf_fail(RF_INPUT, "'head_dim' %lld is odd: rotary positions turn pairs (%s)",
                   (long long)c->d_head, file);
}

/* The two spellings of the same dictionary; rope_theta may stand inside or beside it. */
static rf_status find_rope(const json_t **rope, const json_t *json, const char *file)
{
    const json_t *const now = json_object_get(json, "rope_parameters");
    const json_t *const old = json_object_get(json, "rope_scaling");
    const int has_now = now && !json_is_null(now), has_old = old && !json_is_null(old);
    *rope = has_now ? now : has_old ? old : NULL;
    if (has_now && has_old && !json_equal((json_t *)(uintptr_t)now, (json_t *)(uintptr_t)old))
        return rf_fail(RF_INPUT, "'rope_parameters' and 'rope_scaling' differ (%s). Keep one",
                       file);
    if (*rope && !json_is_object(*rope))
        return rf_fail(RF_INPUT, "'rope_parameters' / 'rope_scaling' is not an object (%s)", file);
    return RF_OK;
}

static rf_status read_llama3(rf_rope *rope, const json_t *json, const char *file)
{
    static const char *const keys[] = {"low_freq_factor", "high_freq_factor",
                                       "original_max_position_embeddings"};
    for (int i = 0; i < 3; i++) RF_TRY(rf_json_require(json, keys[i], file));
    RF_TRY(rf_json_number(&rope->low_freq_factor, json, keys[0], 1e-6, 1e9, file));
    RF_TRY(rf_json_number(&rope->high_freq_factor, json, keys[1], 1e-6, 1e9, file));
    RF_TRY(rf_json_whole(&rope->original_max_position, json, keys[2], 1, INT32_MAX, file));
    if (rope->low_freq_factor < rope->high_freq_factor) return RF_OK;
    return rf_fail(RF_INPUT, "'low_freq_factor' %g is not below 'high_freq_factor' %g (%s)",
                   rope->low_freq_factor, rope->high_freq_factor, file);
}

static rf_status read_rope(rf_rope *rope, const json_t *json, const char *file)
{
    const json_t *inner = NULL;
    const char *kind = "default";
    double share = 1;
    RF_TRY(find_rope(&inner, json, file));
    RF_TRY(rf_json_number(&rope->theta, json, "rope_theta", 1e-3, 1e15, file));
    if (!inner) return RF_OK;
    RF_TRY(rf_json_number(&rope->theta, inner, "rope_theta", 1e-3, 1e15, file));
    RF_TRY(rf_json_text(&kind, inner, "type", file));
    RF_TRY(rf_json_text(&kind, inner, "rope_type", file));
    RF_TRY(rf_json_number(&share, inner, "partial_rotary_factor", 0, 1, file));
    if (share < 1) return refuse("partial_rotary_factor", "below 1", file, "Only 1 is");
    if (strcmp(kind, "default") == 0) return RF_OK;
    rope->kind = strcmp(kind, "linear") == 0 ? RF_ROPE_LINEAR : RF_ROPE_LLAMA3;
    if (rope->kind == RF_ROPE_LLAMA3 && strcmp(kind, "llama3") != 0)
        return refuse("rope_type", kind, file, "Supported: default, linear, llama3");
    RF_TRY(rf_json_require(inner, "factor", file));
    RF_TRY(rf_json_number(&rope->factor, inner, "factor", 1, 1e9, file));
    return rope->kind == RF_ROPE_LLAMA3 ? read_llama3(rope, inner, file) : RF_OK;
}

static rf_status add_eos(rf_model_config *c, int64_t id, const char *file)
{
    for (int i = 0; i < c->eos_count; i++)
        if (c->eos[i] == id) return RF_OK;
    if (id < 0 || id >= c->vocab)
        return rf_fail(RF_INPUT, "'eos_token_id' %lld is no id below vocab_size %lld (%s)",
                       (long long)id, (long long)c->vocab, file);
    if (c->eos_count == RF_MAX_EOS)
        return rf_fail(RF_INPUT, "'eos_token_id' has more than %d ids (%s)", RF_MAX_EOS, file);
    c->eos[c->eos_count++] = id;
    return RF_OK;
}

/* null, one id or a list. */
static rf_status read_eos(rf_model_config *c, const json_t *json, const char *file)
{
    const json_t *value = json_object_get(json, "eos_token_id");
    if (!value || json_is_null(value)) return RF_OK;
    if (json_is_integer(value)) return add_eos(c, json_integer_value(value), file);
    if (!json_is_array(value))
        return rf_fail(RF_INPUT, "'eos_token_id' is not a token id or a list of them (%s)", file);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *id = json_array_get(value, i);
        if (!json_is_integer(id))
            return rf_fail(RF_INPUT, "'eos_token_id' holds what is no token id (%s)", file);
        RF_TRY(add_eos(c, json_integer_value(id), file));
    }
    return RF_OK;
}

/* An explicit null means none; a negative id, found in old files, too. */
static rf_status read_tokens(rf_model_config *c, const json_t *json, const char *file)
{
    c->bos = json_object_get(json, "bos_token_id") || c->vocab < 2 ? -1 : 1;
    c->pad = -1;
    RF_TRY(rf_json_whole(&c->bos, json, "bos_token_id", INT32_MIN, c->vocab - 1, file));
    RF_TRY(rf_json_whole(&c->pad, json, "pad_token_id", INT32_MIN, c->vocab - 1, file));
    if (c->bos < 0) c->bos = -1;
    if (c->pad < 0) c->pad = -1;
    if (!json_object_get(json, "eos_token_id") && c->vocab > 2) return add_eos(c, 2, file);
    return read_eos(c, json, file);
}

static rf_status read_dtype(rf_model_config *c, const json_t *json, const char *file)
{
    static const char *const known[] = {"float32", "bfloat16", "float16"};
    const char *name = known[0];
    RF_TRY(rf_json_text(&name, json, "torch_dtype", file));
    RF_TRY(rf_json_text(&name, json, "dtype", file));
    if (strncmp(name, "torch.", 6) == 0) name += 6;
    for (int i = 0; i < 3; i++) {
        if (strcmp(name, known[i]) != 0) continue;
        strcpy(c->dtype, known[i]);
        return RF_OK;
    }
    return refuse("dtype", name, file, "Supported: float32, bfloat16, float16");
}

static rf_status read_window(rf_model_config *c, const json_t *json, const char *file)
{
    if (json_object_get(json, "sliding_window")) c->window = 0; /* null: none */
    return rf_json_whole(&c->window, json, "sliding_window", 1, INT32_MAX, file);
}

/* The defaults of LlamaConfig and MistralConfig where they are not the same. */
static rf_status read_family(rf_model_config *c, const json_t *json, const char *file)
{
    const char *type = NULL;
    RF_TRY(rf_json_require(json, "model_type", file));
    RF_TRY(rf_json_text(&type, json, "model_type", file));
    const int mistral = strcmp(type, "mistral") == 0;
    if (!mistral && strcmp(type, "llama") != 0)
        return refuse("model_type", type, file, "Supported: llama, mistral");
    strcpy(c->model_type, type);
    c->max_position = mistral ? 4096 * 32 : 2048;
    if (mistral && !json_object_get(json, "num_key_value_heads")) c->kv_heads = 8;
    if (mistral) c->window = 4096;
    return mistral ? read_window(c, json, file) : RF_OK;
}

static rf_status read_object(rf_model_config *c, const json_t *json, const char *file)
{
    memset(c, 0, sizeof *c);
    c->norm_eps = 1e-6;
    c->initializer_range = 0.02;
    c->rope.theta = 1e4;
    RF_TRY(read_family(c, json, file));
    RF_TRY(check_architecture(json, file));
    RF_TRY(check_unsupported(json, file));
    RF_TRY(read_sizes(c, json, file));
    RF_TRY(rf_json_number(&c->norm_eps, json, "rms_norm_eps", 1e-30, 1, file));
    RF_TRY(rf_json_number(&c->initializer_range, json, "initializer_range", 0, 1e3, file));
    RF_TRY(read_rope(&c->rope, json, file));
    RF_TRY(rf_json_flag(&c->tied, json, "tie_word_embeddings", file));
    if (strcmp(c->model_type, "llama") ==
        0) { /* Mistral's layers have none, whatever the file says */
        RF_TRY(rf_json_flag(&c->attention_bias, json, "attention_bias", file));
        RF_TRY(rf_json_flag(&c->mlp_bias, json, "mlp_bias", file));
    }
    RF_TRY(read_tokens(c, json, file));
    return read_dtype(c, json, file);
}

static rf_status read_generation(rf_model_config *config, const char *path)
{
    json_t *json = NULL;
    struct stat info;
    if (stat(path, &info) != 0) return RF_OK;
    RF_TRY(rf_json_load(&json, path));
    const rf_status status = read_eos(config, json, path);
    json_decref(json);
    return status;
}

rf_status rf_hf_config_read(rf_model_config *config, const char *path)
{
    char file[PATH_MAX], beside[PATH_MAX];
    struct stat info;
    const int folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    const char *slash = strrchr(path, '/');
    const int stem = folder ? (int)strlen(path) : slash ? (int)(slash - path) : 0;
    if (strlen(path) > sizeof file - 32)
        return rf_fail(RF_INPUT, "the path of %s is too long", path);
    snprintf(file, sizeof file, "%s%s", path, folder ? "/config.json" : "");
    snprintf(beside, sizeof beside, "%.*s%sgeneration_config.json", stem, path,
             stem > 0 || slash ? "/" : "");

    json_t *json = NULL;
    RF_TRY(rf_json_load(&json, file));
    const rf_status status = read_object(config, json, file);
    json_decref(json);
    RF_TRY(status);
    return read_generation(config, beside);
}
