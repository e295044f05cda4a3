/**
 * The configuration: YAML read against one schema table (key, type, default, range, changeable on
 * resume, help). Unknown keys, wrong types and values out of range are RF_USAGE errors that name
 * file, line and key and suggest the nearest known key. Every key always has a value; `auto` is a
 * value until the program resolves it.
 */
#ifndef RF_BASE_CONFIG_H
#define RF_BASE_CONFIG_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "refract/base/status.h"

typedef struct rf_config rf_config;

/**
 * Parses `text` (YAML, `length` bytes; `file` names it in messages) and then `overrides` (key=value
 * strings, dotted paths, lists as [a,b]). The caller owns *config. Local; RF_USAGE, RF_RESOURCES.
 */
rf_status rf_config_parse(rf_config **config, const char *text, size_t length, const char *file,
                          const char *const *overrides, int override_count);
void rf_config_destroy(rf_config **config);

/**
 * Rules that tie keys together (train.micro_tokens >= data.max_length, parallel.slices a power of
 * two, epochs against steps, ...), and what follows from the configuration alone: `rslora` sets
 * lora.use_rslora, `pissa` sets lora.init, train.steps sets train.epochs to 0, train.micro_tokens
 * leaves `auto`. Of two keys that exclude each other one on the command line beats one in the file.
 * Local; RF_USAGE.
 */
rf_status rf_config_check(rf_config *config);

/** RF_USAGE when the key (which may be null) has no value. Local. */
rf_status rf_config_require(const rf_config *config, const char *key);

/** 1 when `name` is one of the names that `method` joins by '+'. Local. */
int rf_config_has_method(const rf_config *config, const char *name);

/**
 * Values by dotted path, e.g. "lora.r". The key must exist in the schema and have that type (else a
 * bug). Strings are borrowed from the configuration; NULL for null. A path is relative to the
 * working directory, as written. Local.
 */
int64_t rf_config_int(const rf_config *config, const char *key);
double rf_config_number(const rf_config *config, const char *key);
int rf_config_bool(const rf_config *config, const char *key);
const char *rf_config_string(const rf_config *config, const char *key);

/** 1 while the key's value is the word `auto`. Local. */
int rf_config_is_auto(const rf_config *config, const char *key);
/** 1 when the input file or an override set the key. Local. */
int rf_config_is_set(const rf_config *config, const char *key);
/** 1 when the key's value is the schema's default, whoever set it. Local. */
int rf_config_is_default(const rf_config *config, const char *key);

/**
 * RF_USAGE where there is no such key, with `where` and the nearest known key. Local.
 */
rf_status rf_config_check_key(const char *key, const char *where);

/** Number of keys, and key number `index` in schema order, from 0. Local. */
int rf_config_key_count(void);
const char *rf_config_key(int index);

/** Lists (a scalar where a list may stand counts as a list of one) and free mappings. Local. */
int rf_config_list_count(const rf_config *config, const char *key);
const char *rf_config_list_item(const rf_config *config, const char *key, int index);
int rf_config_map_count(const rf_config *config, const char *key);
const char *rf_config_map_key(const rf_config *config, const char *key, int index);
double rf_config_map_number(const rf_config *config, const char *key, int index);

/** Where the key was set: "inputs/a.yaml, line 9", "command line" or "default". Local; borrowed. */
const char *rf_config_where(const rf_config *config, const char *key);

/** Replaces a value (`auto`, mostly) by the one the program settled on. Local. */
void rf_config_resolve_int(rf_config *config, const char *key, int64_t value);
void rf_config_resolve_number(rf_config *config, const char *key, double value);
void rf_config_resolve_string(rf_config *config, const char *key, const char *value);

/**
 * What was `auto` and has been resolved, one "key = value" per line in schema order. malloc'ed,
 * owned by the caller. Local; NULL without memory.
 */
char *rf_config_resolved(const rf_config *config);

/**
 * The effective configuration as YAML, every key in schema order; feeding it back gives the same
 * configuration. NUL-terminated, malloc'ed, owned by the caller. Local; NULL without memory.
 */
char *rf_config_yaml(const rf_config *config);

/**
 * What differs from the defaults, one "key: value" per line in schema order, whoever set it: equal
 * texts mean equal configurations, and a key that a later version adds changes nothing. malloc'ed,
 * owned by the caller. Local; NULL without memory.
 */
char *rf_config_changed(const rf_config *config);

/**
 * Lists the keys in which two configurations differ and that may not change on resume, one
 * "key: old -> new" per line, into text (at most `bytes`, NUL-terminated). Returns their number.
 * Local.
 */
int rf_config_differences(const rf_config *before, const rf_config *now, char *text, size_t bytes);

/**
 * May a run that was begun with the effective configuration `before` (YAML, as rf_config_yaml wrote
 * it) go on with `now`, whose `auto` values are resolved? RF_CONFLICT names `where` and shows each
 * difference, key by key. Local; RF_RESOURCES.
 */
rf_status rf_config_check_resume(const rf_config *now, const char *before, const char *where);

/** Every key with type, default, range and help, for --help and the documentation. Local. */
void rf_config_print_schema(FILE *out);
/** The keys of one section with default and help, one per line. Local. */
void rf_config_print_section(FILE *out, const char *section);

#endif
