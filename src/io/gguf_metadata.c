/* Metadata of a GGUF file, put together. */
#include <stdlib.h>
#include <string.h>

#include "gguf_file.h"
#include "refract/io/gguf_write.h"

rf_status rf_gguf_metadata_open(rf_gguf_metadata *m)
{
    *m = (rf_gguf_metadata){0};
    m->out = open_memstream(&m->bytes, &m->length);
    return m->out ? RF_OK : rf_fail(RF_RESOURCES, "no memory for metadata");
}

void rf_gguf_metadata_close(rf_gguf_metadata *m)
{
    if (m->out) fclose(m->out);
    free(m->bytes);
    *m = (rf_gguf_metadata){0};
}

static void put_text(FILE *out, const char *text, size_t length)
{
    const uint64_t bytes = length;
    fwrite(&bytes, sizeof bytes, 1, out);
    fwrite(text, 1, length, out);
}

static void put_key(rf_gguf_metadata *m, const char *key, rf_gguf_type type)
{
    const uint32_t number = (uint32_t)type;
    put_text(m->out, key, strlen(key));
    fwrite(&number, sizeof number, 1, m->out);
    m->count++;
}

void rf_gguf_put_text(rf_gguf_metadata *m, const char *key, const char *text)
{
    put_key(m, key, RF_GGUF_STRING);
    put_text(m->out, text, strlen(text));
}

void rf_gguf_put_whole(rf_gguf_metadata *m, const char *key, int64_t value)
{
    const uint32_t small = (uint32_t)value;
    put_key(m, key, RF_GGUF_U32);
    fwrite(&small, sizeof small, 1, m->out);
}

void rf_gguf_put_number(rf_gguf_metadata *m, const char *key, double value)
{
    const float single = (float)value;
    put_key(m, key, RF_GGUF_F32);
    fwrite(&single, sizeof single, 1, m->out);
}

void rf_gguf_put_flag(rf_gguf_metadata *m, const char *key, int value)
{
    put_key(m, key, RF_GGUF_BOOL);
    fputc(value ? 1 : 0, m->out);
}

static void put_items(rf_gguf_metadata *m, rf_gguf_type item, int64_t count, const void *items,
                      size_t bytes)
{
    const uint32_t number = (uint32_t)item;
    const uint64_t length = (uint64_t)count;
    fwrite(&number, sizeof number, 1, m->out);
    fwrite(&length, sizeof length, 1, m->out);
    fwrite(items, 1, bytes, m->out);
}

void rf_gguf_put_array(rf_gguf_metadata *m, const char *key, rf_gguf_type item, int64_t count,
                       const void *items, size_t bytes)
{
    put_key(m, key, RF_GGUF_ARRAY);
    put_items(m, item, count, items, bytes);
}

void rf_gguf_put_value(rf_gguf_metadata *m, const rf_gguf_value *value)
{
    put_key(m, value->key, value->type);
    if (value->type == RF_GGUF_ARRAY)
        put_items(m, value->item, value->count, value->data.at, value->data.length);
    else
        fwrite(value->data.at, 1, value->data.length, m->out);
}

void rf_gguf_put_model(rf_gguf_metadata *m, const rf_model_config *c)
{
    const struct {
        const char *key;
        int64_t value;
    } sizes[] = {
        {"llama.vocab_size", c->vocab},
        {"llama.context_length", c->max_position},
        {"llama.embedding_length", c->d_model},
        {"llama.block_count", c->layers},
        {"llama.feed_forward_length", c->d_ff},
        {"llama.attention.head_count", c->heads},
        {"llama.attention.head_count_kv", c->kv_heads},
        {"llama.attention.key_length", c->d_head},
        {"llama.attention.value_length", c->d_head},
        {"llama.rope.dimension_count", c->d_head},
    };
    rf_gguf_put_text(m, "general.architecture", "llama");
    rf_gguf_put_text(m, "general.type", "model");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        rf_gguf_put_whole(m, sizes[i].key, sizes[i].value);
    if (c->window > 0) rf_gguf_put_whole(m, "llama.attention.sliding_window", c->window);
    rf_gguf_put_number(m, "llama.attention.layer_norm_rms_epsilon", c->norm_eps);
    rf_gguf_put_number(m, "llama.rope.freq_base", c->rope.theta);
    if (c->rope.kind == RF_ROPE_LINEAR) {
        rf_gguf_put_text(m, "llama.rope.scaling.type", "linear");
        rf_gguf_put_number(m, "llama.rope.scaling.factor", c->rope.factor);
    }
}
