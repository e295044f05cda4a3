/* What the kinds share; private to layer adapter. */
#ifndef RF_ADAPTER_PARTS_H
#define RF_ADAPTER_PARTS_H

#include "refract/adapter/adapter.h"

enum { TENSOR_A, TENSOR_B, TENSOR_OWN }; /* order of every low-rank kind's tensors */

/* A [r, d_in] and B [d_out, r], cut like W. Returns 2. */
int factor_tensors(const rf_shape *weight, const rf_adapter_options *options,
                   rf_adapter_tensor tensors[RF_ADAPTER_TENSORS]);

/* The kernels' view of A and B as they are. */
void factor_bind(rf_adapter *adapter);

/* Room for what A and B started with, where the base is moved. */
void start_layout(rf_adapter *adapter, rf_arena *arena);

/* Learning rate of B and magnitudes over that of A (LoRA+, Hayou et al. 2024, arXiv:2402.12354). */
double faster(const rf_adapter_options *options);

/* One slice of a module: W [rows, cols], A [r, cols], B [rows, r], first row in the local arrays.
 */
typedef struct adapter_slice {
    rf_weight w;
    const rf_real *a, *b;
    int64_t row;
} adapter_slice;

/* a, b: local arrays of A's and B's shape. */
adapter_slice adapter_slice_of(const rf_adapter *adapter, int slice, const rf_real *a,
                               const rf_real *b);

/*
 * A trained diagonal between B and A, multiplied into the replicated one of them: A of a
 * column-parallel layer, B of a row-parallel one. So its gradient needs no sum over ranks.
 */
int64_t diagonal_items(const rf_adapter *adapter);
/* Points the view at folded [diagonal_items] and mid [r]. */
void diagonal_bind(rf_adapter *adapter, const rf_real *folded, const rf_real *mid);
/* folded <- the replicated factor times mid. */
void diagonal_fold(const rf_adapter *adapter, rf_real *folded, const rf_real *mid);
/* Gradient of the folded factor -> of the factor, in place; dmid [r]. */
void diagonal_unfold(const rf_adapter *adapter, const rf_real *mid, double *dmid);

#endif
