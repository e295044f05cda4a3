/*
 * BeamLoRA: y = x W^T + s (drop(x) A^T) diag(sigma) B^T, sigma = r softmax(g / tau). Gu et al.
 * 2025, ACL 2025 long 582, and its released code. Gates g start at 0, where sigma = 1: plain LoRA.
 *
 * With u = dL/dsigma: dL/dg_j = (sigma_j u_j - sigma_j mean_i(sigma_i u_i)) / tau.
 */
#include <math.h>

#include "parts.h"
#include "refract/adapter/gate.h"
#include "refract/linalg/vecmath.h"

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

/* Rows of B on this rank. */
static int64_t rows_of_b(const rf_adapter *adapter)
{
    const rf_shape *w = &adapter->shape;
    if (w->split != RF_ROWS) return w->rows;
    return rf_cut_begin(w->cut, adapter->slice_end) - rf_cut_begin(w->cut, adapter->slice_begin);
}

/*
 * sigma is multiplied into B whichever way the layer is cut, so the kernels' gradient of that
 * array is s G A^T without sigma. derived: mid [r], then B times mid; derived_wide: sigma [r], and
 * sigma_k dL/dsigma_k [r], which is <a_k, dL/da_k> and <b_k, dL/db_k>: the replicated factor has
 * it without a sum over ranks.
 */
static void beam_layout(rf_adapter *adapter, rf_arena *arena)
{
    const int64_t r = adapter->options->r;
    adapter->derived = RF_TAKE(arena, rf_real, r + rows_of_b(adapter) * r);
    adapter->derived_wide = RF_TAKE(arena, double, 2 * r);
}

static void beam_bind(rf_adapter *adapter)
{
    factor_bind(adapter);
    adapter->lowrank->b = adapter->derived + adapter->options->r;
    adapter->lowrank->mid = adapter->derived;
}

static void beam_prepare(rf_adapter *adapter, rf_adapter_stage stage, const double *sums,
                         rf_real *scratch)
{
    (void)stage;
    (void)sums;
    (void)scratch;
    const int64_t r = adapter->options->r, rows = rows_of_b(adapter);
    double *sigma = adapter->derived_wide;
    rf_real *mid = adapter->derived, *folded = mid + r;
    const rf_real *b = adapter->value[TENSOR_B];
    rf_gate_scores(sigma, adapter->value[TENSOR_OWN], r, adapter->options->temperature);
    for (int64_t k = 0; k < r; k++) mid[k] = (rf_real)sigma[k];
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < r; k++) folded[i * r + k] = mid[k] * b[i * r + k];
}

/* weighted[k] <- sigma_k dL/dsigma_k from the factor that every rank holds. */
static void weigh(const rf_adapter *adapter, double *weighted)
{
    const int64_t r = adapter->options->r, n = adapter->shape.cols;
    const rf_real *a = adapter->value[TENSOR_A], *da = adapter->gradient[TENSOR_A];
    const rf_real *b = adapter->value[TENSOR_B], *db = adapter->gradient[TENSOR_B];
    if (adapter->shape.split == RF_ROWS) {
        for (int64_t k = 0; k < r; k++) weighted[k] = rf_dot_wide(a + k * n, da + k * n, n);
        return;
    }
    for (int64_t k = 0; k < r; k++) weighted[k] = 0;
    for (int64_t i = 0; i < adapter->shape.rows; i++)
        for (int64_t k = 0; k < r; k++) weighted[k] += (double)b[i * r + k] * (double)db[i * r + k];
    for (int64_t k = 0; k < r; k++) weighted[k] *= adapter->derived_wide[k];
}

static void beam_finish(rf_adapter *adapter)
{
    const int64_t r = adapter->options->r, rows = rows_of_b(adapter);
    const double tau = adapter->options->temperature;
    const double *sigma = adapter->derived_wide;
    double *weighted = adapter->derived_wide + r, mean = 0;
    rf_real *dgate = adapter->gradient[TENSOR_OWN], *db = adapter->gradient[TENSOR_B];
    weigh(adapter, weighted);
    for (int64_t k = 0; k < r; k++) mean += weighted[k] / (double)r;
    for (int64_t k = 0; k < r; k++) dgate[k] = (rf_real)((weighted[k] - sigma[k] * mean) / tau);
    if (adapter->options->is_ungated) return;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < r; k++) db[i * r + k] *= adapter->derived[k];
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
