#include "refract/io/hf_config.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "json.h"

static json_t *token(int64_t id)
{
    return id < 0 ? json_null() : json_integer(id);
}

static json_t *end_tokens(const rf_model_config *config)
{
    if (config->eos_count == 0) return json_null();
    if (config->eos_count == 1) return json_integer(config->eos[0]);
    json_t *list = json_array();
    for (int i = 0; i < config->eos_count; i++)
        json_array_append_new(list, json_integer(config->eos[i]));
    return list;
}

static json_t *rope_scaling(const rf_rope *rope)
{
    if (rope->kind == RF_ROPE_DEFAULT) return json_null();
    if (rope->kind == RF_ROPE_LINEAR)
        return json_pack("{s:s, s:f}", "rope_type", "linear", "factor", rope->factor);
    return json_pack("{s:s, s:f, s:f, s:f, s:I}", "rope_type", "llama3", "factor", rope->factor,
                     "low_freq_factor", rope->low_freq_factor, "high_freq_factor",
                     rope->high_freq_factor, "original_max_position_embeddings",
                     (json_int_t)rope->original_max_position);
}

static json_t *sizes(const rf_model_config *c)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f}", /* */
                     "vocab_size", (json_int_t)c->vocab, "hidden_size", (json_int_t)c->d_model,
                     "intermediate_size", (json_int_t)c->d_ff, "num_hidden_layers",
                     (json_int_t)c->layers, "num_attention_heads", (json_int_t)c->heads,
                     "num_key_value_heads", (json_int_t)c->kv_heads, "head_dim",
                     (json_int_t)c->d_head, "max_position_embeddings", (json_int_t)c->max_position,
                     "rms_norm_eps", c->norm_eps, "initializer_range", c->initializer_range,
                     "rope_theta", c->rope.theta);
}

/* A key whose value could not be made leaves no object at all. */
static json_t *complete(json_t *json, const rf_model_config *c)
{
    const int mistral = strcmp(c->model_type, "mistral") == 0;
    int failed = json_object_set_new(json, "bos_token_id", token(c->bos));
    failed |= json_object_set_new(json, "pad_token_id", token(c->pad));
    failed |= json_object_set_new(json, "eos_token_id", end_tokens(c));
    failed |= json_object_set_new(json, "rope_scaling", rope_scaling(&c->rope));
    if (mistral)
        failed |= json_object_set_new(json, "sliding_window",
                                      c->window > 0 ? json_integer(c->window) : json_null());
    json_t *rest = json_pack("{s:[s], s:s, s:s, s:b, s:f, s:b, s:s}", "architectures",
                             mistral ? "MistralForCausalLM" : "LlamaForCausalLM", "model_type",
                             c->model_type, "hidden_act", "silu", "tie_word_embeddings", c->tied,
                             "attention_dropout", 0.0, "use_cache", 1, "torch_dtype", c->dtype);
    failed |= json_object_update(json, rest);
    json_decref(rest);
    if (!mistral) {
        failed |= json_object_set_new(json, "attention_bias", json_boolean(c->attention_bias));
        failed |= json_object_set_new(json, "mlp_bias", json_boolean(c->mlp_bias));
        failed |= json_object_set_new(json, "pretraining_tp", json_integer(1));
    }
    if (!failed) return json;
    json_decref(json);
    return NULL;
}

rf_status rf_hf_config_write(const rf_model_config *config, const char *folder)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/config.json", folder) >= (int)sizeof path)
        return rf_fail(RF_WRITE, "the path of %.200s is too long", folder);
    return rf_json_write(complete(sizes(config), config), path);
}
