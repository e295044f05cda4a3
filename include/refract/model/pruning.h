/**
 * What is left of a model that was cut down: whole key/value groups with their query heads, neurons
 * of the feed-forward parts, ranks of the adapters. Sizes then differ from layer to layer.
 */
#ifndef RF_MODEL_PRUNING_H
#define RF_MODEL_PRUNING_H

#include <stdint.h>

#include "refract/base/status.h"
#include "refract/model/config.h"

/** All arrays are owned by the one allocation of rf_pruning_create. */
typedef struct rf_pruning {
    int64_t layers, kv_heads, d_ff; /**< of the whole model */
    int64_t group, d_head;          /**< query heads of a key/value head, items of a head */
    int64_t *rank;                  /**< [layers, RF_LINEARS] of each adapter, 0 = none */
    uint8_t *group_kept;            /**< [layers, kv_heads] 1 = kept */
    uint8_t *neuron_kept;           /**< [layers, d_ff] 1 = kept */
} rf_pruning;

/** Everything kept, all ranks 0. The caller owns *pruning (rf_pruning_destroy). Local;
 * RF_RESOURCES. */
rf_status rf_pruning_create(rf_pruning **pruning, const rf_model_config *config);
void rf_pruning_destroy(rf_pruning **pruning);

/** Key/value heads and neurons that a layer keeps; `pruning` NULL: all of the model's. Local. */
int64_t rf_layer_kv_heads(const rf_model_config *config, const rf_pruning *pruning, int64_t layer);
int64_t rf_layer_d_ff(const rf_model_config *config, const rf_pruning *pruning, int64_t layer);

/** 1 when every layer keeps as many heads and as many neurons as the first. Local. */
int rf_pruning_is_uniform(const rf_pruning *pruning);

/**
 * Features that a linear layer keeps along its cut dimension (output rows of q, k, v, gate, up,
 * input columns of o, down): increasing indices into the whole model's. index may be NULL. Returns
 * their number. Local.
 */
int64_t rf_pruning_features(const rf_pruning *pruning, int64_t layer, rf_linear_kind kind,
                            int64_t *index);

/** Features of that dimension in the whole model. Local. */
int64_t rf_pruning_whole(const rf_pruning *pruning, rf_linear_kind kind);

#endif
