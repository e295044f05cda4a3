/**
 * Methods on small made-up modules: parameters, moments and gradients without a model, reference
 * data, and a small net that gives trajectories their gradients.
 */
#ifndef METHOD_BENCH_H
#define METHOD_BENCH_H

#include <jansson.h>

#include "refract/io/safetensors.h"
#include "refract/method/method.h"

/** One file of ../shared/reference/methods with its JSON. */
typedef struct reference {
    rf_safetensors *values;
    json_t *json;
} reference;

/** Opens NAME.safetensors and NAME.json. */
reference reference_open(const char *name);
void reference_close(reference *data);
/** 1 when the array is there. */
int reference_has(const reference *data, const char *key, ...)
    __attribute__((format(printf, 2, 3)));
/** An array as doubles, key formatted like printf; malloc'ed. *items may be NULL. */
double *reference_load(const reference *data, int64_t *items, const char *key, ...)
    __attribute__((format(printf, 3, 4)));
/** A number of a JSON object. */
double json_at(const json_t *object, const char *key);

typedef struct bench_module {
    int64_t r, d_in, d_out;
    double scaling;
} bench_module;

enum { BENCH_MODULES = 16 };

typedef struct bench {
    rf_grid grid;
    rf_params params;
    rf_module module[BENCH_MODULES];
    rf_modules modules;
    rf_config *config;
    rf_adamw adamw;
    rf_log log;
    rf_method_context context;
    rf_methods methods;
    rf_arena run, scratch;
    rf_real *gradient; /**< [trained_items] */
    int64_t steps_done;
} bench;

typedef struct bench_options {
    const char *yaml; /**< configuration */
    MPI_Comm comm;    /**< all ranks are one tensor-parallel group */
    int64_t steps;
    const bench_module *modules;
    int count;
    int gates;     /**< 1: modules have gates */
    int diagonals; /**< 1: modules have AdaLoRA's E */
    int cut;       /**< 1: even modules are column-parallel, odd ones row-parallel */
} bench_options;

/** Makes everything; the status is that of rf_methods_create. bench_close is due in any case. */
rf_status bench_open(bench *b, const bench_options *options);
void bench_close(bench *b);

typedef enum bench_array { BENCH_VALUE, BENCH_M, BENCH_V, BENCH_GRADIENT } bench_array;

/** Global array <-> this rank's slices of a row: 'A', 'B', 'g' or 'E' of module m. */
void bench_set(bench *b, bench_array array, int m, char tensor, const double *global);
/** malloc'ed; complete where every slice lies on this rank. */
double *bench_get(const bench *b, bench_array array, int m, char tensor);
/** Sets an array from reference data. */
void bench_load(bench *b, bench_array array, int m, char tensor, const reference *data,
                const char *key, ...) __attribute__((format(printf, 6, 7)));
/** Largest |difference| over largest |wanted|. */
double bench_error(const bench *b, bench_array array, int m, char tensor, const reference *data,
                   const char *key, ...) __attribute__((format(printf, 6, 7)));

/** One update with the bench's gradient, of the given global norm clipped to `limit`; then events.
 */
void bench_step(bench *b, double norm, double limit, double rate);

/** max |got - wanted| / max |wanted|. */
double relative_error(const double *got, const double *wanted, int64_t n);

/**
 * x -> W_L' tanh(... tanh(W_1' x)), W_i' = W_i + s_i B_i D_i A_i, loss = mean of squared
 * differences: gradients of a bench's modules in double.
 */
typedef struct toy {
    int layers;
    int64_t rows, dim[5];
    const double *w[4], *x, *y; /**< borrowed */
    double temperature;         /**< of gates */
} toy;

/** Loss of the bench's present state; its gradient is written into the bench. *norm: of all of it.
 */
double toy_gradient(const toy *net, bench *b, double *norm);

#endif
