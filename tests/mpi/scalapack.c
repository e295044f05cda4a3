#include "refract/linalg/scalapack.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "refract/linalg/svd.h"
#include "rf_test.h"

/* What both libraries make of one matrix, of which the last `rank` knows all. */
typedef struct pair {
    int64_t rows, cols, k;
    int root, is_root;
    double *a, *work;              /* [rows, cols] */
    double *u, *sigma, *vt;        /* by ScaLAPACK */
    double *one_u, *one_s, *one_v; /* by LAPACK */
} pair;

static double *doubles(int64_t n)
{
    double *x = calloc((size_t)n, sizeof *x);
    assert_non_null(x);
    return x;
}

static void make(pair *p, int64_t rows, int64_t cols)
{
    int rank = 0, size = 1;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    const int64_t k = rows < cols ? rows : cols;
    *p = (pair){.rows = rows, .cols = cols, .k = k, .root = size - 1, .is_root = rank == size - 1};
    p->a = doubles(rows * cols);
    p->work = doubles(rows * cols);
    p->u = doubles(rows * k);
    p->vt = doubles(k * cols);
    p->sigma = doubles(k);
    p->one_u = doubles(rows * k);
    p->one_v = doubles(k * cols);
    p->one_s = doubles(k);
    for (int64_t i = 0; i < rows * cols; i++)
        p->work[i] = p->a[i] = rf_test_value((uint64_t)rows, (uint64_t)i);
    assert_ok(rf_svd_leading(p->one_u, p->one_s, p->one_v, p->work, rows, cols, k));
}

static void drop(pair *p)
{
    double *all[] = {p->a, p->work, p->u, p->vt, p->sigma, p->one_u, p->one_v, p->one_s};
    for (int i = 0; i < 8; i++) free(all[i]);
}

static rf_status spread_svd(const pair *p, rf_spread_vectors wanted, int64_t r)
{
    const int u = p->is_root && wanted != RF_SPREAD_NONE;
    const int vt = p->is_root && wanted == RF_SPREAD_BOTH;
    return rf_scalapack_svd(MPI_COMM_WORLD, p->root, wanted, u ? p->u : NULL, p->sigma,
                            vt ? p->vt : NULL, p->is_root ? p->a : NULL, p->rows, p->cols, r);
}

static double most_off(const double *x, const double *y, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(x[i] - y[i]) <= most)) most = fabs(x[i] - y[i]);
    return most;
}

/* Random matrices have values far enough apart for the vectors to agree. */
static void check(int64_t rows, int64_t cols)
{
    pair p;
    make(&p, rows, cols);
    assert_ok(spread_svd(&p, RF_SPREAD_BOTH, p.k));
    assert_true(most_off(p.sigma, p.one_s, p.k) < 1e-12 * p.one_s[0]);
    if (p.is_root) {
        assert_true(most_off(p.u, p.one_u, rows * p.k) < 1e-9);
        assert_true(most_off(p.vt, p.one_v, p.k * cols) < 1e-9);
    }
    memset(p.sigma, 0, (size_t)p.k * sizeof *p.sigma);
    assert_ok(spread_svd(&p, RF_SPREAD_NONE, p.k));
    assert_true(most_off(p.sigma, p.one_s, p.k) < 1e-12 * p.one_s[0]);
    drop(&p);
}

static void svd__of_any_shape__is_what_lapack_finds(void **state)
{
    (void)state;
    check(70, 45);
    check(45, 70);
    check(64, 64);
    check(3, 50);
    check(50, 3);
    check(5, 1);
    check(1, 5);
}

static void svd__of_a_few_terms__gives_the_leading_ones(void **state)
{
    (void)state;
    enum { R = 4 };
    pair p;
    make(&p, 37, 52);
    assert_ok(spread_svd(&p, RF_SPREAD_LEFT, R));
    assert_true(most_off(p.sigma, p.one_s, R) < 1e-12 * p.one_s[0]);
    for (int64_t i = 0; i < p.rows && p.is_root; i++)
        for (int k = 0; k < R; k++) assert_near(p.u[i * R + k], p.one_u[i * p.k + k], 0, 1e-9);
    drop(&p);
}

static void svd__of_a_matrix_that_is_not_finite__fails_on_every_rank(void **state)
{
    (void)state;
    pair p;
    make(&p, 20, 30);
    p.a[77] = NAN;
    assert_status(spread_svd(&p, RF_SPREAD_BOTH, p.k), RF_NONFINITE);
    assert_message_has("not finite");
    p.a[77] = 1; /* and the next one is as if nothing had been */
    assert_ok(spread_svd(&p, RF_SPREAD_NONE, p.k));
    drop(&p);
}

static const struct CMUnitTest scalapack[] = {
    cmocka_unit_test(svd__of_any_shape__is_what_lapack_finds),
    cmocka_unit_test(svd__of_a_few_terms__gives_the_leading_ones),
    cmocka_unit_test(svd__of_a_matrix_that_is_not_finite__fails_on_every_rank),
};
RF_TEST_MAIN(scalapack)
