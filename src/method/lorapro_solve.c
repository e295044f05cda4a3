#include "lorapro_solve.h"

#include "refract/linalg/dense.h"

static const double damping = 1e-8;

int64_t lorapro_work(int64_t r)
{
    return 4 * r * r + 2 * r + rf_dense_work(r);
}

void lorapro_inverse(double *out, const double *triangle, int64_t r, double scaling)
{
    rf_triangle_unpack(out, triangle, r);
    for (int64_t i = 0; i < r; i++) out[i * r + i] += damping;
    const int failed = rf_dense_inverse(out, r) != 0;
    for (int64_t i = 0; i < r * r; i++) out[i] = failed ? 0 : out[i] / (scaling * scaling);
}

void lorapro_projection(double *out, const double *k, const double *h, const double *l, int64_t r,
                        double scaling, double *work)
{
    rf_dense_gemm(RF_N, RF_N, r, r, r, -scaling * scaling, k, r, h, r, 0, work, r);
    rf_dense_gemm(RF_N, RF_N, r, r, r, 1, work, r, l, r, 0, out, r);
}

/* In the eigenvectors of Y and Z, which are the rows of u and v, the equation is one for each
 * entry. */
int lorapro_balance(double *x, const double *y_triangle, const double *z_triangle, const double *k,
                    const double *h, int64_t r, double *work)
{
    double *u = work, *v = u + r * r, *c = v + r * r, *t = c + r * r, *values = t + r * r;
    double *rest = values + 2 * r;
    rf_triangle_unpack(u, y_triangle, r);
    rf_triangle_unpack(v, z_triangle, r);
    if (rf_dense_eigen(values, u, r, 1, rest) != 0) return 1;
    if (rf_dense_eigen(values + r, v, r, 1, rest) != 0) return 1;
    rf_dense_gemm(RF_N, RF_N, r, r, r, -1, k, r, h, r, 0, c, r);
    rf_dense_gemm(RF_N, RF_N, r, r, r, 1, u, r, c, r, 0, t, r);
    rf_dense_gemm(RF_N, RF_T, r, r, r, 1, t, r, v, r, 0, c, r);
    for (int64_t i = 0; i < r * r; i++) {
        const double sum = values[i / r] + values[r + i % r];
        c[i] = sum > 0 ? c[i] / sum : 0;
    }
    rf_dense_gemm(RF_T, RF_N, r, r, r, 1, u, r, c, r, 0, t, r);
    rf_dense_gemm(RF_N, RF_N, r, r, r, 1, t, r, v, r, 0, x, r);
    return 0;
}
