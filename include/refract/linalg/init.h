/** Initial values: f(seed, stream, global index), the same on every layout. */
#ifndef RF_LINALG_INIT_H
#define RF_LINALG_INIT_H

#include "refract/linalg/tensor.h"

typedef enum rf_init_kind {
    RF_INIT_ZERO,
    RF_INIT_ONE,
    RF_INIT_UNIFORM, /**< in [-scale, scale) */
    RF_INIT_NORMAL   /**< mean 0, standard deviation scale */
} rf_init_kind;

typedef struct rf_init {
    rf_init_kind kind;
    double scale;
} rf_init;

/** Fills the local slices [slice_begin, slice_end) of a tensor. Local. */
void rf_init_fill(rf_real *local, const rf_shape *shape, int slice_begin, int slice_end,
                  rf_init init, uint64_t seed, uint64_t stream);

#endif
