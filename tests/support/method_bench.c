#include "method_bench.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rf_test.h"

reference reference_open(const char *name)
{
    reference data = {0};
    char path[256];
    json_error_t error;
    snprintf(path, sizeof path, "reference/methods/%s.json", name);
    data.json = json_load_file(rf_shared_path(path), 0, &error);
    assert_non_null(data.json);
    snprintf(path, sizeof path, "reference/methods/%s.safetensors", name);
    if (rf_shared_path(path)) assert_ok(rf_safetensors_open(&data.values, rf_shared_path(path)));
    return data;
}

void reference_close(reference *data)
{
    rf_safetensors_close(&data->values);
    json_decref(data->json);
}

#define FORMAT_KEY(key, last)                                                                      \
    char name[256];                                                                                \
    va_list arguments;                                                                             \
    va_start(arguments, last);                                                                     \
    vsnprintf(name, sizeof name, key, arguments);                                                  \
    va_end(arguments)

int reference_has(const reference *data, const char *key, ...)
{
    FORMAT_KEY(key, key);
    return rf_safetensors_find(data->values, name) != NULL;
}

static double *load(const reference *data, int64_t *items, const char *name)
{
    const rf_tensor_info *info = rf_safetensors_find(data->values, name);
    if (!info) print_error("no array %s\n", name);
    assert_non_null(info);
    double *x = malloc(sizeof *x * (size_t)(info->items + 1));
    assert_non_null(x);
    if (info->type == RF_U8 || info->type == RF_I64) {
        int64_t *whole = malloc(sizeof *whole * (size_t)(info->items + 1));
        assert_non_null(whole);
        assert_ok(rf_safetensors_load(data->values, name, info->type, whole, info->items));
        for (int64_t i = 0; i < info->items; i++)
            x[i] = info->type == RF_I64 ? (double)whole[i] : ((unsigned char *)whole)[i];
        free(whole);
    } else {
        assert_ok(rf_safetensors_load(data->values, name, RF_F64, x, info->items));
    }
    if (items) *items = info->items;
    return x;
}

double *reference_load(const reference *data, int64_t *items, const char *key, ...)
{
    FORMAT_KEY(key, key);
    return load(data, items, name);
}

double json_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_non_null(value);
    return json_is_boolean(value) ? json_is_true(value) : json_number_value(value);
}

static rf_param *row_of(bench *b, const char *name, rf_shape shape, int64_t *row)
{
    const rf_init init = {RF_INIT_ZERO, 0};
    *row = rf_params_add(&b->params, &b->grid, name, shape, RF_DTYPE_REAL, 1, init);
    assert_true(*row >= 0);
    b->params.row[*row].adapter = 1;
    return &b->params.row[*row];
}

static rf_shape cut_shape(rf_shape shape, rf_split split, int slices)
{
    const int64_t n = split == RF_ROWS ? shape.rows : shape.cols;
    shape.split = split;
    shape.cut = (rf_cut){.units = n, .unit = 1, .slices = slices};
    return shape;
}

static void add_module(bench *b, const bench_options *o, int i)
{
    const bench_module *from = &o->modules[i];
    rf_module *m = &b->module[i];
    char name[64];
    *m = (rf_module){.r = from->r,
                     .d_in = from->d_in,
                     .d_out = from->d_out,
                     .scaling = from->scaling,
                     .gate = -1,
                     .e = -1};
    snprintf(m->name, sizeof m->name, "m%d", i);
    rf_shape a = rf_shape_replicated(m->r, m->d_in), c = rf_shape_replicated(m->d_out, m->r);
    if (o->cut && i % 2 == 0) c = cut_shape(c, RF_ROWS, b->grid.slices);
    if (o->cut && i % 2 == 1) a = cut_shape(a, RF_COLS, b->grid.slices);
    snprintf(name, sizeof name, "m%d.lora_A.weight", i);
    row_of(b, name, a, &m->a);
    snprintf(name, sizeof name, "m%d.lora_B.weight", i);
    row_of(b, name, c, &m->b);
    snprintf(name, sizeof name, "m%d.lora_gate", i);
    if (o->gates) row_of(b, name, rf_shape_replicated(m->r, 1), &m->gate);
    snprintf(name, sizeof name, "m%d.lora_E", i);
    if (o->diagonals) row_of(b, name, rf_shape_replicated(m->r, 1), &m->e);
    if (m->r > b->modules.most_r) b->modules.most_r = m->r;
}

static void lay_out(bench *b, rf_arena *run, rf_arena *scratch)
{
    rf_params_layout(&b->params, run, 1);
    b->gradient = RF_TAKE(run, rf_real, b->params.trained_items);
    rf_methods_layout(&b->methods, run, scratch);
}

