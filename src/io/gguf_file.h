/** Inside of rf_gguf, shared by the files gguf*.c. */
#ifndef RF_IO_GGUF_FILE_H
#define RF_IO_GGUF_FILE_H

#include "refract/io/gguf.h"
#include "safetensors_file.h"

struct rf_gguf {
    char *path;           /**< owned */
    char *head;           /**< owned: the file up to the end of the table of tensors */
    rf_gguf_value *value; /**< owned, keys too */
    int64_t count, capacity;
    int64_t alignment;
    rf_safetensors *table; /**< owned: the tensors, and the open file */
};

/** Bytes of an item of fixed size; 0 for strings and arrays. Local. */
size_t rf_gguf_type_bytes(rf_gguf_type type);

/** A type of tensors as the file numbers them; NULL if there is none. Local. */
typedef struct rf_ggml_type {
    const char *name;
    int64_t block; /**< items */
    size_t bytes;  /**< of a block */
    int known;     /**< 1: `dtype` holds it */
    rf_dtype dtype;
} rf_ggml_type;
const rf_ggml_type *rf_ggml_type_of(uint32_t number);
/** Its number; a type that no file has is a bug. Local. */
uint32_t rf_ggml_number_of(rf_dtype dtype);

/** "blk.0.attn_q.weight" -> "model.layers.0.self_attn.q_proj"; 0 where it is no linear of a block.
 * Local. */
int rf_gguf_hf_module(char *module, size_t bytes, const char *name, int *interleaved);

/** Where a file's pre-tokeniser is one that is known here: its name in the metadata, else NULL.
 * Local. */
const char *rf_gguf_pre_name(const void *pre_tokenizer);

#endif
