/* Singular values of the modules: shared out over ranks and threads, or by all ranks together. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "refract/comm/agree.h"
#include "refract/linalg/convert.h"
#include "refract/linalg/scalapack.h"
#include "refract/linalg/spectrum.h"
#include "refract/linalg/svd.h"
#include "spectrum_parts.h"

/* W0 and W0 + dW [rows, cols] of one module, and room for vectors; owned. */
typedef struct pair {
    int64_t rows, cols, n;
    double *w0, *w1, *update, *u0, *u1, *vt;
} pair;

static void pair_free(pair *p)
{
    double *all[] = {p->w0, p->w1, p->update, p->u0, p->u1, p->vt};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
    *p = (pair){0};
}

static double *doubles(int64_t n)
{
    return malloc((size_t)n * sizeof(double));
}

static rf_status pair_take(pair *p, const rf_shape *shape)
{
    const int64_t rows = shape->rows, cols = shape->cols, n = rows < cols ? rows : cols;
    *p = (pair){.rows = rows,
                .cols = cols,
                .n = n,
                .w0 = doubles(rows * cols),
                .w1 = doubles(rows * cols),
                .update = doubles(rows * cols),
                .u0 = doubles(rows * n),
                .u1 = doubles(rows * n),
                .vt = doubles(n * cols)};
    if (p->w0 && p->w1 && p->update && p->u0 && p->u1 && p->vt) return RF_OK;
    return rf_fail(RF_RESOURCES, "no memory for the spectrum of a %lld x %lld weight",
                   (long long)rows, (long long)cols);
}

/* This rank's slices of both matrices. */
static rf_status own_slices(const spectrum_item *item, const rf_grid *grid, double *w0, double *w1)
{
    const rf_linear *linear = item->linear;
    const int64_t items = rf_local_items(&linear->shape, grid->slice_begin, grid->slice_end);
    if (!w0 || !w1) return rf_fail(RF_RESOURCES, "no memory for a share of a weight");
    if (!item->adapter) {
        rf_convert(w0, RF_F64, item->before, RF_DTYPE_REAL, items);
        rf_convert(w1, RF_F64, linear->w, linear->dtype, items);
        return RF_OK;
    }
    for (int slice = grid->slice_begin; slice < grid->slice_end; slice++) {
        const int64_t at = rf_slice_offset(&linear->shape, grid->slice_begin, slice);
        RF_TRY(rf_adapter_wide(item->adapter, slice, w0 + at, w1 + at));
    }
    return RF_OK;
}

/* Both matrices whole on rank q, and their difference. Collective over world. */
static rf_status collect(pair *p, const spectrum_item *item, const rf_grid *grid, int q)
{
    const rf_shape *shape = &item->linear->shape;
    const int64_t items = rf_local_items(shape, grid->slice_begin, grid->slice_end);
    double *own0 = doubles(items + 1), *own1 = doubles(items + 1);
    rf_status status = own_slices(item, grid, own0, own1);
    if (status == RF_OK && grid->rank == q) status = pair_take(p, shape);
    status = rf_agree(grid->world, status);
    if (status == RF_OK) status = rf_tensor_collect(grid, q, p->w0, own0, shape, sizeof *own0);
    if (status == RF_OK) status = rf_tensor_collect(grid, q, p->w1, own1, shape, sizeof *own1);
    free(own0);
    free(own1);
    for (int64_t i = 0; status == RF_OK && grid->rank == q && i < shape->rows * shape->cols; i++)
        p->update[i] = p->w1[i] - p->w0[i];
    return status;
}

static void compare(rf_spectrum_module *result, const pair *p)
{
    rf_most_cosine(result->cosine, p->u1, p->n, result->top, p->u0, p->n, p->rows);
}

/* One module by one thread. Local. */
static rf_status factorise_alone(rf_spectrum_module *result, pair *p)
{
    double *const *sigma = result->sigma;
    RF_TRY(rf_svd_values(sigma[RF_SPECTRUM_UPDATE], p->update, p->rows, p->cols));
    RF_TRY(rf_svd_leading(p->u0, sigma[RF_SPECTRUM_BASE], p->vt, p->w0, p->rows, p->cols, p->n));
    RF_TRY(rf_svd_leading(p->u1, sigma[RF_SPECTRUM_TUNED], p->vt, p->w1, p->rows, p->cols, p->n));
    compare(result, p);
    return RF_OK;
}

