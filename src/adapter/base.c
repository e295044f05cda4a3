/*
 * Starts with both factors non-zero: the base gives up what the factors start with, W <- W - s B A
 * (rounded to the type it is held in), so that the model is unchanged. PiSSA (Meng et al. 2024,
 * arXiv:2404.02948): the factors hold W's r leading singular triples, B = U sqrt(Sigma / s),
 * A = sqrt(Sigma / s) V^T.
 */
#include <math.h>
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
    rf_convert((char *)adapter->w + (size_t)offset * rf_dtype_size(adapter->dtype), adapter->dtype,
               wide, RF_DTYPE_REAL, items);
    free(wide);
    return RF_OK;
}

static rf_status correct_all(rf_adapters *g)
{
    for (int64_t i = 0; i < g->count; i++) {
        rf_adapter *adapter = g->member[i];
        int64_t items[2];
        if (!rf_adapter_moves_base(adapter->options)) continue;
        factor_items(adapter, items);
        for (int k = 0; k < 2; k++)
            memcpy(adapter->start[k], adapter->value[k], (size_t)items[k] * sizeof(rf_real));
        for (int slice = adapter->slice_begin; slice < adapter->slice_end; slice++)
            RF_TRY(correct_slice(adapter, slice));
    }
    return RF_OK;
}

rf_status rf_adapters_move_base(rf_adapters *g)
{
    return rf_agree(g->grid->world, correct_all(g));
}

/* Factors of one module as one rank computes and all receive them: [r, cols] then [rows, r]. */
typedef struct principal {
    void *w;         /* [rows, cols] as it is held, on its rank only */
    rf_real *factor; /* [r (rows + cols)] */
} principal;

static int64_t principal_items(const rf_adapter *adapter)
{
    return adapter->options->r * (adapter->shape.rows + adapter->shape.cols);
}

static rf_status principal_compute(principal *p, const rf_adapter *adapter)
{
    const int64_t rows = adapter->shape.rows, cols = adapter->shape.cols, r = adapter->options->r;
    double *a = malloc((size_t)(rows * cols) * sizeof *a);
    double *u = malloc((size_t)(rows * r) * sizeof *u),
           *vt = malloc((size_t)(r * cols) * sizeof *vt);
    double *sigma = malloc((size_t)r * sizeof *sigma);
    rf_status status =
        a && u && vt && sigma ? RF_OK : rf_fail(RF_RESOURCES, "no memory for lora.init: pissa");
    if (status == RF_OK) {
        rf_convert(a, RF_F64, p->w, adapter->dtype, rows * cols);
        status = rf_svd_leading(u, sigma, vt, a, rows, cols, r);
    }
    for (int64_t k = 0; k < r && status == RF_OK; k++) {
        const double root = sqrt(sigma[k] / rf_adapter_scaling(adapter->options));
        for (int64_t j = 0; j < cols; j++)
            p->factor[k * cols + j] = (rf_real)(root * vt[k * cols + j]);
        for (int64_t i = 0; i < rows; i++)
            p->factor[r * cols + i * r + k] = (rf_real)(root * u[i * r + k]);
    }
    free(a);
    free(u);
    free(vt);
    free(sigma);
    return status;
}

/* Every rank takes one of the modules [first, first + size). */
static rf_status principal_round(rf_adapters *g, int64_t first, principal *mine)
{
    const rf_grid *grid = g->grid;
    for (int q = 0; q < grid->size && first + q < g->count; q++) {
        const rf_adapter *adapter = g->member[first + q];
        const size_t item = rf_dtype_size(adapter->dtype);
        const size_t bytes = (size_t)(adapter->shape.rows * adapter->shape.cols) * item;
        if (grid->rank == q) mine->w = malloc(bytes);
        RF_TRY_ALL(grid->world, grid->rank != q || mine->w
                                    ? RF_OK
                                    : rf_fail(RF_RESOURCES, "no memory for lora.init: pissa"));
        RF_TRY(rf_tensor_collect(grid, q, grid->rank == q ? mine->w : NULL, adapter->w,
                                 &adapter->shape, item));
    }
    rf_status status = RF_OK;
    if (mine->w) status = principal_compute(mine, g->member[first + grid->rank]);
    RF_TRY_ALL(grid->world, status);
    return RF_OK;
}

/* The factors of module `adapter`, in `factor` on rank q, to all. */
static void principal_spread(const rf_adapters *g, rf_adapter *adapter, rf_real *factor, int q)
{
    rf_adapter_tensor tensors[RF_ADAPTER_TENSORS];
    factor_tensors(&adapter->shape, adapter->options, tensors);
    MPI_Bcast(factor, (int)(principal_items(adapter) * (int64_t)sizeof *factor), MPI_BYTE, q,
              g->grid->world);
    const rf_real *global[2] = {factor, factor + adapter->options->r * adapter->shape.cols};
    for (int k = 0; k < 2; k++)
        rf_shape_scatter(adapter->value[k], global[k], &tensors[k].shape, adapter->slice_begin,
                         adapter->slice_end, sizeof *factor);
}

static rf_status principal_all(rf_adapters *g, rf_real *own, rf_real *received)
{
    const rf_grid *grid = g->grid;
    for (int64_t first = 0; first < g->count; first += grid->size) {
        principal mine = {.factor = own};
        const rf_status status = principal_round(g, first, &mine);
        free(mine.w);
        RF_TRY(status);
        for (int q = 0; q < grid->size && first + q < g->count; q++)
            principal_spread(g, g->member[first + q], grid->rank == q ? own : received, q);
    }
    return RF_OK;
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

rf_status rf_adapters_take_principal(rf_adapters *g, int64_t most_elements)
{
    int64_t items = 0;
    RF_TRY_ALL(g->grid->world, check_sizes(g, most_elements));
    for (int64_t i = 0; i < g->count; i++)
        if (principal_items(g->member[i]) > items) items = principal_items(g->member[i]);
    rf_real *own = malloc((size_t)(items + 1) * sizeof *own);
    rf_real *received = malloc((size_t)(items + 1) * sizeof *received);
    rf_status status =
        own && received ? RF_OK : rf_fail(RF_RESOURCES, "no memory for lora.init: pissa");
    status = rf_agree(g->grid->world, status);
    if (status == RF_OK) status = principal_all(g, own, received);
    free(own);
    free(received);
    return status;
}
