#include "linear_fixture.h"

#include <string.h>

#include "refract/linalg/convert.h"
#include "rf_test.h"

enum { SLICES = 4, D = 40, KEEP = 64 << 20 };

/* Fills local slices so that the global tensor is the same on every grid. */
static void fill(const linear_fixture *f, rf_real *x, const rf_shape *shape, uint64_t seed)
{
    rf_init_fill(x, shape, f->grid.slice_begin, f->grid.slice_end, (rf_init){RF_INIT_UNIFORM, 0.5},
                 seed, 0);
}

static rf_real *take(linear_fixture *f, const rf_shape *shape)
{
    return RF_TAKE(&f->arena, rf_real,
                   rf_local_items(shape, f->grid.slice_begin, f->grid.slice_end));
}

/* An activation [tokens, cut] as a tensor whose columns are cut. */
static rf_shape activation(const rf_shape *w)
{
    rf_shape shape = {.rows = FIXTURE_TOKENS,
                      .cols = w->split == RF_ROWS ? w->rows : w->cols,
                      .split = RF_COLS,
                      .cut = w->cut};
    return shape;
}

/* Tensors of a layer's adapter, all of them random. */
static void make_adapter(linear_fixture *f, int i, const rf_adapter_kind *kind, double dropout)
{
    rf_adapter *adapter = &f->adapter[i];
    const rf_linear *linear = &f->linear[i];
    f->options[i] =
        (rf_adapter_options){.r = FIXTURE_R, .alpha = 6, .dropout = dropout, .temperature = 0.5};
    *adapter = (rf_adapter){.kind = kind,
                            .options = &f->options[i],
                            .shape = linear->shape,
                            .dtype = linear->dtype,
                            .w = (void *)linear->w,
                            .slice_begin = f->grid.slice_begin,
                            .slice_end = f->grid.slice_end,
                            .lowrank = &f->lowrank[i]};
    f->tensors = kind->tensors(&linear->shape, adapter->options, f->tensor[i]);
    for (int k = 0; k < f->tensors; k++) {
        adapter->value[k] = take(f, &f->tensor[i][k].shape);
        adapter->gradient[k] = take(f, &f->tensor[i][k].shape);
        fill(f, adapter->value[k], &f->tensor[i][k].shape, (uint64_t)(20 + 100 * k + i));
    }
    assert_ok(rf_adapters_add(&f->adapters, adapter));
}

static void make_layer(linear_fixture *f, int i, rf_shape w, rf_dtype dtype, double dropout,
                       const rf_adapter_kind *kind)
{
    f->w[i] = take(f, &w);
    fill(f, f->w[i], &w, 10 + (uint64_t)i);
    rf_shape bias = {.rows = w.rows,
                     .cols = 1,
                     .split = w.split == RF_ROWS ? RF_ROWS : RF_REPLICATED,
                     .cut = w.cut};
    f->bias[i] = take(f, &bias);
    fill(f, f->bias[i], &bias, 40 + (uint64_t)i);
    f->linear[i] = (rf_linear){.name = "test",
                               .shape = w,
                               .dtype = RF_DTYPE_REAL,
                               .w = f->w[i],
                               .bias = f->bias[i],
                               .dw = take(f, &w),
                               .dbias = take(f, &bias),
                               .lowrank = &f->lowrank[i]};
    if (dtype != RF_DTYPE_REAL) {
        const int64_t items = rf_local_items(&w, f->grid.slice_begin, f->grid.slice_end);
        void *narrow = RF_TAKE(&f->arena, double, items);
        rf_convert(narrow, dtype, f->w[i], RF_DTYPE_REAL, items);
        f->linear[i].dtype = dtype;
        f->linear[i].w = narrow;
    }
    make_adapter(f, i, kind, dropout);
    const rf_shape out = activation(&w), replicated = rf_shape_replicated(FIXTURE_TOKENS, w.rows);
    const rf_shape *y_shape = w.split == RF_ROWS ? &out : &replicated;
    f->y[i] = take(f, y_shape);
    f->dy[i] = take(f, y_shape);
    fill(f, f->dy[i], y_shape, 50 + (uint64_t)i);
    f->pass[i] = (rf_linear_pass){.linear = &f->linear[i],
                                  .y = f->y[i],
                                  .dy = f->dy[i],
                                  .z = take(f, y_shape),
                                  .dz = take(f, y_shape),
                                  .xs = RF_TAKE(&f->arena, rf_real, FIXTURE_TOKENS * FIXTURE_R)};
}

static void start_adapters(linear_fixture *f)
{
    f->adapters.grid = &f->grid;
    f->adapters.collector = &f->collector;
    f->adapters.workspace = &f->context.workspace;
    rf_adapters_layout(&f->adapters, &f->arena);
    for (int i = 0; i < f->count; i++) {
        f->adapter[i].kind->bind(&f->adapter[i]);
        f->lowrank[i].stream = 77 + (uint64_t)i;
    }
    rf_adapters_prepare(&f->adapters, RF_ADAPTER_BASE);
    rf_adapters_prepare(&f->adapters, RF_ADAPTER_STEP);
}

