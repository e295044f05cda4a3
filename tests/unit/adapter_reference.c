/* One adapted layer against values of the methods' own released code: forward, backward, merge. */
#include "rf_test.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refract/adapter/group.h"
#include "refract/io/safetensors.h"
#include "refract/nn/linear.h"

enum { SLICES = 4, KEEP = 32 << 20 };

static const int is_double = sizeof(rf_real) == sizeof(double);

typedef struct layer {
    const rf_safetensors *file;
    const char *name; /* of the case */
    rf_grid grid;
    rf_arena arena;
    rf_collector collector;
    rf_linear_context context;
    rf_linear linear;
    rf_lowrank lowrank;
    rf_adapter_options options;
    rf_adapter adapter;
    rf_adapters adapters;
    rf_adapter_tensor tensor[RF_ADAPTER_TENSORS];
    rf_linear_pass pass;
    int64_t tokens;
    rf_shape x_shape, y_shape;
    rf_real *x, *dx;
} layer;

static const rf_tensor_info *info_of(const layer *l, const char *array)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", l->name, array);
    return rf_safetensors_find(l->file, key);
}

/* The whole array, malloc'ed. */
static double *read_global(const layer *l, const char *array, int64_t *items)
{
    const rf_tensor_info *info = info_of(l, array);
    assert_non_null(info);
    double *global = malloc(sizeof *global * (size_t)(info->items + 1));
    assert_ok(rf_safetensors_load(l->file, info->name, RF_F64, global, info->items));
    *items = info->items;
    return global;
}

static rf_real *read_local(layer *l, const char *array, const rf_shape *shape)
{
    int64_t items = 0;
    double *global = read_global(l, array, &items);
    rf_real *narrow = malloc(sizeof *narrow * (size_t)items);
    for (int64_t i = 0; i < items; i++) narrow[i] = (rf_real)global[i];
    rf_real *local = RF_TAKE(&l->arena, rf_real, items);
    rf_shape_scatter(local, narrow, shape, 0, SLICES, sizeof *local);
    free(narrow);
    free(global);
    return local;
}

/* max |got - wanted| <= limit max |wanted|, or <= the absolute bound when one is given. */
static void compare(const layer *l, const char *array, const rf_real *local, const rf_shape *shape,
                    double single, double wide, double bound)
{
    int64_t items = 0;
    double *wanted = read_global(l, array, &items), worst = 0, scale = 0;
    rf_real *got = malloc(sizeof *got * (size_t)items);
    rf_shape_gather(got, local, shape, 0, SLICES, sizeof *got);
    for (int64_t i = 0; i < items; i++) {
        const double off = fabs((double)got[i] - wanted[i]);
        if (!(off <= worst)) worst = off;
        scale = fmax(scale, fabs(wanted[i]));
    }
    const double limit = (is_double ? wide : single) * (bound > 0 ? bound : scale);
    if (!(worst <= limit)) print_error("%s.%s is off by %g (%g)\n", l->name, array, worst, limit);
    assert_true(worst <= limit);
    free(got);
    free(wanted);
}

/* An activation [tokens, n]: cut like the weight's rows or columns, or replicated. */
static rf_shape activation(const layer *l, int64_t n, int is_cut)
{
    const rf_shape *w = &l->linear.shape;
    return is_cut ? (rf_shape){l->tokens, n, RF_COLS, w->cut} : rf_shape_replicated(l->tokens, n);
}

static rf_real *take(layer *l, const rf_shape *shape)
{
    return RF_TAKE(&l->arena, rf_real, shape->rows * shape->cols);
}

static void make_linear(layer *l, rf_split split)
{
    const rf_tensor_info *w = info_of(l, "W0"), *x = info_of(l, "x");
    const int64_t d_out = w->dim[0], d_in = w->dim[1];
    const rf_cut cut = {.units = split == RF_ROWS ? d_out : d_in, .unit = 1, .slices = SLICES};
    l->tokens = x->dim[0];
    l->linear = (rf_linear){.name = l->name,
                            .shape = {d_out, d_in, split, cut},
                            .dtype = RF_DTYPE_REAL,
                            .lowrank = &l->lowrank};
    l->linear.w = read_local(l, "W0", &l->linear.shape);
    const rf_shape bias = {d_out, 1, split == RF_ROWS ? RF_ROWS : RF_REPLICATED, cut};
    if (info_of(l, "bias")) l->linear.bias = read_local(l, "bias", &bias);
    l->x_shape = activation(l, d_in, split == RF_COLS);
    l->y_shape = activation(l, d_out, split == RF_ROWS);
    l->x = read_local(l, "x", &l->x_shape);
    l->dx = take(l, &l->x_shape);
    const rf_shape xs = rf_shape_replicated(l->tokens, l->options.r);
    l->pass = (rf_linear_pass){.linear = &l->linear,
                               .y = take(l, &l->y_shape),
                               .xs = take(l, &xs),
                               .dy = info_of(l, "dy") ? read_local(l, "dy", &l->y_shape) : NULL,
                               .z = take(l, &l->y_shape),
                               .dz = take(l, &l->y_shape)};
}

