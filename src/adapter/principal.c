/*
 * PiSSA (Meng et al. 2024, arXiv:2404.02948): factors that hold W's r leading singular triples,
 * B = U sqrt(Sigma / s), A = sqrt(Sigma / s) V^T. Modules are shared out over ranks and threads,
 * each by one-thread LAPACK; those above a limit go to ScaLAPACK, all ranks together.
 */
#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "parts.h"
#include "refract/adapter/group.h"
#include "refract/comm/agree.h"
#include "refract/linalg/convert.h"
#include "refract/linalg/scalapack.h"
#include "refract/linalg/svd.h"

/* Modules of one round: `share` of every rank, one for each of its threads. */
typedef struct principal {
    rf_adapter **member; /* [count] those that one rank factorises; owned */
    int64_t count;
    int share;
    int64_t items;   /* of the largest module's factors: A [r, cols], then B [rows, r] */
    void **w;        /* [share] weights as they are held, of this rank's modules; owned */
    rf_real *factor; /* [share, items] of this rank's; owned */
    rf_real *other;  /* [items] of another rank's; owned */
} principal;

static int64_t principal_items(const rf_adapter *adapter)
{
    return adapter->options->r * (adapter->shape.rows + adapter->shape.cols);
}

/* A, B <- the leading terms, u [rows, r], sigma [r], vt [r, cols]. */
static void split_terms(rf_real *factor, const rf_adapter *adapter, const double *u,
                        const double *sigma, const double *vt)
{
    const int64_t rows = adapter->shape.rows, cols = adapter->shape.cols, r = adapter->options->r;
    for (int64_t k = 0; k < r; k++) {
        const double root = sqrt(sigma[k] / rf_adapter_scaling(adapter->options));
        for (int64_t j = 0; j < cols; j++)
            factor[k * cols + j] = (rf_real)(root * vt[k * cols + j]);
        for (int64_t i = 0; i < rows; i++)
            factor[r * cols + i * r + k] = (rf_real)(root * u[i * r + k]);
    }
}

static rf_status principal_compute(rf_real *factor, const rf_adapter *adapter, const void *w)
{
    const int64_t rows = adapter->shape.rows, cols = adapter->shape.cols, r = adapter->options->r;
    double *a = malloc((size_t)(rows * cols) * sizeof *a);
    double *u = malloc((size_t)(rows * r) * sizeof *u);
    double *vt = malloc((size_t)(r * cols) * sizeof *vt),
           *sigma = malloc((size_t)r * sizeof *sigma);
    rf_status status = a && u && vt && sigma ? RF_OK : RF_RESOURCES;
    if (status == RF_OK) {
        rf_convert(a, RF_F64, w, adapter->dtype, rows * cols);
        status = rf_svd_leading(u, sigma, vt, a, rows, cols, r);
    }
    if (status == RF_OK) split_terms(factor, adapter, u, sigma, vt);
    free(a);
    free(u);
    free(vt);
    free(sigma);
    return status;
}

/* Every rank gets the whole weights of its modules. */
static rf_status principal_collect(principal *p, const rf_adapters *g, int64_t first)
{
    const rf_grid *grid = g->grid;
    for (int64_t i = first; i < p->count && i < first + grid->size * p->share; i++) {
        const rf_adapter *adapter = p->member[i];
        const int q = (int)((i - first) / p->share), place = (int)((i - first) % p->share);
        const size_t item = rf_dtype_size(adapter->dtype);
        void *w = NULL;
        if (grid->rank == q) {
            w = malloc((size_t)(adapter->shape.rows * adapter->shape.cols) * item);
            p->w[place] = w;
        }
        RF_TRY_ALL(grid->world, grid->rank != q || w
                                    ? RF_OK
                                    : rf_fail(RF_RESOURCES, "no memory for lora.init: pissa"));
        RF_TRY(rf_tensor_collect(grid, q, w, adapter->w, &adapter->shape, item));
    }
    return RF_OK;
}

/* Each module by one thread, in which LAPACK has one thread too. */
static rf_status principal_factorise(principal *p, const rf_grid *grid, int64_t first)
{
    int worst = RF_OK;
    const int64_t own = first + (int64_t)grid->rank * p->share;
#pragma omp parallel for schedule(static, 1) reduction(max : worst)
    for (int place = 0; place < p->share; place++) {
        if (!p->w[place]) continue;
        const int status =
            principal_compute(p->factor + place * p->items, p->member[own + place], p->w[place]);
        worst = status > worst ? status : worst;
    }
    if (worst == RF_OK) return RF_OK;
    return rf_fail((rf_status)worst, "a base weight has no singular vectors for lora.init: pissa, "
                                     "for lack of memory or because it is not finite");
}

/* The factors of one module, which are rank q's, to all ranks. */
static void take_factors(rf_adapter *adapter, const rf_grid *grid, rf_real *factor, int q)
{
    rf_adapter_tensor tensors[RF_ADAPTER_TENSORS];
    factor_tensors(&adapter->shape, adapter->options, tensors);
    MPI_Bcast(factor, (int)(principal_items(adapter) * (int64_t)sizeof *factor), MPI_BYTE, q,
              grid->world);
    const rf_real *global[2] = {factor, factor + adapter->options->r * adapter->shape.cols};
    for (int k = 0; k < 2; k++)
        rf_shape_scatter(adapter->value[k], global[k], &tensors[k].shape, adapter->slice_begin,
                         adapter->slice_end, sizeof *factor);
}

