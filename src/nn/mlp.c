#include "refract/nn/mlp.h"

#include "refract/linalg/vecmath.h"

void rf_swiglu_forward(rf_real *act, const rf_real *gate, const rf_real *up, int64_t n)
{
#pragma omp parallel for simd schedule(simd : static)
    for (int64_t i = 0; i < n; i++) act[i] = rf_silu(gate[i]) * up[i];
}

void rf_swiglu_backward(rf_real *dgate, rf_real *dup, const rf_real *dact, const rf_real *gate,
                        const rf_real *up, int64_t n)
{
#pragma omp parallel for simd schedule(simd : static)
    for (int64_t i = 0; i < n; i++) {
        const rf_real g = gate[i], u = up[i], d = dact[i], s = rf_sigmoid(g);
        dup[i] = d * (g * s);
        dgate[i] = d * u * s * ((rf_real)1 + g * ((rf_real)1 - s));
    }
}
