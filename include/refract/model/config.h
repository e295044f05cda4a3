/** The shape of a LLaMA-family decoder, as `config.json` or GGUF metadata tell it. */
#ifndef RF_MODEL_CONFIG_H
#define RF_MODEL_CONFIG_H

#include <stdint.h>

#include "refract/base/status.h"
#include "refract/nn/rope.h"

enum { RF_MAX_EOS = 8 };

/** The linear layers of a block, in model order. */
typedef enum rf_linear_kind {
    RF_Q,
    RF_K,
    RF_V,
    RF_O,
    RF_GATE,
    RF_UP,
    RF_DOWN,
    RF_LINEARS
} rf_linear_kind;

typedef struct rf_model_config {
    char model_type[32]; /**< "llama" or "mistral" */
    int64_t vocab, d_model, d_ff;
    int64_t layers, heads, kv_heads, d_head;
    int64_t max_position;
    int64_t window; /**< sliding window: key j visible to i iff i - window < j <= i; 0 = none */
    double norm_eps;
    double initializer_range;
    rf_rope rope;
    int tied;                /**< lm_head shares embed_tokens */
    int attention_bias;      /**< q, k, v, o have biases */
    int mlp_bias;            /**< gate, up, down have biases */
    int64_t bos, pad;        /**< token ids, -1 = none */
    int64_t eos[RF_MAX_EOS]; /**< end tokens */
    int eos_count;
    char dtype[16]; /**< torch_dtype / dtype: "float32", "bfloat16", "float16" */
} rf_model_config;

#endif
