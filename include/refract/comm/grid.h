/** The grid of ranks: world = dp x tp, tensor-parallel ranks adjacent. */
#ifndef RF_COMM_GRID_H
#define RF_COMM_GRID_H

#include <mpi.h>

#include "refract/base/status.h"

typedef struct rf_grid {
    MPI_Comm world; /**< all ranks of this run; owned duplicate */
    MPI_Comm tp;    /**< ranks that share one replica of the model; owned */
    MPI_Comm dp;    /**< ranks that hold the same shard; owned */
    int rank, size;
    int tp_rank, tp_size;
    int dp_rank, dp_size;
    int slices;      /**< S, parallel.slices: a power of two */
    int slice_begin; /**< this rank's slices: [slice_begin, slice_end) */
    int slice_end;
} rf_grid;

/**
 * Splits `comm` into tensor-parallel groups of `tp` neighbours. Collective over comm; arguments
 * equal on all ranks. RF_RESOURCES where tp is not a power of two, exceeds `slices` or does not
 * divide the ranks; `slices` must be a power of two (the configuration has checked it).
 */
rf_status rf_grid_create(rf_grid *grid, MPI_Comm comm, int tp, int slices);

/**
 * The grid as `rank` of `size` ranks would see it, for planning: nobody is there to talk to (the
 * communicators are MPI_COMM_NULL). Local; RF_RESOURCES as rf_grid_create.
 */
rf_status rf_grid_imagine(rf_grid *grid, int size, int rank, int tp, int slices);

/** Frees the communicators; safe on a zeroed grid. Collective over the grid's world. */
void rf_grid_destroy(rf_grid *grid);

#endif