/* One module by all ranks. Collective over world. */
static rf_status factorise_together(const spectrum_item *item, const rf_grid *grid)
{
    pair p = {0};
    rf_spectrum_module *result = item->result;
    const int64_t rows = item->linear->shape.rows, cols = item->linear->shape.cols, n = result->n;
    MPI_Comm world = grid->world;
    result->is_spread = 1;
    rf_status status = collect(&p, item, grid, 0);
    if (status == RF_OK)
        status = rf_scalapack_svd(world, 0, RF_SPREAD_NONE, NULL, result->sigma[RF_SPECTRUM_UPDATE],
                                  NULL, p.update, rows, cols, n);
    if (status == RF_OK)
        status = rf_scalapack_svd(world, 0, RF_SPREAD_LEFT, p.u0, result->sigma[RF_SPECTRUM_BASE],
                                  NULL, p.w0, rows, cols, n);
    if (status == RF_OK)
        status = rf_scalapack_svd(world, 0, RF_SPREAD_LEFT, p.u1, result->sigma[RF_SPECTRUM_TUNED],
                                  NULL, p.w1, rows, cols, n);
    if (status == RF_OK && grid->rank == 0) compare(result, &p);
    pair_free(&p);
    return status;
}

/* Up to size x share modules: those of place [q share, (q + 1) share) are rank q's. */
typedef struct round_of {
    spectrum_item **item;
    int64_t count, capacity;
    pair *own; /* [share] */
    int share;
} round_of;

static rf_status factorise_own(const round_of *now, int rank)
{
    int worst = RF_OK;
    const int64_t first = (int64_t)rank * now->share;
#pragma omp parallel for schedule(static, 1) reduction(max : worst)
    for (int place = 0; place < now->share; place++) {
        if (first + place >= now->count) continue;
        const int status = factorise_alone(now->item[first + place]->result, &now->own[place]);
        worst = status > worst ? status : worst;
    }
    if (worst == RF_OK) return RF_OK;
    return rf_fail((rf_status)worst, "a weight has no singular values, for lack of memory or "
                                     "because it is not finite (refract spectrum)");
}

static rf_status run_round(round_of *now, const rf_grid *grid)
{
    rf_status status = RF_OK;
    for (int64_t i = 0; i < now->count && status == RF_OK; i++) {
        pair none = {0};
        const int q = (int)(i / now->share);
        pair *p = q == grid->rank ? &now->own[i % now->share] : &none;
        status = collect(p, now->item[i], grid, q);
    }
    if (status == RF_OK) status = rf_agree(grid->world, factorise_own(now, grid->rank));
    for (int64_t i = 0; i < now->count && status == RF_OK; i++) {
        const rf_spectrum_module *result = now->item[i]->result;
        MPI_Bcast(result->sigma[0], (int)(RF_SPECTRUM_PARTS * result->n + result->top), MPI_DOUBLE,
                  (int)(i / now->share), grid->world);
    }
    for (int place = 0; place < now->share; place++) pair_free(&now->own[place]);
    now->count = 0;
    return status;
}

static rf_status make_round(round_of *now, const rf_grid *grid)
{
    int share = omp_get_max_threads();
    MPI_Allreduce(MPI_IN_PLACE, &share, 1, MPI_INT, MPI_MIN, grid->world);
    *now = (round_of){.share = share, .capacity = (int64_t)grid->size * share};
    now->item = calloc((size_t)now->capacity, sizeof(spectrum_item *));
    now->own = calloc((size_t)share, sizeof *now->own);
    return rf_agree(grid->world, now->item && now->own
                                     ? RF_OK
                                     : rf_fail(RF_RESOURCES, "no memory for a round of spectra"));
}

rf_status spectrum_compute(spectrum_list *list, const rf_session *s, int64_t most_elements)
{
    round_of now;
    const rf_grid *grid = &s->grid;
    rf_status status = make_round(&now, grid);
    for (int64_t i = 0; i < list->count && status == RF_OK; i++) {
        spectrum_item *item = &list->item[i];
        const rf_shape *shape = &item->linear->shape;
        if (shape->rows * shape->cols > most_elements)
            status = factorise_together(item, grid);
        else
            now.item[now.count++] = item;
        if (status == RF_OK && now.count == now.capacity) status = run_round(&now, grid);
    }
    if (status == RF_OK) status = run_round(&now, grid);
    free(now.item);
    free(now.own);
    return status;
}
