/** GGUF files put together by hand, sound ones and others. */
#ifndef GGUF_WRITER_H
#define GGUF_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "refract/io/gguf.h"

enum { GGUF_MOST_TENSORS = 64 };

typedef struct gguf_writer {
    uint32_t version; /**< 3 */
    size_t alignment; /**< 32; general.alignment is a key like others */
    rf_text keys, table, data;
    uint64_t key_count, tensor_count;
} gguf_writer;

gguf_writer gguf_begin(void);

/** A key with its type; then put its value. */
void gguf_key(gguf_writer *w, const char *key, rf_gguf_type type);
void gguf_put(rf_text *out, const void *bytes, size_t length);
void gguf_put_text(rf_text *out, const char *text);

void gguf_u32(gguf_writer *w, const char *key, uint32_t value);
void gguf_f32(gguf_writer *w, const char *key, float value);
void gguf_bool(gguf_writer *w, const char *key, int value);
void gguf_text(gguf_writer *w, const char *key, const char *value);
/** Arrays. */
void gguf_texts(gguf_writer *w, const char *key, const char *const *texts, int64_t count);
void gguf_i32s(gguf_writer *w, const char *key, const int32_t *values, int64_t count);
void gguf_f32s(gguf_writer *w, const char *key, const float *values, int64_t count);

/** A tensor [rows, cols] (rows 0: a vector of cols) of the file's type number, with its data. */
void gguf_tensor(gguf_writer *w, const char *name, uint32_t type, int64_t rows, int64_t cols,
                 const void *data, size_t bytes);

/** Number of a type in the file. */
uint32_t gguf_number_of(rf_dtype dtype);

/** Writes the file and frees the writer. */
void gguf_end(gguf_writer *w, const char *path);

#endif
