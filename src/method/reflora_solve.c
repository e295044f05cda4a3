#include "refract/method/reflora.h"

#include <math.h>
#include <string.h>

#include "refract/linalg/dense.h"

int64_t rf_reflora_work(int64_t r)
{
    return 5 * r * r + 2 * r + rf_dense_work(r);
}

static void copy(double *to, const double *from, int64_t r)
{
    memcpy(to, from, (size_t)(r * r) * sizeof *to);
}

double rf_reflora_condition(const double *gram, int64_t r, double *work)
{
    double *a = work, *values = a + r * r;
    copy(a, gram, r);
    if (rf_dense_eigen(values, a, r, 0, values + r) != 0 || !(values[0] > 0)) return INFINITY;
    return values[r - 1] / values[0];
}

/* Column j of a times factor[j]. */
static void scale_columns(double *a, const double *factor, int64_t r)
{
    for (int64_t i = 0; i < r; i++)
        for (int64_t j = 0; j < r; j++) a[i * r + j] *= factor[j];
}

/* Row i of a times factor[i]. */
static void scale_rows(double *a, const double *factor, int64_t r)
{
    for (int64_t i = 0; i < r; i++)
        for (int64_t j = 0; j < r; j++) a[i * r + j] *= factor[i];
}

static void multiply(double *c, rf_trans ta, const double *a, rf_trans tb, const double *b,
                     int64_t r)
{
    rf_dense_gemm(ta, tb, r, r, r, 1, a, r, b, r, 0, c, r);
}

static int all_finite(const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return 0;
    return 1;
}

int rf_reflora_cholesky(double *s, double *s_inverse, const double *x, const double *y, int64_t r,
                        double *work)
{
    double *ra = work, *rb = ra + r * r, *m = rb + r * r, *u = m + r * r, *vt = u + r * r;
    double *root = vt + r * r;
    copy(ra, x, r);
    copy(rb, y, r);
    if (rf_dense_cholesky(ra, r) != 0 || rf_dense_cholesky(rb, r) != 0) return 1;
    multiply(m, RF_N, ra, RF_T, rb, r);
    if (rf_dense_svd(u, root, vt, m, r, root + r) != 0) return 1;
    for (int64_t i = 0; i < r; i++) root[i] = sqrt(root[i]);
    scale_columns(u, root, r); /* Z = R_A^-1 U sigma^1/2 */
    rf_dense_solve_upper(u, ra, r, r);
    multiply(s, RF_N, u, RF_T, u, r);
    for (int64_t i = 0; i < r; i++) /* V sigma^1/2 */
        for (int64_t j = 0; j < r; j++) m[i * r + j] = vt[j * r + i] * root[j];
    rf_dense_solve_upper(m, rb, r, r);
    multiply(s_inverse, RF_N, m, RF_T, m, r);
    return !all_finite(s, r * r) || !all_finite(s_inverse, r * r);
}

/* values <- their square roots; inverse[i] = 1 / (root + epsilon). */
static void take_roots(double *values, double *inverse, int64_t r, double epsilon)
{
    for (int64_t i = 0; i < r; i++) {
        values[i] = sqrt(values[i]);
        inverse[i] = 1 / (values[i] + epsilon);
    }
}

int rf_reflora_released(double *s, double *s_inverse, const double *x, const double *y, int64_t r,
                        double epsilon, double *work)
{
    double *va = work, *vm = va + r * r, *t = vm + r * r, *t2 = t + r * r;
    double *sigma_a = t2 + r * r, *inverse = sigma_a + r, *sigma_m = inverse + r;
    double *lapack = sigma_m + r * r; /* rows of va and vm are eigenvectors */
    copy(va, x, r);
    if (rf_dense_eigen(sigma_a, va, r, 1, lapack) != 0) return 1;
    take_roots(sigma_a, inverse, r, epsilon);
    multiply(t, RF_N, va, RF_N, y, r); /* M^T M = Sigma_A V_A^T Y V_A Sigma_A */
    multiply(vm, RF_N, t, RF_T, va, r);
    scale_rows(vm, sigma_a, r);
    scale_columns(vm, sigma_a, r);
    if (!all_finite(vm, r * r) || rf_dense_eigen(sigma_m, vm, r, 1, lapack) != 0) return 1;

    copy(t, va, r); /* L = V_A (Sigma_A + eps)^-1 V_M, S = L Sigma_M L^T; L^T in t2 */
    scale_rows(t, inverse, r);
    multiply(t2, RF_N, vm, RF_N, t, r);
    take_roots(sigma_m, inverse, r, epsilon);
    copy(t, t2, r);
    scale_rows(t, sigma_m, r);
    multiply(s, RF_T, t2, RF_N, t, r);

    scale_rows(va, sigma_a, r); /* R = V_A Sigma_A V_M, S^-1 = R (Sigma_M + eps)^-1 R^T */
    multiply(t2, RF_N, vm, RF_N, va, r);
    copy(t, t2, r);
    scale_rows(t, inverse, r);
    multiply(s_inverse, RF_T, t2, RF_N, t, r);
    return !all_finite(s, r * r) || !all_finite(s_inverse, r * r);
}

static double trace_root(const double *gram, int64_t r)
{
    double trace = 0;
    for (int64_t i = 0; i < r; i++) trace += gram[i * r + i];
    return sqrt(trace);
}

static void set_diagonal(double *m, int64_t r, double value)
{
    memset(m, 0, (size_t)(r * r) * sizeof *m);
    for (int64_t i = 0; i < r; i++) m[i * r + i] = value;
}

rf_refactoring rf_reflora_refactor(double *s, double *s_inverse, const double *x, const double *y,
                                   int64_t r, const rf_reflora_options *options, double *work)
{
    const double condition_x = rf_reflora_condition(x, r, work);
    const double condition_y = rf_reflora_condition(y, r, work);
    rf_refactoring done = {.condition = condition_x > condition_y ? condition_x : condition_y,
                           .norm_a = trace_root(x, r),
                           .norm_b = trace_root(y, r),
                           .is_applied = 1};
    done.is_singular =
        !(done.condition <= options->max_condition) ||
        (options->released ? rf_reflora_released(s, s_inverse, x, y, r, options->epsilon, work)
                           : rf_reflora_cholesky(s, s_inverse, x, y, r, work)) != 0;
    if (!done.is_singular) return done;
    const double scalar = done.norm_b / done.norm_a;
    done.is_applied = !options->skip && isfinite(scalar) && scalar > 0 && isfinite(1 / scalar);
    set_diagonal(s, r, done.is_applied ? scalar : 1);
    set_diagonal(s_inverse, r, done.is_applied ? 1 / scalar : 1);
    return done;
}