void linear_fixture_create(linear_fixture *f, MPI_Comm comm, int tp, rf_split split, rf_dtype dtype,
                           double dropout, const rf_adapter_kind *kind)
{
    memset(f, 0, sizeof *f);
    assert_ok(rf_grid_create(&f->grid, comm, tp, SLICES));
    assert_ok(rf_arena_create(&f->arena, "test", KEEP));
    const rf_cut narrow = {.units = 3, .unit = 8, .slices = SLICES};
    const rf_cut wide = {.units = 3, .unit = 40, .slices = SLICES};
    f->d_in = D;
    if (split == RF_ROWS) {
        f->count = 2;
        make_layer(f, 0, (rf_shape){120, D, RF_ROWS, wide}, dtype, dropout, kind);
        make_layer(f, 1, (rf_shape){24, D, RF_ROWS, narrow}, dtype, dropout, kind);
    } else {
        f->count = 1;
        f->d_in = 120;
        make_layer(f, 0, (rf_shape){D, 120, RF_COLS, wide}, dtype, dropout, kind);
    }
    rf_shape x = rf_shape_replicated(FIXTURE_TOKENS, D);
    if (split == RF_COLS) x = activation(&f->linear[0].shape);
    f->x = take(f, &x);
    f->dx = take(f, &x);
    fill(f, f->x, &x, 60);

    for (int t = 0; t < FIXTURE_TOKENS; t++) f->row_key[t] = rf_dropout_row_key(t / 50, t % 50);
    f->dropout = (rf_dropout){.seed = 5, .row_key = f->row_key};
    rf_collector_layout(&f->collector, &f->arena, f->grid.tp, SLICES);
    int64_t scratch = 0;
    for (int i = 0; i < f->count; i++)
        if (rf_linear_scratch(&f->linear[i], &f->grid, 1) > scratch)
            scratch = rf_linear_scratch(&f->linear[i], &f->grid, 1);
    const int64_t exchange = FIXTURE_TOKENS * (D + FIXTURE_LAYERS * FIXTURE_R);
    f->context = (rf_linear_context){.grid = &f->grid,
                                     .collector = &f->collector,
                                     .dropout = dropout > 0 ? &f->dropout : NULL,
                                     .exchange = RF_TAKE(&f->arena, rf_real, exchange)};
    f->context.exchange_scratch =
        RF_TAKE(&f->arena, rf_real, rf_collect_scratch(&f->collector, exchange, SLICES));
    f->context.rounded = RF_TAKE(&f->arena, uint16_t,
                                 rf_linear_rounded(f->linear, f->count, &f->grid, FIXTURE_TOKENS));
    if (rf_adapters_scratch(&f->adapters) > scratch) scratch = rf_adapters_scratch(&f->adapters);
    rf_workspace_layout(&f->context.workspace, &f->arena, 2, scratch);
    start_adapters(f);
}

void linear_fixture_use_bf16(linear_fixture *f)
{
    assert_ok(rf_bf16_create(&f->bf16, 2));
    f->context.bf16 = f->bf16;
}

void linear_fixture_destroy(linear_fixture *f)
{
    rf_bf16_destroy(&f->bf16);
    rf_adapters_destroy(&f->adapters);
    rf_arena_destroy(&f->arena);
    rf_grid_destroy(&f->grid);
}

int64_t linear_fixture_out(const linear_fixture *f, int i)
{
    const rf_linear *linear = &f->linear[i];
    return linear->shape.split == RF_ROWS ? rf_linear_width(linear, &f->grid) : linear->shape.rows;
}

int64_t linear_fixture_in(const linear_fixture *f)
{
    const rf_linear *linear = &f->linear[0];
    return linear->shape.split == RF_COLS ? rf_linear_width(linear, &f->grid) : linear->shape.cols;
}

void linear_fixture_forward(linear_fixture *f)
{
    if (f->linear[0].shape.split == RF_ROWS) {
        rf_column_forward(&f->context, f->pass, f->count, f->x, FIXTURE_TOKENS);
        return;
    }
    const rf_real *y = rf_row_forward(&f->context, f->pass, f->x, FIXTURE_TOKENS);
    memcpy(f->y[0], y, sizeof *y * FIXTURE_TOKENS * D);
}

double linear_fixture_loss(void *context)
{
    linear_fixture *f = context;
    if (f->prepares) rf_adapters_prepare(&f->adapters, RF_ADAPTER_STEP);
    linear_fixture_forward(f);
    double loss = 0;
    for (int i = 0; i < f->count; i++)
        for (int64_t j = 0; j < FIXTURE_TOKENS * linear_fixture_out(f, i); j++)
            loss += (double)f->y[i][j] * (double)f->dy[i][j];
    return loss;
}

void linear_fixture_backward(linear_fixture *f)
{
    if (f->linear[0].shape.split == RF_ROWS) {
        const rf_real *dx =
            rf_column_backward(&f->context, f->pass, f->count, f->x, FIXTURE_TOKENS);
        memcpy(f->dx, dx, sizeof *dx * FIXTURE_TOKENS * D);
    } else {
        rf_row_backward(&f->context, f->pass, f->dx, f->x, FIXTURE_TOKENS);
    }
    rf_adapters_finish(&f->adapters);
}
