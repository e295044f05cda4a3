/*
 * BeamLoRA: y = x W^T + s (drop(x) A^T) diag(sigma) B^T, sigma = r softmax(g / tau). Gu et al.
 * 2025, ACL 2025 long 582, and its released code. Gates g start at 0, where sigma = 1: plain LoRA.
 *
 * With q = sigma / r and u = dL/dsigma: dL/dg_j = (r / tau) q_j (u_j - sum_i q_i u_i).
 */
#include <math.h>

#include "parts.h"
#include "refract/adapter/gate.h"

void rf_gate_scores(double *sigma, const rf_real *gate, int64_t r, double temperature)
{
    double most = (double)gate[0], sum = 0;
    for (int64_t k = 1; k < r; k++)
        if ((double)gate[k] > most) most = (double)gate[k];
    for (int64_t k = 0; k < r; k++) {
        sigma[k] = exp(((double)gate[k] - most) / temperature);
        sum += sigma[k];
    }
    for (int64_t k = 0; k < r; k++) sigma[k] = (double)r * sigma[k] / sum;
}

static int beam_tensors(const rf_shape *weight, const rf_adapter_options *options,
                        rf_adapter_tensor tensors[RF_ADAPTER_TENSORS])
{
    const int count = factor_tensors(weight, options, tensors);
    tensors[count] = (rf_adapter_tensor){.suffix = "lora_gate",
                                         .field = "gate",
                                         .shape = rf_shape_replicated(options->r, 1),
                                         .init = {RF_INIT_ZERO, 0},
                                         .lr_scale = 1,
                                         .is_internal = 1};
    return count + 1;
}

/* derived: mid [r], then the folded factor; derived_wide: sigma [r], dL/dsigma [r]. */
static void beam_layout(rf_adapter *adapter, rf_arena *arena)
{
    const int64_t r = adapter->options->r;
    adapter->derived = RF_TAKE(arena, rf_real, r + diagonal_items(adapter));
    adapter->derived_wide = RF_TAKE(arena, double, 2 * r);
}

static void beam_bind(rf_adapter *adapter)
{
    diagonal_bind(adapter, adapter->derived + adapter->options->r, adapter->derived);
}

static void beam_prepare(rf_adapter *adapter, rf_adapter_stage stage, const double *sums,
                         rf_real *scratch)
{
    (void)stage;
    (void)sums;
    (void)scratch;
    const int64_t r = adapter->options->r;
    double *sigma = adapter->derived_wide;
    rf_gate_scores(sigma, adapter->value[TENSOR_OWN], r, adapter->options->temperature);
    for (int64_t k = 0; k < r; k++) adapter->derived[k] = (rf_real)sigma[k];
    diagonal_fold(adapter, adapter->derived + r, adapter->derived);
}

static void beam_finish(rf_adapter *adapter)
{
    const int64_t r = adapter->options->r;
    const double tau = adapter->options->temperature;
    const double *sigma = adapter->derived_wide;
    double *u = adapter->derived_wide + r, mean = 0;
    rf_real *dgate = adapter->gradient[TENSOR_OWN];
    diagonal_unfold(adapter, adapter->derived, u);
    for (int64_t k = 0; k < r; k++) mean += sigma[k] * u[k];
    mean /= (double)r;
    for (int64_t k = 0; k < r; k++) dgate[k] = (rf_real)(sigma[k] / tau * (u[k] - mean));
}

const rf_adapter_kind rf_adapter_beamlora = {
    .name = "beamlora",
    .paper = "Gu et al. 2025, ACL 2025 long 582",
    .tensors = beam_tensors,
    .layout = beam_layout,
    .bind = beam_bind,
    .prepare = beam_prepare,
    .finish = beam_finish,
};