rf_status bench_open(bench *b, const bench_options *o)
{
    int size = 1;
    *b = (bench){.adamw = {0.9, 0.999, 1e-8, 0}};
    MPI_Comm_size(o->comm, &size);
    assert_ok(rf_grid_create(&b->grid, o->comm, size, 4));
    b->log = rf_log_start(b->grid.rank);
    b->log.quiet = 1;
    assert_true(o->count <= BENCH_MODULES);
    for (int i = 0; i < o->count; i++) add_module(b, o, i);
    b->modules.item = b->module;
    b->modules.count = o->count;
    assert_ok(rf_config_parse(&b->config, o->yaml, strlen(o->yaml), "a.yaml", NULL, 0));
    b->context = (rf_method_context){.config = b->config,
                                     .grid = &b->grid,
                                     .params = &b->params,
                                     .modules = &b->modules,
                                     .adamw = &b->adamw,
                                     .log = &b->log,
                                     .steps = o->steps,
                                     .threads = 2};
    RF_TRY(rf_methods_create(&b->methods, &b->context));
    rf_arena run = rf_arena_counting("run"), scratch = rf_arena_counting("scratch");
    lay_out(b, &run, &scratch);
    assert_ok(rf_arena_create(&b->run, "run", run.peak));
    assert_ok(rf_arena_create(&b->scratch, "scratch", scratch.peak));
    lay_out(b, &b->run, &b->scratch);
    return RF_OK;
}

void bench_close(bench *b)
{
    rf_methods_destroy(&b->methods);
    rf_params_destroy(&b->params);
    rf_config_destroy(&b->config);
    rf_arena_destroy(&b->run);
    rf_arena_destroy(&b->scratch);
    rf_grid_destroy(&b->grid);
}

static rf_real *place(const bench *b, bench_array array, int m, char tensor, const rf_param **row)
{
    const rf_module *module = &b->module[m];
    const int64_t at = tensor == 'A'   ? module->a
                       : tensor == 'B' ? module->b
                       : tensor == 'E' ? module->e
                                       : module->gate;
    *row = &b->params.row[at];
    rf_real *const base[] = {b->params.value, b->params.moment1, b->params.moment2, b->gradient};
    return base[array] + (*row)->offset;
}

void bench_set(bench *b, bench_array array, int m, char tensor, const double *global)
{
    const rf_param *row;
    rf_real *x = place(b, array, m, tensor, &row);
    double *local = malloc(sizeof *local * (size_t)(row->items + 1));
    assert_non_null(local);
    rf_shape_scatter(local, global, &row->shape, b->grid.slice_begin, b->grid.slice_end,
                     sizeof *local);
    for (int64_t i = 0; i < row->items; i++) x[i] = (rf_real)local[i];
    free(local);
}

double *bench_get(const bench *b, bench_array array, int m, char tensor)
{
    const rf_param *row;
    const rf_real *x = place(b, array, m, tensor, &row);
    double *local = malloc(sizeof *local * (size_t)(row->items + 1));
    double *global = calloc((size_t)(row->shape.rows * row->shape.cols + 1), sizeof *global);
    assert_true(local && global);
    for (int64_t i = 0; i < row->items; i++) local[i] = (double)x[i];
    rf_shape_gather(global, local, &row->shape, b->grid.slice_begin, b->grid.slice_end,
                    sizeof *local);
    free(local);
    return global;
}

void bench_load(bench *b, bench_array array, int m, char tensor, const reference *data,
                const char *key, ...)
{
    FORMAT_KEY(key, key);
    double *global = load(data, NULL, name);
    bench_set(b, array, m, tensor, global);
    free(global);
}

double bench_error(const bench *b, bench_array array, int m, char tensor, const reference *data,
                   const char *key, ...)
{
    FORMAT_KEY(key, key);
    int64_t n = 0;
    double *wanted = load(data, &n, name), *got = bench_get(b, array, m, tensor);
    const double error = relative_error(got, wanted, n);
    free(wanted);
    free(got);
    return error;
}

void bench_step(bench *b, double norm, double limit, double rate)
{
    const rf_method_step step = {
        .number = ++b->steps_done, .scale = rf_clip_scale(norm, limit), .rate = rate};
    rf_methods_update(&b->methods, &step, b->gradient);
    rf_methods_event(&b->methods, &step);
}

double relative_error(const double *got, const double *wanted, int64_t n)
{
    double most = 0, scale = 0;
    for (int64_t i = 0; i < n; i++) {
        const double off = fabs(got[i] - wanted[i]);
        if (!(off <= most)) most = off;
        if (fabs(wanted[i]) > scale) scale = fabs(wanted[i]);
    }
    return scale > 0 ? most / scale : most;
}
