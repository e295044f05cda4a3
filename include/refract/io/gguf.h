/**
 * GGUF: one file with metadata, a table of tensors and their data. Source: ggml-org/ggml
 * `docs/gguf.md`. Version 3, little-endian. Every length, count and place in the file is checked
 * before it is used.
 */
#ifndef RF_IO_GGUF_H
#define RF_IO_GGUF_H

#include <stdint.h>

#include "refract/data/text.h"
#include "refract/io/safetensors.h"

enum { RF_GGUF_VERSION = 3 };

/** Types of metadata, as the file numbers them. */
typedef enum rf_gguf_type {
    RF_GGUF_U8,
    RF_GGUF_I8,
    RF_GGUF_U16,
    RF_GGUF_I16,
    RF_GGUF_U32,
    RF_GGUF_I32,
    RF_GGUF_F32,
    RF_GGUF_BOOL,
    RF_GGUF_STRING,
    RF_GGUF_ARRAY,
    RF_GGUF_U64,
    RF_GGUF_I64,
    RF_GGUF_F64,
    RF_GGUF_TYPES
} rf_gguf_type;

/** One key with its value. */
typedef struct rf_gguf_value {
    const char *key; /**< borrowed from the rf_gguf */
    rf_gguf_type type;
    rf_gguf_type item; /**< type of an array's items; otherwise `type` */
    int64_t count;     /**< items of an array; otherwise 1 */
    rf_bytes data;     /**< as in the file: the items one after another; borrowed */
    uint64_t place;    /**< of these in the file */
} rf_gguf_value;

/** An open file: metadata in memory, tensors on disk. */
typedef struct rf_gguf rf_gguf;

/** 1 when the file begins as a GGUF does. Local. */
int rf_gguf_recognises(const char *path);

/**
 * Opens and checks a file; no tensor is read. The caller owns *gguf. Local; RF_INPUT names file and
 * key or tensor; RF_RESOURCES.
 */
rf_status rf_gguf_open(rf_gguf **gguf, const char *path);
void rf_gguf_close(rf_gguf **gguf);

const char *rf_gguf_path(const rf_gguf *gguf);
int64_t rf_gguf_alignment(const rf_gguf *gguf);

/** Metadata in order of the file; NULL from find where there is none. Borrowed. Local. */
int64_t rf_gguf_count(const rf_gguf *gguf);
const rf_gguf_value *rf_gguf_at(const rf_gguf *gguf, int64_t index);
const rf_gguf_value *rf_gguf_find(const rf_gguf *gguf, const char *key);

/** Spelling of a type: "u32", "string". Local. */
const char *rf_gguf_type_name(rf_gguf_type type);

/**
 * Item `index` of a value as a number (integers and booleans as whole numbers, if they fit); 0 from
 * the function for other types. Local.
 */
int rf_gguf_whole_at(const rf_gguf_value *value, int64_t index, int64_t *whole);
int rf_gguf_number_at(const rf_gguf_value *value, int64_t index, double *number);

/** Walks the strings of a value. Start with {value}; 0 after the last one. Local. */
typedef struct rf_gguf_strings {
    const rf_gguf_value *value;
    size_t at;
    rf_bytes text; /**< the string last found, valid UTF-8; borrowed, no NUL behind it */
} rf_gguf_strings;
int rf_gguf_next_string(rf_gguf_strings *strings);

/**
 * The value of a key; an absent key leaves *value as it is. Whole numbers and numbers must be in
 * [low, high]. Local; RF_INPUT names file and key.
 */
rf_status rf_gguf_whole(const rf_gguf *gguf, const char *key, int64_t low, int64_t high,
                        int64_t *value);
rf_status rf_gguf_number(const rf_gguf *gguf, const char *key, double low, double high,
                         double *value);
rf_status rf_gguf_flag(const rf_gguf *gguf, const char *key, int *value);
rf_status rf_gguf_text(const rf_gguf *gguf, const char *key, rf_bytes *value);
/** An array of items of that type; *value is NULL where the key is absent. */
rf_status rf_gguf_array(const rf_gguf *gguf, const char *key, rf_gguf_type item,
                        const rf_gguf_value **value);
/** Fails unless the key is there. Local; RF_INPUT. */
rf_status rf_gguf_require(const rf_gguf *gguf, const char *key);

/**
 * The tensors under the file's own names, shapes slowest dimension first. Borrowed; sorted by name.
 * Read with the functions of safetensors.h. Local.
 */
const rf_safetensors *rf_gguf_tensors(const rf_gguf *gguf);

#endif
