/*
 * Starts with both factors non-zero: the base gives up what the factors start with, W <- W - s B A
 * (rounded to the type it is held in), so that the model is unchanged. PiSSA (Meng et al. 2024,
 * arXiv:2404.02948): the factors hold W's r leading singular triples, B = U sqrt(Sigma / s),
 * A = sqrt(Sigma / s) V^T.
 */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "refract/adapter/group.h"
#include "refract/comm/agree.h"
#include "refract/linalg/convert.h"
#include "refract/linalg/svd.h"

int rf_adapter_moves_base(const rf_adapter_options *options)
{
    return options->init == RF_ADAPTER_RANDOM || options->init == RF_ADAPTER_PISSA;
}

/* Items of A and B on this rank. */
static void factor_items(const rf_adapter *adapter, int64_t items[2])
{
    rf_adapter_tensor tensors[RF_ADAPTER_TENSORS];
    factor_tensors(&adapter->shape, adapter->options, tensors);
    for (int i = 0; i < 2; i++)
        items[i] = rf_local_items(&tensors[i].shape, adapter->slice_begin, adapter->slice_end);
}

void start_layout(rf_adapter *adapter, rf_arena *arena)
{
    int64_t items[2];
    if (!rf_adapter_moves_base(adapter->options)) return;
    factor_items(adapter, items);
    for (int i = 0; i < 2; i++) adapter->start[i] = RF_TAKE(arena, rf_real, items[i]);
}

/* W of one slice <- W - s B A. */
static rf_status correct_slice(const rf_adapter *adapter, int slice)
{
    const adapter_slice s =
        adapter_slice_of(adapter, slice, adapter->start[TENSOR_A], adapter->start[TENSOR_B]);
    const int64_t r = adapter->options->r, items = s.w.rows * s.w.cols;
    rf_real *wide = malloc((size_t)(items + 1) * sizeof *wide);
    if (!wide) return rf_fail(RF_RESOURCES, "no memory to correct a base weight");
    rf_convert(wide, RF_DTYPE_REAL, s.w.data, s.w.dtype, items);
    rf_gemm(RF_N, RF_N, s.w.rows, s.w.cols, r, (rf_real)-rf_adapter_scaling(adapter->options), s.b,
            r, s.a, s.w.cols, 1, wide, s.w.cols);
    const int64_t offset = rf_slice_offset(&adapter->shape, adapter->slice_begin, slice);
    rf_convert((char *)adapter->w + rf_dtype_bytes(adapter->dtype, offset), adapter->dtype, wide,
               RF_DTYPE_REAL, items);
    free(wide);
    return RF_OK;
}

/* Modules are shared out over threads: a BLAS call within a parallel region is of one thread. */
static rf_status correct_all(rf_adapters *g)
{
    int failures = 0;
#pragma omp parallel for schedule(dynamic) reduction(+ : failures)
    for (int64_t i = 0; i < g->count; i++) {
        rf_adapter *adapter = g->member[i];
        int64_t items[2];
        if (!rf_adapter_moves_base(adapter->options)) continue;
        factor_items(adapter, items);
        for (int k = 0; k < 2; k++)
            memcpy(adapter->start[k], adapter->value[k], (size_t)items[k] * sizeof(rf_real));
        for (int slice = adapter->slice_begin; slice < adapter->slice_end; slice++)
            failures += correct_slice(adapter, slice) != RF_OK;
    }
    if (failures == 0) return RF_OK;
    return rf_fail(RF_RESOURCES, "no memory to correct the base weights for lora.init");
}

rf_status rf_adapters_move_base(rf_adapters *g)
{
    return rf_agree(g->grid->world, correct_all(g));
}

