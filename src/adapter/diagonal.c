/* A trained diagonal between B and A. */
#include "parts.h"
#include "refract/linalg/vecmath.h"

static int in_a(const rf_adapter *adapter)
{
    return adapter->shape.split == RF_ROWS;
}

int64_t diagonal_items(const rf_adapter *adapter)
{
    return adapter->options->r * (in_a(adapter) ? adapter->shape.cols : adapter->shape.rows);
}

void diagonal_bind(rf_adapter *adapter, const rf_real *folded, const rf_real *mid)
{
    factor_bind(adapter);
    if (in_a(adapter))
        adapter->lowrank->a = folded;
    else
        adapter->lowrank->b = folded;
    adapter->lowrank->mid = mid;
}

void diagonal_fold(const rf_adapter *adapter, rf_real *folded, const rf_real *mid)
{
    const int64_t r = adapter->options->r;
    const rf_real *a = adapter->value[TENSOR_A], *b = adapter->value[TENSOR_B];
    if (in_a(adapter)) {
        const int64_t n = adapter->shape.cols;
        for (int64_t k = 0; k < r; k++)
            for (int64_t j = 0; j < n; j++) folded[k * n + j] = mid[k] * a[k * n + j];
    } else {
        for (int64_t i = 0; i < adapter->shape.rows; i++)
            for (int64_t k = 0; k < r; k++) folded[i * r + k] = mid[k] * b[i * r + k];
    }
}

void diagonal_unfold(const rf_adapter *adapter, const rf_real *mid, double *dmid)
{
    const int64_t r = adapter->options->r;
    if (in_a(adapter)) {
        const int64_t n = adapter->shape.cols;
        const rf_real *a = adapter->value[TENSOR_A];
        rf_real *da = adapter->gradient[TENSOR_A];
        for (int64_t k = 0; k < r; k++) {
            dmid[k] = rf_dot_wide(a + k * n, da + k * n, n);
            rf_scale(da + k * n, mid[k], n);
        }
        return;
    }
    const rf_real *b = adapter->value[TENSOR_B];
    rf_real *db = adapter->gradient[TENSOR_B];
    for (int64_t k = 0; k < r; k++) dmid[k] = 0;
    for (int64_t i = 0; i < adapter->shape.rows; i++)
        for (int64_t k = 0; k < r; k++) {
            dmid[k] += (double)b[i * r + k] * (double)db[i * r + k];
            db[i * r + k] *= mid[k];
        }
}
