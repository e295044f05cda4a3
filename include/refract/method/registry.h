/** The methods by name: what they are, which keys they read, what they may be joined with. */
#ifndef RF_METHOD_REGISTRY_H
#define RF_METHOD_REGISTRY_H

#include "refract/base/config.h"
#include "refract/base/status.h"
#include "refract/model/decoder.h"

typedef struct rf_method_entry {
    const char *name;     /**< as `method` spells it */
    const char *paper;    /**< authors, year, where */
    const char *summary;  /**< one line */
    const char *sections; /**< of the configuration that it reads, separated by spaces */
    const char *partners; /**< names it may be joined with, separated by spaces; said by either
                             side */
    const struct rf_method_hooks *hooks; /**< what it does in a step (method.h); NULL = nothing */
    rf_trained_choice *trains; /**< the tensors of the base that it trains, in place of adapters;
                                  NULL: it trains adapters */
} rf_method_entry;

/** Number of methods, and method number `index` in alphabetical order, from 0. Local. */
int rf_method_count(void);
const rf_method_entry *rf_method_at(int index);
/** The method of that name, NULL if there is none. Local. */
const rf_method_entry *rf_method_find(const char *name);
/** 1 when the two may be joined. Local. */
int rf_method_joins(const rf_method_entry *a, const rf_method_entry *b);

/** Which tensors of the base model `method` trains; NULL where it trains adapters. Local. */
rf_trained_choice *rf_methods_trains(const rf_config *config);

/** The bottlenecks that `method` trains, in place of low-rank adapters; size 0: none. Local. */
rf_bottlenecks rf_methods_bottlenecks(const rf_config *config);

/**
 * The names in `method` exist, none twice, and every pair may be joined. Local; RF_USAGE says which
 * name or pair is wrong, with the nearest name.
 */
rf_status rf_methods_check(const rf_config *config);

/**
 * Lists the keys that were set away from their defaults though no chosen method reads them, one per
 * line, into text (at most `bytes`, NUL-terminated). Returns their number. Local.
 */
int rf_methods_unread_keys(const rf_config *config, char *text, size_t bytes);

#endif
