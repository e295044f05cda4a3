/** All adapters of a model: their preparation before a pass, with one exchange, and what follows.
 */
#ifndef RF_ADAPTER_GROUP_H
#define RF_ADAPTER_GROUP_H

#include "refract/adapter/adapter.h"
#include "refract/comm/collect.h"
#include "refract/linalg/tiles.h"

typedef struct rf_adapters {
    rf_adapter **member; /**< [count]; the list is owned, its members are borrowed */
    int64_t count, capacity;
    const rf_grid *grid;           /**< borrowed */
    rf_collector *collector;       /**< over the grid's tp; borrowed */
    const rf_workspace *workspace; /**< of every thread; borrowed */
    int64_t *part_at;              /**< [count] first of a member's sums over slices */
    int64_t part_count;
    double *own_parts, *all_parts; /**< [own slices, part_count], [slices, part_count] */
} rf_adapters;

/** Adds a member. Local; RF_RESOURCES. */
rf_status rf_adapters_add(rf_adapters *adapters, rf_adapter *adapter);

/** Cuts what the kinds derive and the tables of the exchange out of an arena. Local. */
void rf_adapters_layout(rf_adapters *adapters, rf_arena *arena);

/** Reals of scratch that every thread's workspace must have. Local. */
int64_t rf_adapters_scratch(const rf_adapters *adapters);

/**
 * Factors that start from the base weights (RF_ADAPTER_PISSA): every rank factorises its share of
 * the modules. Those with more than most_elements elements (rf_adapters_above counts them) are
 * factorised by all ranks together, whose number the last bits then depend on. Collective over
 * world; RF_RESOURCES, RF_NONFINITE.
 */
int64_t rf_adapters_above(const rf_adapters *adapters, int64_t most_elements);
rf_status rf_adapters_take_principal(rf_adapters *adapters, int64_t most_elements);

/**
 * Where factors start non-zero: keeps their start and W <- W - s B A in the type W is held in.
 * Collective over world; RF_RESOURCES.
 */
rf_status rf_adapters_move_base(rf_adapters *adapters);

/** What the members derive from their tensors. Collective over tp. */
void rf_adapters_prepare(rf_adapters *adapters, rf_adapter_stage stage);

/** After a backward pass: gradients of the kernels' arrays -> those of the tensors. Local. */
void rf_adapters_finish(rf_adapters *adapters);

void rf_adapters_destroy(rf_adapters *adapters);

#endif