static void principal_spread(const principal *p, const rf_adapters *g, int64_t first)
{
    const rf_grid *grid = g->grid;
    for (int64_t i = first; i < p->count && i < first + grid->size * p->share; i++) {
        const int q = (int)((i - first) / p->share);
        rf_real *factor = p->factor + (i - first) % p->share * p->items;
        take_factors(p->member[i], grid, grid->rank == q ? factor : p->other, q);
    }
}

static rf_status principal_round(principal *p, rf_adapters *g, int64_t first)
{
    rf_status status = principal_collect(p, g, first);
    if (status == RF_OK) status = rf_agree(g->grid->world, principal_factorise(p, g->grid, first));
    if (status == RF_OK) principal_spread(p, g, first);
    for (int place = 0; place < p->share; place++) {
        free(p->w[place]);
        p->w[place] = NULL;
    }
    return status;
}

/* Root's arrays of a module that all ranks factorise together. */
typedef struct whole {
    void *held;
    double *w, *u, *vt;
} whole;

static rf_status whole_take(whole *x, const rf_adapter *adapter, size_t item)
{
    const int64_t rows = adapter->shape.rows, cols = adapter->shape.cols, r = adapter->options->r;
    x->held = malloc((size_t)(rows * cols) * item);
    x->w = malloc((size_t)(rows * cols) * sizeof *x->w);
    x->u = malloc((size_t)(rows * r) * sizeof *x->u);
    x->vt = malloc((size_t)(r * cols) * sizeof *x->vt);
    return x->held && x->w && x->u && x->vt
               ? RF_OK
               : rf_fail(RF_RESOURCES, "no memory for lora.init: pissa");
}

/* One module by all ranks together. Collective over world. */
static rf_status principal_together(const principal *p, const rf_grid *grid, rf_adapter *adapter)
{
    whole x = {0};
    const rf_shape *shape = &adapter->shape;
    const size_t item = rf_dtype_size(adapter->dtype);
    const int64_t r = adapter->options->r;
    double *sigma = malloc((size_t)r * sizeof *sigma);
    rf_status status = sigma ? RF_OK : rf_fail(RF_RESOURCES, "no memory for lora.init: pissa");
    if (status == RF_OK && grid->rank == 0) status = whole_take(&x, adapter, item);
    status = rf_agree(grid->world, status);
    if (status == RF_OK) status = rf_tensor_collect(grid, 0, x.held, adapter->w, shape, item);
    if (status == RF_OK && grid->rank == 0)
        rf_convert(x.w, RF_F64, x.held, adapter->dtype, shape->rows * shape->cols);
    if (status == RF_OK)
        status = rf_scalapack_svd(grid->world, 0, RF_SPREAD_BOTH, x.u, sigma, x.vt, x.w,
                                  shape->rows, shape->cols, r);
    if (status == RF_OK && grid->rank == 0) split_terms(p->other, adapter, x.u, sigma, x.vt);
    if (status == RF_OK) take_factors(adapter, grid, p->other, 0);
    free(x.held);
    free(x.w);
    free(x.u);
    free(x.vt);
    free(sigma);
    return status;
}

static int is_above(const rf_adapter *adapter, int64_t most)
{
    return adapter->shape.rows * adapter->shape.cols > most;
}

int64_t rf_adapters_above(const rf_adapters *g, int64_t most_elements)
{
    int64_t count = 0;
    for (int64_t i = 0; i < g->count; i++) count += is_above(g->member[i], most_elements);
    return count;
}

static rf_status principal_make(principal *p, const rf_adapters *g, int64_t most)
{
    int share = omp_get_max_threads();
    MPI_Allreduce(MPI_IN_PLACE, &share, 1, MPI_INT, MPI_MIN, g->grid->world);
    *p = (principal){.share = share};
    for (int64_t i = 0; i < g->count; i++)
        if (principal_items(g->member[i]) > p->items) p->items = principal_items(g->member[i]);
    p->member = calloc((size_t)g->count + 1, sizeof(rf_adapter *));
    for (int64_t i = 0; p->member && i < g->count; i++)
        if (!is_above(g->member[i], most)) p->member[p->count++] = g->member[i];
    p->w = calloc((size_t)share, sizeof *p->w);
    p->factor = malloc((size_t)(share * p->items + 1) * sizeof *p->factor);
    p->other = malloc((size_t)(p->items + 1) * sizeof *p->other);
    return rf_agree(g->grid->world, p->member && p->w && p->factor && p->other
                                        ? RF_OK
                                        : rf_fail(RF_RESOURCES, "no memory for lora.init: pissa"));
}

rf_status rf_adapters_take_principal(rf_adapters *g, int64_t most_elements)
{
    principal p;
    rf_status status = principal_make(&p, g, most_elements);
    for (int64_t first = 0; first < p.count && status == RF_OK; first += g->grid->size * p.share)
        status = principal_round(&p, g, first);
    for (int64_t i = 0; i < g->count && status == RF_OK; i++)
        if (is_above(g->member[i], most_elements))
            status = principal_together(&p, g->grid, g->member[i]);
    free(p.member);
    free(p.w);
    free(p.factor);
    free(p.other);
    return status;
}