/* third: the array of the kind's own tensor. */
static void make_adapter(layer *l, const rf_adapter_kind *kind, const char *third)
{
    const char *const arrays[] = {"A", "B", third};
    l->adapter = (rf_adapter){.kind = kind,
                              .options = &l->options,
                              .shape = l->linear.shape,
                              .dtype = RF_DTYPE_REAL,
                              .w = (void *)l->linear.w,
                              .slice_end = SLICES,
                              .lowrank = &l->lowrank};
    assert_int_equal(kind->tensors(&l->linear.shape, &l->options, l->tensor), 3);
    for (int i = 0; i < 3; i++) {
        l->adapter.value[i] = read_local(l, arrays[i], &l->tensor[i].shape);
        l->adapter.gradient[i] = take(l, &l->tensor[i].shape);
    }
    assert_ok(rf_adapters_add(&l->adapters, &l->adapter));
    l->adapters.grid = &l->grid;
    l->adapters.collector = &l->collector;
    l->adapters.workspace = &l->context.workspace;
    rf_adapters_layout(&l->adapters, &l->arena);
    kind->bind(&l->adapter);
}

static layer *setup(const rf_safetensors *file, const char *name, rf_split split,
                    const rf_adapter_kind *kind, const char *third, rf_adapter_options options)
{
    layer *l = calloc(1, sizeof *l);
    l->file = file;
    l->name = name;
    assert_ok(rf_grid_create(&l->grid, MPI_COMM_SELF, 1, SLICES));
    assert_ok(rf_arena_create(&l->arena, "test", KEEP));
    l->options = options;
    l->options.r = info_of(l, "A")->dim[0];
    l->options.alpha *= (double)l->options.r; /* given as s */
    make_linear(l, split);
    rf_collector_layout(&l->collector, &l->arena, l->grid.tp, SLICES);
    make_adapter(l, kind, third);
    l->context = (rf_linear_context){.grid = &l->grid, .collector = &l->collector};
    l->context.exchange = RF_TAKE(&l->arena, rf_real, 4096);
    const int64_t need = rf_linear_scratch(&l->linear, &l->grid, 0);
    const int64_t own = rf_adapters_scratch(&l->adapters);
    rf_workspace_layout(&l->context.workspace, &l->arena, omp_get_max_threads(),
                        need > own ? need : own);
    rf_adapters_prepare(&l->adapters, RF_ADAPTER_BASE);
    rf_adapters_prepare(&l->adapters, RF_ADAPTER_STEP);
    return l;
}

static void teardown(layer *l)
{
    rf_adapters_destroy(&l->adapters);
    rf_arena_destroy(&l->arena);
    rf_grid_destroy(&l->grid);
    free(l);
}

static void run(layer *l)
{
    const size_t y_bytes = sizeof(rf_real) * (size_t)(l->tokens * l->linear.shape.rows);
    const size_t x_bytes = sizeof(rf_real) * (size_t)(l->tokens * l->linear.shape.cols);
    if (l->linear.shape.split == RF_ROWS) {
        rf_column_forward(&l->context, &l->pass, 1, l->x, l->tokens);
        memcpy(l->dx, rf_column_backward(&l->context, &l->pass, 1, l->x, l->tokens), x_bytes);
    } else {
        memcpy(l->pass.y, rf_row_forward(&l->context, &l->pass, l->x, l->tokens), y_bytes);
        rf_row_backward(&l->context, &l->pass, l->dx, l->x, l->tokens);
    }
    rf_adapters_finish(&l->adapters);
}

static void check_merge(layer *l, const char *array, const rf_real *base)
{
    rf_real *w = take(l, &l->linear.shape);
    if (base) memcpy(w, base, sizeof *w * (size_t)(l->linear.shape.rows * l->linear.shape.cols));
    for (int s = 0; s < SLICES; s++)
        rf_adapter_merge(&l->adapter, s, w + rf_slice_offset(&l->linear.shape, 0, s));
    compare(l, array, w, &l->linear.shape, 2e-6, 1e-13, 0);
}

