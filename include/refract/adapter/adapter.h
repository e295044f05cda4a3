/**
 * Adapters of one linear layer: what a kind adds to y = x W^T, and the registry of kinds.
 *
 * Every low-rank kind reaches the kernels as an rf_lowrank: y += s (drop(x) A^T) B^T. The kind says
 * which tensors it trains, how they start and how they are bound to that view; the kernels of layer
 * nn never name a kind.
 */
#ifndef RF_ADAPTER_ADAPTER_H
#define RF_ADAPTER_ADAPTER_H

#include <stdint.h>

#include "refract/base/real.h"
#include "refract/linalg/init.h"
#include "refract/linalg/tensor.h"

/** A low-rank update as the kernels see it; all arrays are borrowed. */
typedef struct rf_lowrank {
    int64_t r;
    rf_real scaling;  /**< s = alpha / r, or alpha / sqrt(r) */
    const rf_real *a; /**< A [r, d_in]: columns cut like the input of a row-parallel layer */
    const rf_real *b; /**< B [d_out, r]: rows cut like the output of a column-parallel layer */
    rf_real *da, *db; /**< gradients, same shapes; written, not added to */
    double dropout;   /**< probability, on the adapter's input */
    uint64_t stream;  /**< of the module, for dropout */
} rf_lowrank;

/** What the user asks of one module. */
typedef struct rf_adapter_options {
    int64_t r;
    double alpha;
    double dropout;
    int use_rslora;
    int gaussian; /**< 1: A normal with standard deviation 1/r instead of uniform */
} rf_adapter_options;

enum { RF_ADAPTER_TENSORS = 4 };

/** One trained tensor of a kind. */
typedef struct rf_adapter_tensor {
    const char *suffix; /**< behind the module's name, as PEFT spells it: "lora_A.weight" */
    const char *field;  /**< in checkpoints: "A" */
    rf_shape shape;
    rf_init init;
} rf_adapter_tensor;

typedef struct rf_adapter_kind {
    const char *name;
    const char *paper;
    /** Tensors for a weight [d_out, d_in] of the given shape and cut; returns their number. Local.
     */
    int (*tensors)(const rf_shape *weight, const rf_adapter_options *options,
                   rf_adapter_tensor tensors[RF_ADAPTER_TENSORS]);
    /** Binds values and gradients (in the order of `tensors`) to the kernels' view. Local. */
    void (*bind)(rf_lowrank *lowrank, const rf_adapter_options *options, rf_real *const *values,
                 rf_real *const *gradients);
} rf_adapter_kind;

/** The kind of that name, NULL if there is none. Local. */
const rf_adapter_kind *rf_adapter_find(const char *name);

/** LoRA (Hu et al. 2021, arXiv:2106.09685). */
extern const rf_adapter_kind rf_adapter_lora;

/** s = alpha / r, or alpha / sqrt(r) (rsLoRA, Kalajdzievski 2023, arXiv:2312.03732). Local. */
double rf_adapter_scaling(const rf_adapter_options *options);

#endif
