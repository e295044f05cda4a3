/*
 * ScaLAPACK is column-major: our row-major a [rows, cols] is its A = a^T [cols, rows], element
 * a[i * cols + j] = A(j, i), with the same memory. From a = U diag(sigma) V^T follows
 * A = V diag(sigma) U^T, so its left vectors, column-major [cols, k], are our vt [k, cols], and its
 * right ones, column-major [k, rows], are our u [rows, k].
 *
 * It ends the program by itself on arguments it does not like, so they are checked here.
 */
#include "refract/linalg/scalapack.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "refract/comm/agree.h"
#include "refract/linalg/svd.h"
#include "scalapack_abi.h"

enum { MOST_BLOCK = 32, OUTSIDE = -1 };

static const int zero = 0, one = 1;

/* The grid of all ranks, and root alone as another: matrices go from one to the other. */
typedef struct grids {
    MPI_Comm comm;
    int system; /* handle of comm */
    int all, root;
    int rows, cols, row, col; /* of `all` */
    int is_root;
} grids;

/* A column-major matrix over one of the grids. */
typedef struct spread {
    int desc[DESCRIPTOR];
    double *local; /* owned, or borrowed on root's own grid */
} spread;

static void open_grids(grids *g, MPI_Comm comm, int root)
{
    int rank = 0, size = 1;
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    *g = (grids){.comm = comm, .system = Csys2blacs_handle(comm), .is_root = rank == root};
    int rows = (int)sqrt((double)size);
    while (size % rows != 0) rows--;
    g->all = g->root = g->system;
    Cblacs_gridinit(&g->all, "Row", rows, size / rows);
    Cblacs_gridinfo(g->all, &g->rows, &g->cols, &g->row, &g->col);
    Cblacs_gridmap(&g->root, &root, 1, 1, 1);
    if (!g->is_root) g->root = OUTSIDE;
}

static void close_grids(const grids *g)
{
    if (g->is_root) Cblacs_gridexit(g->root);
    Cblacs_gridexit(g->all);
    Cfree_blacs_system_handle(g->system);
}

/* Square blocks, small enough that every rank has some. */
static int block_of(const grids *g, int m, int n)
{
    const int side = m < n ? m : n, ways = g->rows > g->cols ? g->rows : g->cols;
    const int even = (side + ways - 1) / ways;
    return even < MOST_BLOCK ? even : MOST_BLOCK;
}

/* Takes a share of a matrix [m, n] over all ranks. Local. */
static rf_status spread_take(spread *s, const grids *g, int m, int n, int block)
{
    const int rows = numroc_(&m, &block, &g->row, &zero, &g->rows);
    const int cols = numroc_(&n, &block, &g->col, &zero, &g->cols);
    const int leading = rows > 1 ? rows : 1;
    int info = 0;
    descinit_(s->desc, &m, &n, &block, &block, &zero, &zero, &g->all, &leading, &info);
    RF_ASSERT(info == 0, "descriptor of a %d x %d matrix: %d", m, n, info);
    s->local = malloc(((size_t)leading * (size_t)(cols + 1)) * sizeof *s->local);
    return s->local ? RF_OK : rf_fail(RF_RESOURCES, "no memory for a share of a matrix");
}

/* The whole matrix [m, n] on root, in memory of the caller's. Local. */
static spread on_root(const grids *g, double *whole, int m, int n)
{
    spread s = {.local = whole};
    int info = 0;
    s.desc[1] = OUTSIDE; /* the context, which is all that others look at */
    if (g->is_root) descinit_(s.desc, &m, &n, &m, &n, &zero, &zero, &g->root, &m, &info);
    RF_ASSERT(info == 0, "descriptor of a %d x %d matrix: %d", m, n, info);
    return s;
}

/* The factorisation at work; shares of A, V, U^T. */
typedef struct factors {
    int m, n, k; /* A [m, n] = [cols, rows], k = min(m, n) */
    rf_spread_vectors wanted;
    spread a, v, ut;
    double *sigma, *work; /* [k], [size]; owned */
    int size;
} factors;

static int call_pdgesvd(factors *f, double *work, int size)
{
    int info = 0;
    pdgesvd_(f->wanted == RF_SPREAD_BOTH ? "V" : "N", f->wanted != RF_SPREAD_NONE ? "V" : "N",
             &f->m, &f->n, f->a.local, &one, &one, f->a.desc, f->sigma, f->v.local, &one, &one,
             f->v.desc, f->ut.local, &one, &one, f->ut.desc, work, &size, &info, 1, 1);
    return info;
}

