/*
 * Starts with both factors non-zero: the base gives up what the factors start with, W <- W - s B A
 * (rounded to the type it is held in), so that the model is unchanged.
 */
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "refract/adapter/group.h"
#include "refract/comm/agree.h"
#include "refract/linalg/convert.h"

int rf_adapter_moves_base(const rf_adapter_options *options)
{
    return options->init == RF_ADAPTER_RANDOM || options->init == RF_ADAPTER_PISSA;
}

/* Items of A and B on this rank. */
static void factor_items(const rf_adapter *adapter, int64_t items[2])
{
    rf_adapter_tensor tensors[RF_ADAPTER_TENSORS];
    factor_tensors(&adapter->shape, adapter->options, tensors);
    for (int i = 0; i < 2; i++)
        items[i] = rf_local_items(&tensors[i].shape, adapter->slice_begin, adapter->slice_end);
}

void start_layout(rf_adapter *adapter, rf_arena *arena)
{
    int64_t items[2];
    if (!rf_adapter_moves_base(adapter->options)) return;
    factor_items(adapter, items);
    for (int i = 0; i < 2; i++) adapter->start[i] = RF_TAKE(arena, rf_real, items[i]);
}

/* W of one slice <- W - s B A. */
static rf_status correct_slice(const rf_adapter *adapter, int slice)
{
    const adapter_slice s =
        adapter_slice_of(adapter, slice, adapter->start[TENSOR_A], adapter->start[TENSOR_B]);
    const int64_t r = adapter->options->r, items = s.w.rows * s.w.cols;
    rf_real *wide = malloc((size_t)(items + 1) * sizeof *wide);
    if (!wide) return rf_fail(RF_RESOURCES, "no memory to correct a base weight");
    rf_convert(wide, RF_DTYPE_REAL, s.w.data, s.w.dtype, items);
    rf_gemm(RF_N, RF_N, s.w.rows, s.w.cols, r, (rf_real)-rf_adapter_scaling(adapter->options), s.b,
            r, s.a, s.w.cols, 1, wide, s.w.cols);
    const int64_t offset = rf_slice_offset(&adapter->shape, adapter->slice_begin, slice);
    rf_convert((char *)adapter->w + rf_dtype_bytes(adapter->dtype, offset), adapter->dtype, wide,
               RF_DTYPE_REAL, items);
    free(wide);
    return RF_OK;
}

/* Modules are shared out over threads: a BLAS call within a parallel region is of one thread. */
static rf_status correct_all(rf_adapters *g)
{
    int failures = 0;
#pragma omp parallel for schedule(dynamic) reduction(+ : failures)
    for (int64_t i = 0; i < g->count; i++) {
        rf_adapter *adapter = g->member[i];
        int64_t items[2];
        if (!rf_adapter_moves_base(adapter->options)) continue;
        factor_items(adapter, items);
        for (int k = 0; k < 2; k++)
            memcpy(adapter->start[k], adapter->value[k], (size_t)items[k] * sizeof(rf_real));
        for (int slice = adapter->slice_begin; slice < adapter->slice_end; slice++)
            failures += correct_slice(adapter, slice) != RF_OK;
    }
    if (failures == 0) return RF_OK;
    return rf_fail(RF_RESOURCES, "no memory to correct the base weights for lora.init");
}

rf_status rf_adapters_move_base(rf_adapters *g)
{
    return rf_agree(g->grid->world, correct_all(g));
}
