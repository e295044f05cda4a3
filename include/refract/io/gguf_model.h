/**
 * Models of the architecture `llama` (LLaMA and Mistral) in GGUF files, told as transformers would.
 * Source: llama.cpp `convert_hf_to_gguf.py`, `gguf-py/gguf/constants.py`, `src/llama-vocab.cpp`.
 */
#ifndef RF_IO_GGUF_MODEL_H
#define RF_IO_GGUF_MODEL_H

#include "refract/data/tokenizer.h"
#include "refract/io/gguf.h"
#include "refract/model/config.h"

/**
 * Model configuration from `general.architecture`, `llama.*`, `tokenizer.ggml.*_token_id` and the
 * tensors: tied without output.weight; biases where there are any; Llama 3's stretched rotary
 * frequencies recognised in rope_freqs.weight. What is not implemented is refused by name. Local;
 * RF_INPUT names file and key or tensor.
 */
rf_status rf_gguf_config(rf_model_config *config, const rf_gguf *gguf);

/**
 * The tensors under their names in transformers ("blk.0.attn_q.weight" ->
 * "model.layers.0.self_attn.q_proj.weight"); q and k, whose heads the file interleaves, are read
 * back in order. A second, independent table: the caller owns *tensors. Local; RF_INPUT for a name
 * that no such model has.
 */
rf_status rf_gguf_model_tensors(rf_safetensors **tensors, const rf_gguf *gguf,
                                const rf_model_config *config);

/**
 * The tokeniser of the metadata: `tokenizer.ggml.model` gpt2 (with `pre` gpt-2, default, smollm,
 * llama-bpe, qwen2) or llama (SentencePiece: neighbours are merged by the score of what they make).
 * The caller owns *tokenizer. Local; RF_INPUT names file and key.
 */
rf_status rf_gguf_tokenizer(rf_tokenizer **tokenizer, const rf_gguf *gguf);

#endif
