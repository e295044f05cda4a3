/* Metadata of a GGUF file as numbers, texts and arrays. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "gguf_file.h"

int rf_gguf_recognises(const char *path)
{
    char magic[4] = "";
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    const size_t got = fread(magic, 1, sizeof magic, file);
    fclose(file);
    return got == sizeof magic && memcmp(magic, "GGUF", sizeof magic) == 0;
}

const char *rf_gguf_path(const rf_gguf *gguf)
{
    return gguf->path;
}

int64_t rf_gguf_alignment(const rf_gguf *gguf)
{
    return gguf->alignment;
}

int64_t rf_gguf_count(const rf_gguf *gguf)
{
    return gguf->count;
}

const rf_gguf_value *rf_gguf_at(const rf_gguf *gguf, int64_t index)
{
    RF_ASSERT(index >= 0 && index < gguf->count, "key %lld of %lld", (long long)index,
              (long long)gguf->count);
    return &gguf->value[index];
}

const rf_gguf_value *rf_gguf_find(const rf_gguf *gguf, const char *key)
{
    for (int64_t i = 0; i < gguf->count; i++)
        if (strcmp(gguf->value[i].key, key) == 0) return &gguf->value[i];
    return NULL;
}

const rf_safetensors *rf_gguf_tensors(const rf_gguf *gguf)
{
    return gguf->table;
}

static int is_signed(rf_gguf_type type)
{
    return type == RF_GGUF_I8 || type == RF_GGUF_I16 || type == RF_GGUF_I32 || type == RF_GGUF_I64;
}

int rf_gguf_whole_at(const rf_gguf_value *value, int64_t index, int64_t *whole)
{
    const size_t bytes = rf_gguf_type_bytes(value->item);
    if (bytes == 0 || value->item == RF_GGUF_F32 || value->item == RF_GGUF_F64) return 0;
    RF_ASSERT(index >= 0 && index < value->count, "item %lld of '%s'", (long long)index,
              value->key);
    uint64_t bits = 0;
    memcpy(&bits, value->data.at + (size_t)index * bytes, bytes);
    const unsigned unused = 64 - 8 * (unsigned)bytes;
    *whole = is_signed(value->item) ? (int64_t)(bits << unused) >> unused : (int64_t)bits;
    return is_signed(value->item) || bits <= INT64_MAX;
}

int rf_gguf_number_at(const rf_gguf_value *value, int64_t index, double *number)
{
    int64_t whole = 0;
    float single = 0;
    RF_ASSERT(index >= 0 && index < value->count, "item %lld of '%s'", (long long)index,
              value->key);
    if (value->item == RF_GGUF_F64) {
        memcpy(number, value->data.at + (size_t)index * sizeof *number, sizeof *number);
    } else if (value->item == RF_GGUF_F32) {
        memcpy(&single, value->data.at + (size_t)index * sizeof single, sizeof single);
        *number = (double)single;
    } else {
        if (!rf_gguf_whole_at(value, index, &whole)) return 0;
        *number = (double)whole;
    }
    return 1;
}

int rf_gguf_next_string(rf_gguf_strings *strings)
{
    const rf_bytes data = strings->value->data;
    uint64_t length = 0;
    if (strings->value->item != RF_GGUF_STRING || strings->at >= data.length) return 0;
    memcpy(&length, data.at + strings->at, sizeof length);
    strings->text = (rf_bytes){data.at + strings->at + sizeof length, (size_t)length};
    strings->at += sizeof length + (size_t)length;
    return 1;
}

static rf_status wrong(const rf_gguf *gguf, const rf_gguf_value *value, const char *wanted)
{
    return rf_fail(RF_INPUT, "'%.200s' is %s%s, not %s (%s)", value->key,
                   value->type == RF_GGUF_ARRAY ? "an array of " : "of type ",
                   rf_gguf_type_name(value->item), wanted, gguf->path);
}

rf_status rf_gguf_whole(const rf_gguf *gguf, const char *key, int64_t low, int64_t high,
                        int64_t *value)
{
    const rf_gguf_value *found = rf_gguf_find(gguf, key);
    int64_t whole = 0;
    if (!found) return RF_OK;
    if (found->type == RF_GGUF_ARRAY || !rf_gguf_whole_at(found, 0, &whole))
        return wrong(gguf, found, "a whole number");
    if (whole < low || whole > high)
        return rf_fail(RF_INPUT, "'%s' = %lld is not in %lld ... %lld (%s)", key, (long long)whole,
                       (long long)low, (long long)high, gguf->path);
    *value = whole;
    return RF_OK;
}

rf_status rf_gguf_number(const rf_gguf *gguf, const char *key, double low, double high,
                         double *value)
{
    const rf_gguf_value *found = rf_gguf_find(gguf, key);
    double number = 0;
    if (!found) return RF_OK;
    if (found->type == RF_GGUF_ARRAY || !rf_gguf_number_at(found, 0, &number))
        return wrong(gguf, found, "a number");
    if (!(number >= low && number <= high))
        return rf_fail(RF_INPUT, "'%s' = %g is not in %g ... %g (%s)", key, number, low, high,
                       gguf->path);
    *value = number;
    return RF_OK;
}

rf_status rf_gguf_flag(const rf_gguf *gguf, const char *key, int *value)
{
    const rf_gguf_value *found = rf_gguf_find(gguf, key);
    if (!found) return RF_OK;
    if (found->type != RF_GGUF_BOOL) return wrong(gguf, found, "true or false");
    *value = found->data.at[0] != 0;
    return RF_OK;
}

rf_status rf_gguf_text(const rf_gguf *gguf, const char *key, rf_bytes *value)
{
    const rf_gguf_value *found = rf_gguf_find(gguf, key);
    rf_gguf_strings strings = {.value = found};
    if (!found) return RF_OK;
    if (found->type != RF_GGUF_STRING || !rf_gguf_next_string(&strings))
        return wrong(gguf, found, "a string");
    *value = strings.text;
    return RF_OK;
}

rf_status rf_gguf_array(const rf_gguf *gguf, const char *key, rf_gguf_type item,
                        const rf_gguf_value **value)
{
    *value = rf_gguf_find(gguf, key);
    if (!*value || ((*value)->type == RF_GGUF_ARRAY && (*value)->item == item)) return RF_OK;
    char wanted[64];
    snprintf(wanted, sizeof wanted, "an array of %s", rf_gguf_type_name(item));
    return wrong(gguf, *value, wanted);
}

rf_status rf_gguf_require(const rf_gguf *gguf, const char *key)
{
    if (rf_gguf_find(gguf, key)) return RF_OK;
    return rf_fail(RF_INPUT, "key '%s' is missing (%s)", key, gguf->path);
}
