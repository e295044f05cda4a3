/** What the files of the configuration share: the schema's entries, values, and words not yet
 * typed. */
#ifndef RF_BASE_CONFIG_INTERNAL_H
#define RF_BASE_CONFIG_INTERNAL_H

#include "refract/base/config.h"

typedef enum rf_config_type {
    RF_CONFIG_INTEGER,
    RF_CONFIG_NUMBER,
    RF_CONFIG_BOOLEAN,
    RF_CONFIG_TEXT,
    RF_CONFIG_CHOICE,
    RF_CONFIG_LIST,     /**< of texts; a scalar stands for a list of one */
    RF_CONFIG_INTEGERS, /**< free mapping: text -> integer */
    RF_CONFIG_NUMBERS   /**< free mapping: text -> number */
} rf_config_type;

enum {
    RF_CONFIG_AUTO = 1,      /**< may be `auto` */
    RF_CONFIG_NULL = 2,      /**< may be `null` */
    RF_CONFIG_RESUMABLE = 4, /**< may change when a run is resumed */
    RF_CONFIG_ABOVE = 8,     /**< `least` itself is out of range */
    RF_CONFIG_BELOW = 16     /**< `most` itself is out of range */
};

/** One key of the schema. */
typedef struct rf_config_entry {
    const char *key; /**< dotted path */
    rf_config_type type;
    const char *standard; /**< the default, written as in a file */
    double least, most;   /**< range of numbers, also of those in a mapping */
    const char *choices;  /**< of a choice: words separated by spaces; else NULL */
    unsigned flags;
    const char *help;
} rf_config_entry;

extern const rf_config_entry rf_config_schema[];
extern const int rf_config_schema_count;

/** Index of a key, -1 if there is none. */
int rf_config_entry_find(const char *key);
/** Index of the first key of a section such as "lora", -1 if there is none. */
int rf_config_section_find(const char *section);
/** Copies the known key or section nearest to an unknown one; 0 if none is near. */
int rf_config_key_nearest(const char *key, char *nearest, size_t bytes);
/** "an integer >= 1 or auto": what a value must be, into text. */
void rf_config_entry_describe(const rf_config_entry *entry, char *text, size_t bytes);

typedef enum rf_config_form {
    RF_CONFIG_IS_NULL,
    RF_CONFIG_IS_AUTO,
    RF_CONFIG_IS_SCALAR,
    RF_CONFIG_IS_LIST,
    RF_CONFIG_IS_MAP
} rf_config_form;

/** A value as it was written: words, not typed yet. Owns its words. */
typedef struct rf_config_words {
    rf_config_form form; /**< NULL only for a plain `null`, `~` or nothing; never AUTO */
    char **keys;         /**< [count] of a mapping */
    char **items;        /**< [count]; one for a scalar */
    int count, capacity;
} rf_config_words;

/** Appends copies of (key, item); key may be NULL. RF_RESOURCES. */
rf_status rf_config_words_add(rf_config_words *words, const char *key, const char *item);
void rf_config_words_free(rf_config_words *words);
/** Is this unquoted word YAML's null? */
int rf_config_word_is_null(const char *word);

typedef enum rf_config_source {
    RF_CONFIG_FROM_DEFAULT,
    RF_CONFIG_FROM_FILE,
    RF_CONFIG_FROM_COMMAND_LINE
} rf_config_source;

/** A typed value. */
typedef struct rf_config_value {
    rf_config_form form;
    rf_config_words words; /**< owned */
    int64_t integer;       /**< integers and booleans */
    double number;         /**< numbers and integers */
    double *numbers;       /**< [words.count] of a mapping; owned */
    int was_auto;          /**< 1: the program settled on it in place of `auto` */
    rf_config_source source;
    char *where; /**< of a value from a file: "FILE, line N"; owned */
} rf_config_value;

struct rf_config {
    rf_config_value *values; /**< [rf_config_schema_count] */
};

/**
 * Types and checks words against the schema and, if they fit, makes them the value of key number
 * `index`. `where` is for messages and kept for values from a file. Takes the words in any case.
 * RF_USAGE, RF_RESOURCES.
 */
rf_status rf_config_set(rf_config *config, int index, rf_config_words *words,
                        rf_config_source source, const char *where);
void rf_config_value_free(rf_config_value *value);

/** Writes a value as YAML on one line; the form is the same for equal values. */
void rf_config_value_write(FILE *out, const rf_config_entry *entry, const rf_config_value *value);

/** Reads YAML into the configuration: `prefix` "" for a whole file, else the value of that path. */
rf_status rf_config_read(rf_config *config, const char *text, size_t length, const char *prefix,
                         rf_config_source source, const char *file);

#endif
