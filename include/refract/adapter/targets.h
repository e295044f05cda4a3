/**
 * Which linear modules carry an adapter, and with what r and alpha: the rules of PEFT's
 * `target_modules`, `exclude_modules`, `layers_to_transform`, `rank_pattern` and `alpha_pattern`,
 * for our own lora.* keys and for the folders of others. Module paths are those of the HF model,
 * e.g. "model.layers.0.self_attn.q_proj". Source: huggingface/peft `tuners/tuners_utils.py`,
 * `utils/other.py`.
 */
#ifndef RF_ADAPTER_TARGETS_H
#define RF_ADAPTER_TARGETS_H

#include <stdint.h>

#include "refract/base/config.h"
#include "refract/base/status.h"

/** One entry of rank_pattern or alpha_pattern. */
typedef struct rf_pattern {
    const char *key; /**< borrowed */
    double value;
} rf_pattern;

/** A borrowed list of strings. */
typedef struct rf_names {
    const char *const *name;
    int count;
} rf_names;

/**
 * The rules. A module is targeted when one of the three forms of target_modules says so: all_linear
 * (every linear but `lm_head`), regex (matches the whole path), or a name of the list (the path is
 * it or ends in "." + it). Excluded and saved modules are not targeted.
 */
typedef struct rf_target_rules {
    int all_linear;
    const char *regex; /**< NULL unless target_modules is an expression */
    rf_names modules;
    const char *exclude_regex; /**< NULL unless exclude_modules is an expression */
    rf_names exclude;
    rf_names saved;                 /**< modules_to_save, expressions for one part of the path */
    const int64_t *layers;          /**< layers_to_transform; only with `modules` */
    int layer_count;                /**< 0 = all layers */
    rf_names layer_names;           /**< layers_pattern: what stands before the number */
    int64_t r;                      /**< where no rank pattern matches */
    double alpha;                   /**< where no alpha pattern matches */
    const rf_pattern *rank_pattern; /**< regex -> r, the first that matches counts */
    int rank_pattern_count;
    const rf_pattern *alpha_pattern; /**< regex -> alpha, likewise */
    int alpha_pattern_count;
    const char *where; /**< for messages: a file, or "lora" */
    int foreign;       /**< of a PEFT folder: there a rule that matches nothing is no error */
} rf_target_rules;

typedef struct rf_targets rf_targets;

/** What the rules say of one module. */
typedef struct rf_target {
    int targeted;
    int64_t r;    /**< 0 unless targeted */
    double alpha; /**< 0 unless targeted */
} rf_target;

/**
 * Compiles the rules, copying all strings. The caller owns *targets. Local; RF_USAGE for an
 * expression that does not compile, no targets at all, r < 1 or not whole; RF_RESOURCES.
 */
rf_status rf_targets_create(rf_targets **targets, const rf_target_rules *rules);

/** The same from the keys lora.* of a configuration. Local; RF_USAGE, RF_RESOURCES. */
rf_status rf_targets_from_config(rf_targets **targets, const rf_config *config);

void rf_targets_destroy(rf_targets **targets);

/** Applies the rules to one linear module. Local; RF_USAGE when an expression takes too long. */
rf_status rf_targets_match(const rf_targets *targets, const char *module, rf_target *target);

/** A rule that changes nothing: the list it stands in ("rank_pattern", ...) and its text. */
typedef struct rf_unmatched {
    const char *list;
    const char *key; /**< borrowed from the targets */
} rf_unmatched;

/**
 * Lists the entries of target_modules that match none of the `count` modules, and the rank and
 * alpha patterns that match no targeted one: at most `most` into unmatched. *found is their number
 * (which may be larger). Local; RF_USAGE as rf_targets_match.
 */
rf_status rf_targets_unmatched(const rf_targets *targets, const char *const *modules, int64_t count,
                               rf_unmatched *unmatched, int most, int *found);

/**
 * Fails, naming the first unmatched rule (not for foreign rules), or when no module at all is
 * targeted: RF_USAGE, for foreign rules RF_INPUT. Local.
 */
rf_status rf_targets_require(const rf_targets *targets, const char *const *modules, int64_t count);

#endif