static rf_status take_shares(factors *f, const grids *g)
{
    const int block = block_of(g, f->m, f->n);
    f->sigma = malloc((size_t)f->k * sizeof *f->sigma);
    if (!f->sigma) return rf_fail(RF_RESOURCES, "no memory for singular values");
    RF_TRY(spread_take(&f->a, g, f->m, f->n, block));
    RF_TRY(spread_take(&f->v, g, f->m, f->wanted == RF_SPREAD_BOTH ? f->k : 1, block));
    return spread_take(&f->ut, g, f->wanted != RF_SPREAD_NONE ? f->k : 1, f->n, block);
}

/* The entry says how much it needs. */
static rf_status take_work(factors *f)
{
    double best = 0;
    const int info = call_pdgesvd(f, &best, -1);
    RF_ASSERT(info == 0, "pdgesvd refuses argument %d", -info);
    if (best >= INT_MAX) return rf_fail(RF_RESOURCES, "a matrix too large for so few ranks");
    f->size = (int)best + 1;
    f->work = malloc((size_t)f->size * sizeof *f->work);
    return f->work ? RF_OK : rf_fail(RF_RESOURCES, "no memory to work on singular vectors");
}

static rf_status factorise(factors *f)
{
    const int info = call_pdgesvd(f, f->work, f->size);
    RF_ASSERT(info >= 0, "pdgesvd refuses argument %d", -info);
    if (info == 0) return RF_OK;
    return rf_fail(RF_NONFINITE, "the singular values of a %d x %d matrix did not converge", f->n,
                   f->m);
}

/* Every rank's shares from root's a, and root's vectors from the shares. */
static rf_status run(factors *f, const grids *g, double *u, double *vt, const double *a, int r)
{
    RF_TRY_ALL(g->comm, take_shares(f, g));
    RF_TRY_ALL(g->comm, take_work(f));
    spread whole = on_root(g, NULL, f->m, f->n);
    Cpdgemr2d(f->m, f->n, a, 1, 1, whole.desc, f->a.local, 1, 1, f->a.desc, g->all);
    RF_TRY_ALL(g->comm, factorise(f));
    if (f->wanted != RF_SPREAD_NONE) {
        whole = on_root(g, u, r, f->n);
        Cpdgemr2d(r, f->n, f->ut.local, 1, 1, f->ut.desc, whole.local, 1, 1, whole.desc, g->all);
    }
    if (f->wanted == RF_SPREAD_BOTH) {
        whole = on_root(g, vt, f->m, r);
        Cpdgemr2d(f->m, r, f->v.local, 1, 1, f->v.desc, whole.local, 1, 1, whole.desc, g->all);
    }
    return RF_OK;
}

static rf_status check(const grids *g, const double *a, int64_t rows, int64_t cols)
{
    if (rows > INT_MAX / 2 || cols > INT_MAX / 2)
        return rf_fail(RF_RESOURCES, "a %lld x %lld matrix is too large for ScaLAPACK",
                       (long long)rows, (long long)cols);
    for (int64_t i = 0; g->is_root && i < rows * cols; i++)
        if (!isfinite(a[i]))
            return rf_fail(RF_NONFINITE, "a %lld x %lld matrix is not finite", (long long)rows,
                           (long long)cols);
    return RF_OK;
}

rf_status rf_scalapack_svd(MPI_Comm comm, int root, rf_spread_vectors wanted, double *u,
                           double *sigma, double *vt, const double *a, int64_t rows, int64_t cols,
                           int64_t r)
{
    grids g;
    open_grids(&g, comm, root);
    rf_status status = rf_agree(comm, check(&g, a, rows, cols));
    if (status == RF_OK) {
        factors f = {.m = (int)cols,
                     .n = (int)rows,
                     .k = (int)(rows < cols ? rows : cols),
                     .wanted = wanted};
        status = run(&f, &g, u, vt, a, (int)r);
        for (int64_t k = 0; k < r && status == RF_OK; k++) sigma[k] = f.sigma[k];
        if (status == RF_OK && g.is_root && wanted != RF_SPREAD_NONE)
            rf_svd_settle_signs(u, wanted == RF_SPREAD_BOTH ? vt : NULL, rows, cols, r);
        free(f.a.local);
        free(f.v.local);
        free(f.ut.local);
        free(f.sigma);
        free(f.work);
    }
    close_grids(&g);
    return status;
}