/* Modules of one round: `share` of every rank, one for each of its threads. */
typedef struct principal {
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
    for (int64_t k = 0; k < r && status == RF_OK; k++) {
        const double root = sqrt(sigma[k] / rf_adapter_scaling(adapter->options));
        for (int64_t j = 0; j < cols; j++)
            factor[k * cols + j] = (rf_real)(root * vt[k * cols + j]);
        for (int64_t i = 0; i < rows; i++)
            factor[r * cols + i * r + k] = (rf_real)(root * u[i * r + k]);
    }
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
    for (int64_t i = first; i < g->count && i < first + grid->size * p->share; i++) {
        const rf_adapter *adapter = g->member[i];
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
static rf_status principal_factorise(principal *p, const rf_adapters *g, int64_t first)
{
    int worst = RF_OK;
    const int64_t own = first + (int64_t)g->grid->rank * p->share;
#pragma omp parallel for schedule(static, 1) reduction(max : worst)
    for (int place = 0; place < p->share; place++) {
        if (!p->w[place]) continue;
        const int status =
            principal_compute(p->factor + place * p->items, g->member[own + place], p->w[place]);
        worst = status > worst ? status : worst;
    }
    if (worst == RF_OK) return RF_OK;
    return rf_fail((rf_status)worst, "a base weight has no singular vectors for lora.init: pissa, "
                                     "for lack of memory or because it is not finite");
}

/* The factors of every module of the round to all ranks. */
static void principal_spread(const principal *p, const rf_adapters *g, int64_t first)
{
    const rf_grid *grid = g->grid;
    for (int64_t i = first; i < g->count && i < first + grid->size * p->share; i++) {
        rf_adapter *adapter = g->member[i];
        const int q = (int)((i - first) / p->share);
        rf_real *factor = p->factor + (i - first) % p->share * p->items;
        if (grid->rank != q) factor = p->other;
        rf_adapter_tensor tensors[RF_ADAPTER_TENSORS];
        factor_tensors(&adapter->shape, adapter->options, tensors);
        MPI_Bcast(factor, (int)(principal_items(adapter) * (int64_t)sizeof *factor), MPI_BYTE, q,
                  grid->world);
        const rf_real *global[2] = {factor, factor + adapter->options->r * adapter->shape.cols};
        for (int k = 0; k < 2; k++)
            rf_shape_scatter(adapter->value[k], global[k], &tensors[k].shape, adapter->slice_begin,
                             adapter->slice_end, sizeof *factor);
    }
}

static rf_status principal_round(principal *p, rf_adapters *g, int64_t first)
{
    rf_status status = principal_collect(p, g, first);
    if (status == RF_OK) status = rf_agree(g->grid->world, principal_factorise(p, g, first));
    if (status == RF_OK) principal_spread(p, g, first);
    for (int place = 0; place < p->share; place++) {
        free(p->w[place]);
        p->w[place] = NULL;
    }
    return status;
}

static rf_status check_sizes(const rf_adapters *g, int64_t most)
{
    for (int64_t i = 0; i < g->count; i++) {
        const rf_shape *shape = &g->member[i]->shape;
        if (shape->rows * shape->cols <= most) continue;
        return rf_fail(RF_USAGE,
                       "lora.init: pissa meets a %lld x %lld weight, which has more elements than "
                       "linalg.distribute_above = %lld lets one rank factorise. Raise it, or "
                       "choose another lora.init",
                       (long long)shape->rows, (long long)shape->cols, (long long)most);
    }
    return RF_OK;
}

static rf_status principal_make(principal *p, const rf_adapters *g)
{
    int share = omp_get_max_threads();
    MPI_Allreduce(MPI_IN_PLACE, &share, 1, MPI_INT, MPI_MIN, g->grid->world);
    *p = (principal){.share = share};
    for (int64_t i = 0; i < g->count; i++)
        if (principal_items(g->member[i]) > p->items) p->items = principal_items(g->member[i]);
    p->w = calloc((size_t)share, sizeof *p->w);
    p->factor = malloc((size_t)(share * p->items + 1) * sizeof *p->factor);
    p->other = malloc((size_t)(p->items + 1) * sizeof *p->other);
    return rf_agree(g->grid->world, p->w && p->factor && p->other
                                        ? RF_OK
                                        : rf_fail(RF_RESOURCES, "no memory for lora.init: pissa"));
}

rf_status rf_adapters_take_principal(rf_adapters *g, int64_t most_elements)
{
    principal p;
    RF_TRY_ALL(g->grid->world, check_sizes(g, most_elements));
    rf_status status = principal_make(&p, g);
    for (int64_t first = 0; first < g->count && status == RF_OK; first += g->grid->size * p.share)
        status = principal_round(&p, g, first);
    free(p.w);
    free(p.factor);
    free(p.other);
    return status;
}
