/**
 * GGUF files written: metadata put together key by key, tensors collected one at a time. Source:
 * ggml-org/ggml `docs/gguf.md`, llama.cpp `convert_hf_to_gguf.py`, `convert_lora_to_gguf.py`.
 */
#ifndef RF_IO_GGUF_WRITE_H
#define RF_IO_GGUF_WRITE_H

#include <stdio.h>

#include "refract/io/gguf.h"
#include "refract/model/config.h"

/** Keys and values as they will stand in the file. */
typedef struct rf_gguf_metadata {
    FILE *out; /**< owned */
    char *bytes;
    size_t length;
    uint64_t count;
} rf_gguf_metadata;

/** Local; RF_RESOURCES. rf_gguf_metadata_close is due in any case. */
rf_status rf_gguf_metadata_open(rf_gguf_metadata *metadata);
void rf_gguf_metadata_close(rf_gguf_metadata *metadata);

/** Appends a key. Local. */
void rf_gguf_put_text(rf_gguf_metadata *metadata, const char *key, const char *text);
void rf_gguf_put_whole(rf_gguf_metadata *metadata, const char *key, int64_t value); /**< u32 */
void rf_gguf_put_number(rf_gguf_metadata *metadata, const char *key, double value); /**< f32 */
void rf_gguf_put_flag(rf_gguf_metadata *metadata, const char *key, int value);
/** An array of `count` items, `bytes` bytes as they stand in the file. */
void rf_gguf_put_array(rf_gguf_metadata *metadata, const char *key, rf_gguf_type item,
                       int64_t count, const void *items, size_t bytes);
/** A key of another file as it is. */
void rf_gguf_put_value(rf_gguf_metadata *metadata, const rf_gguf_value *value);

/** Architecture, sizes and rotary positions of a model of the architecture llama. Local. */
void rf_gguf_put_model(rf_gguf_metadata *metadata, const rf_model_config *config);

/**
 * The tokeniser of an HF folder: byte-level BPE with one of the pre-tokenisers that
 * rf_gguf_tokenizer knows, or BPE over SentencePiece's pieces; "none" where there is no
 * tokenizer.json. Local; RF_INPUT, RF_USAGE for a tokeniser that cannot be written, named;
 * RF_RESOURCES.
 */
rf_status rf_gguf_put_tokenizer(rf_gguf_metadata *metadata, const rf_model_config *config,
                                const char *folder);

/** How the tensors are written. */
typedef struct rf_gguf_options {
    rf_gguf_metadata *metadata; /**< borrowed */
    const rf_dtype *dtype;      /**< [count] in the file: f32, bf16, f16 or q8_0 */
    const int64_t *head;        /**< [count] rows of a head whose halves are interleaved; 0: none */
    const uint8_t *matrix;      /**< [count] 1: [rows, 1] is a matrix; NULL = vectors */
    rf_field_fill *fill;        /**< as in rf_safetensors_options */
    void *context;
} rf_gguf_options;

/**
 * Writes a file of fields under their names, whole or not at all. Collective over the grid's world;
 * arguments equal on all ranks. RF_WRITE, RF_RESOURCES.
 */
rf_status rf_gguf_write(const rf_grid *grid, const char *path, const rf_field *fields,
                        int64_t count, const rf_gguf_options *options);

/**
 * The name in GGUF of a tensor of an HF model, its suffix kept as it is after ".weight" or ".bias";
 * *interleaved: its rows go in pairs. 0 where there is none. Local.
 */
int rf_gguf_tensor_name(char *name, size_t bytes, const char *hf, int *interleaved);

#endif