static void check_pass(layer *l)
{
    compare(l, "y", l->pass.y, &l->y_shape, 2e-6, 1e-13, 0);
    compare(l, "dx", l->dx, &l->x_shape, 2e-6, 1e-13, 0);
    compare(l, "dA", l->adapter.gradient[0], &l->tensor[0].shape, 2e-6, 1e-13, 0);
    compare(l, "dB", l->adapter.gradient[1], &l->tensor[1].shape, 2e-6, 1e-13, 0);
}

static void check_gates(const rf_safetensors *file, const char *name, double s, double tau,
                        double dg_scale, rf_split split)
{
    layer *l = setup(file, name, split, &rf_adapter_beamlora, "g",
                     (rf_adapter_options){.alpha = s, .temperature = tau});
    run(l);
    check_pass(l);
    compare(l, "sigma", l->lowrank.mid, &l->tensor[2].shape, 2e-6, 1e-13, 0);
    compare(l, "dg", l->adapter.gradient[2], &l->tensor[2].shape, 5e-7, 1e-13, dg_scale);
    check_merge(l, "deltaW", NULL);
    check_merge(l, "W_merged", l->linear.w);
    double sum = 0;
    for (int64_t k = 0; k < l->options.r; k++) sum += (double)l->lowrank.mid[k];
    assert_near(sum, l->options.r, is_double ? 1e-15 : 1e-6, 0);
    teardown(l);
}

static void beamlora_layer__all_cases__equals_the_released_code(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double s, tau, dg_scale;
    } cases[] = {{"g0", 2, 0.05, 23.338058792456508},      {"small", 2, 0.05, 26.82471433489308},
                 {"r8_bias", 2, 0.05, 88.52022171748476},  {"tau03", 1, 0.03, 108.51325309420204},
                 {"peaked", 2, 0.05, 45.55309860038125},   {"r16", 2, 0.05, 501.71250415269463},
                 {"extreme", 2, 0.05, 25.100061799021613}, {"r1", 2, 0.05, 24.056741408586145}};
    const char *path = "reference/methods/beamlora_layer.safetensors";
    skip_without(path);
    rf_safetensors *file = NULL;
    assert_ok(rf_safetensors_open(&file, rf_shared_path(path)));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int k = 0; k < 2; k++)
            check_gates(file, cases[i].name, cases[i].s, cases[i].tau, cases[i].dg_scale,
                        k ? RF_COLS : RF_ROWS);
    rf_safetensors_close(&file);
}

static void dora_layer__all_cases__equals_peft(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double s;
    } cases[] = {{"dora.r4", 2}, {"dora.r2_bias", 3}};
    const char *path = "reference/methods/baseline_peft.safetensors";
    skip_without(path);
    rf_safetensors *file = NULL;
    assert_ok(rf_safetensors_open(&file, rf_shared_path(path)));
    for (int i = 0; i < 4; i++) {
        layer *l = setup(file, cases[i / 2].name, i % 2 ? RF_COLS : RF_ROWS, &rf_adapter_dora,
                         "magnitude", (rf_adapter_options){.alpha = cases[i / 2].s});
        run(l);
        check_pass(l);
        compare(l, "dmagnitude", l->adapter.gradient[2], &l->tensor[2].shape, 2e-6, 1e-13, 0);
        check_merge(l, "W_merged", l->linear.w);
        teardown(l);
    }
    rf_safetensors_close(&file);
}

static void adalora_layer__equals_peft(void **state)
{
    (void)state;
    const char *path = "reference/methods/baseline_peft.safetensors";
    skip_without(path);
    rf_safetensors *file = NULL;
    assert_ok(rf_safetensors_open(&file, rf_shared_path(path)));
    for (int i = 0; i < 2; i++) {
        layer *l = setup(file, "adalora.fwd", i ? RF_COLS : RF_ROWS, &rf_adapter_adalora, "E",
                         (rf_adapter_options){.alpha = 4, .rank_shift = 1e-5}); /* alpha 16, r 4 */
        if (i == 0)
            rf_column_forward(&l->context, &l->pass, 1, l->x, l->tokens);
        else
            memcpy(l->pass.y, rf_row_forward(&l->context, &l->pass, l->x, l->tokens),
                   sizeof(rf_real) * (size_t)(l->tokens * l->linear.shape.rows));
        compare(l, "y", l->pass.y, &l->y_shape, 2e-6, 1e-13, 0);
        check_merge(l, "dW", NULL);
        teardown(l);
    }
    rf_safetensors_close(&file);
}

static const struct CMUnitTest adapter_reference[] = {
    cmocka_unit_test(adalora_layer__equals_peft),
    cmocka_unit_test(beamlora_layer__all_cases__equals_the_released_code),
    cmocka_unit_test(dora_layer__all_cases__equals_peft),
};
RF_TEST_MAIN(adapter_reference)
