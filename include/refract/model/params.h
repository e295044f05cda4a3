/**
 * The one table of a model's tensors: name, shape, cut, type, whether trained, and how it starts.
 * Loading, checkpoints, optimisers and exports all go by it.
 */
#ifndef RF_MODEL_PARAMS_H
#define RF_MODEL_PARAMS_H

#include <stdint.h>

#include "refract/base/arena.h"
#include "refract/linalg/init.h"
#include "refract/linalg/tensor.h"

enum { RF_NAME_BYTES = 160, RF_PATH_BYTES = 192 };

typedef struct rf_param {
    char name[RF_NAME_BYTES]; /**< as in the HF model, adapters as in PEFT: "<module>.lora_A.weight"
                               */
    char path[RF_PATH_BYTES]; /**< in checkpoints: "/adapter/<module>/A", "/model/<tensor>" */
    rf_shape shape;
    rf_dtype dtype; /**< as held; RF_DTYPE_REAL when trained */
    int trained;
    int adapter;     /**< 1: belongs to an adapter, not to the base model */
    int internal;    /**< 1: of an adapter, and PEFT folders have no such tensor */
    double lr_scale; /**< learning rate = train.learning_rate * lr_scale */
    rf_init init;
    int64_t items;  /**< of this rank's slices */
    int64_t offset; /**< first item in the trained arrays, when trained */
    void *data;     /**< this rank's slices; borrowed from an arena, or lent */
    void *lent;     /**< of a frozen row: memory of someone else that holds it, or NULL */
    int is_filled;  /**< 1: what is lent is, or will be, filled by another rank */
} rf_param;

typedef struct rf_params {
    rf_param *row; /**< [count] in model order; owned */
    int64_t count, capacity;
    int64_t trained_items;      /**< of all trained tensors, each padded to a cache line */
    rf_real *value;             /**< [trained_items] */
    rf_real *moment1, *moment2; /**< [trained_items]; NULL unless training */
} rf_params;

/** Adds a row and returns its index, -1 without memory. Local. */
int64_t rf_params_add(rf_params *params, const rf_grid *grid, const char *name, rf_shape shape,
                      rf_dtype dtype, int trained, rf_init init);

/**
 * Cuts values (and moments, when `training`) out of the arena and points the rows at them; rows
 * that are lent take no memory. Local.
 */
void rf_params_layout(rf_params *params, rf_arena *arena, int training);

/** Bytes of this rank's slices as they are held, a multiple of RF_ARENA_ALIGN. Local. */
size_t rf_param_bytes(const rf_param *row);

/** Row of that name, NULL if there is none. Local. */
rf_param *rf_params_find(const rf_params *params, const char *name);

/** Fills rows by their init, f(seed, name, global index): adapters, or the base, or both. Local. */
void rf_params_init(rf_params *params, const rf_grid *grid, uint64_t seed, int adapters, int base);

/** Trained items of the whole model (global). Local. */
int64_t rf_params_trained_global(const rf_params *params);
int64_t rf_params_total_global(const rf_params *params);

void rf_params_destroy(rf_params *params);

#endif
