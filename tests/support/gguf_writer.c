#include "gguf_writer.h"

#include <stdlib.h>
#include <string.h>

#include "rf_test.h"

gguf_writer gguf_begin(void)
{
    return (gguf_writer){.version = RF_GGUF_VERSION, .alignment = 32};
}

void gguf_put(rf_text *out, const void *bytes, size_t length)
{
    RF_ASSERT(rf_text_append(out, bytes, length) == RF_OK, "no memory");
}

void gguf_put_text(rf_text *out, const char *text)
{
    const uint64_t length = strlen(text);
    gguf_put(out, &length, sizeof length);
    gguf_put(out, text, length);
}

void gguf_key(gguf_writer *w, const char *key, rf_gguf_type type)
{
    const uint32_t number = type;
    gguf_put_text(&w->keys, key);
    gguf_put(&w->keys, &number, sizeof number);
    w->key_count++;
}

void gguf_u32(gguf_writer *w, const char *key, uint32_t value)
{
    gguf_key(w, key, RF_GGUF_U32);
    gguf_put(&w->keys, &value, sizeof value);
}

void gguf_f32(gguf_writer *w, const char *key, float value)
{
    gguf_key(w, key, RF_GGUF_F32);
    gguf_put(&w->keys, &value, sizeof value);
}

void gguf_bool(gguf_writer *w, const char *key, int value)
{
    const unsigned char byte = (unsigned char)value;
    gguf_key(w, key, RF_GGUF_BOOL);
    gguf_put(&w->keys, &byte, 1);
}

void gguf_text(gguf_writer *w, const char *key, const char *value)
{
    gguf_key(w, key, RF_GGUF_STRING);
    gguf_put_text(&w->keys, value);
}

static void begin_array(gguf_writer *w, const char *key, rf_gguf_type item, int64_t count)
{
    const uint32_t number = item;
    gguf_key(w, key, RF_GGUF_ARRAY);
    gguf_put(&w->keys, &number, sizeof number);
    gguf_put(&w->keys, &count, sizeof count);
}

void gguf_texts(gguf_writer *w, const char *key, const char *const *texts, int64_t count)
{
    begin_array(w, key, RF_GGUF_STRING, count);
    for (int64_t i = 0; i < count; i++) gguf_put_text(&w->keys, texts[i]);
}

void gguf_i32s(gguf_writer *w, const char *key, const int32_t *values, int64_t count)
{
    begin_array(w, key, RF_GGUF_I32, count);
    gguf_put(&w->keys, values, (size_t)count * sizeof *values);
}

void gguf_f32s(gguf_writer *w, const char *key, const float *values, int64_t count)
{
    begin_array(w, key, RF_GGUF_F32, count);
    gguf_put(&w->keys, values, (size_t)count * sizeof *values);
}

static void pad(rf_text *out, size_t alignment)
{
    while (out->length % alignment != 0) gguf_put(out, "", 1);
}

void gguf_tensor(gguf_writer *w, const char *name, uint32_t type, int64_t rows, int64_t cols,
                 const void *data, size_t bytes)
{
    const uint32_t dims = rows > 0 ? 2 : 1;
    pad(&w->data, w->alignment);
    const uint64_t offset = w->data.length;
    gguf_put_text(&w->table, name);
    gguf_put(&w->table, &dims, sizeof dims);
    gguf_put(&w->table, &cols, sizeof cols);
    if (rows > 0) gguf_put(&w->table, &rows, sizeof rows);
    gguf_put(&w->table, &type, sizeof type);
    gguf_put(&w->table, &offset, sizeof offset);
    gguf_put(&w->data, data, bytes);
    w->tensor_count++;
}

uint32_t gguf_number_of(rf_dtype dtype)
{
    static const uint32_t numbers[] = {
        [RF_F32] = 0,  [RF_F64] = 28, [RF_BF16] = 30, [RF_F16] = 1,  [RF_I32] = 26,
        [RF_I64] = 27, [RF_U8] = 99,  [RF_Q8_0] = 8,  [RF_Q4_0] = 2, [RF_Q4_1] = 3,
        [RF_Q5_0] = 6, [RF_Q5_1] = 7, [RF_Q4_K] = 12, [RF_Q6_K] = 14};
    return numbers[dtype];
}

void gguf_end(gguf_writer *w, const char *path)
{
    rf_text out = {0};
    gguf_put(&out, "GGUF", 4);
    gguf_put(&out, &w->version, sizeof w->version);
    gguf_put(&out, &w->tensor_count, sizeof w->tensor_count);
    gguf_put(&out, &w->key_count, sizeof w->key_count);
    gguf_put(&out, w->keys.bytes, w->keys.length);
    gguf_put(&out, w->table.bytes, w->table.length);
    if (w->data.length) pad(&out, w->alignment);
    gguf_put(&out, w->data.bytes, w->data.length);
    rf_test_write_file(path, out.bytes, out.length);
    free(out.bytes);
    free(w->keys.bytes);
    free(w->table.bytes);
    free(w->data.bytes);
    *w = gguf_begin();
}
