/** A small layer group of either kind with adapters, biases and dropout, on any grid. */
#ifndef LINEAR_FIXTURE_H
#define LINEAR_FIXTURE_H

#include "refract/adapter/group.h"
#include "refract/comm/grid.h"
#include "refract/nn/linear.h"

enum { FIXTURE_TOKENS = 150, FIXTURE_LAYERS = 2, FIXTURE_R = 3 };

typedef struct linear_fixture {
    rf_grid grid;
    rf_arena arena;
    rf_collector collector;
    rf_linear_context context;
    rf_bf16 *bf16;
    rf_dropout dropout;
    uint64_t row_key[FIXTURE_TOKENS];
    int count;
    rf_linear linear[FIXTURE_LAYERS];
    rf_lowrank lowrank[FIXTURE_LAYERS];
    rf_adapter_options options[FIXTURE_LAYERS];
    rf_adapter adapter[FIXTURE_LAYERS];
    rf_adapters adapters;
    int tensors; /* of an adapter */
    rf_adapter_tensor tensor[FIXTURE_LAYERS][RF_ADAPTER_TENSORS];
    int prepares; /* 1: the loss prepares the adapters anew */
    rf_linear_pass pass[FIXTURE_LAYERS];
    rf_real *w[FIXTURE_LAYERS], *bias[FIXTURE_LAYERS];
    rf_real *y[FIXTURE_LAYERS], *dy[FIXTURE_LAYERS];
    rf_real *x, *dx; /* x: [tokens, d_in] or its slices; dx likewise */
    int64_t d_in;
} linear_fixture;

/** split RF_ROWS: two column-parallel layers on one input; RF_COLS: one row-parallel layer. */
void linear_fixture_create(linear_fixture *fixture, MPI_Comm comm, int tp, rf_split split,
                           rf_dtype dtype, double dropout, const rf_adapter_kind *kind);
/** From now on products with weights take operands rounded to bf16; up to two threads. */
void linear_fixture_use_bf16(linear_fixture *fixture);
void linear_fixture_destroy(linear_fixture *fixture);

/** Forward; y of all layers in fixture->y. Then sum of y weighted by dy. */
void linear_fixture_forward(linear_fixture *fixture);
double linear_fixture_loss(void *fixture);
/** Backward; dx in fixture->dx, the rest in the gradients of layers and adapters. */
void linear_fixture_backward(linear_fixture *fixture);

/** Local columns of layer i's output and of the input on this grid. */
int64_t linear_fixture_out(const linear_fixture *fixture, int i);
int64_t linear_fixture_in(const linear_fixture *fixture);

#endif
