/*
 * AdaLoRA's adapter: y = x W^T + s (drop(x) A^T) diag(E) B^T, s = alpha / (r + 1e-5), E = 0 at the
 * start, A and B normal with standard deviation 0.02. Zhang et al. 2023, arXiv:2303.10512, eq. 3,
 * with the scale of its released code. Which entries of E live is up to method adalora.
 */
#include "parts.h"

static int adalora_tensors(const rf_shape *weight, const rf_adapter_options *options,
                           rf_adapter_tensor tensors[RF_ADAPTER_TENSORS])
{
    const int count = factor_tensors(weight, options, tensors);
    for (int i = 0; i < count; i++) tensors[i].init = (rf_init){RF_INIT_NORMAL, 0.02};
    tensors[count] = (rf_adapter_tensor){.suffix = "lora_E",
                                         .field = "E",
                                         .shape = rf_shape_replicated(options->r, 1),
                                         .init = {RF_INIT_ZERO, 0},
                                         .lr_scale = 1,
                                         .is_internal = 1};
    return count + 1;
}

/* derived: E [r], then the replicated factor times E; derived_wide: dL/dE [r]. */
static void adalora_layout(rf_adapter *adapter, rf_arena *arena)
{
    const int64_t r = adapter->options->r;
    adapter->derived = RF_TAKE(arena, rf_real, r + diagonal_items(adapter));
    adapter->derived_wide = RF_TAKE(arena, double, r);
}

static void adalora_bind(rf_adapter *adapter)
{
    factor_bind(adapter);
    diagonal_bind(adapter, adapter->derived + adapter->options->r, adapter->derived);
}

static void adalora_prepare(rf_adapter *adapter, rf_adapter_stage stage, const double *sums,
                            rf_real *scratch)
{
    (void)stage;
    (void)sums;
    (void)scratch;
    const int64_t r = adapter->options->r;
    for (int64_t k = 0; k < r; k++) adapter->derived[k] = adapter->value[TENSOR_OWN][k];
    diagonal_fold(adapter, adapter->derived + r, adapter->derived);
}

static void adalora_finish(rf_adapter *adapter)
{
    diagonal_unfold(adapter, adapter->derived, adapter->derived_wide);
    for (int64_t k = 0; k < adapter->options->r; k++)
        adapter->gradient[TENSOR_OWN][k] = (rf_real)adapter->derived_wide[k];
}

const rf_adapter_kind rf_adapter_adalora = {
    .name = "adalora",
    .paper = "Zhang et al. 2023, arXiv:2303.10512",
    .has_own_start = 1,
    .tensors = adalora_tensors,
    .layout = adalora_layout,
    .bind = adalora_bind,
    .prepare = adalora_prepare,
    .finish = adalora_finish,
};
