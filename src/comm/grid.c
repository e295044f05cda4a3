#include "refract/comm/grid.h"

static int is_power_of_two(int n)
{
    return n > 0 && (n & (n - 1)) == 0;
}

static void dup_free(MPI_Comm *comm)
{
    if (*comm != MPI_COMM_NULL && *comm) MPI_Comm_free(comm);
}

rf_status rf_grid_imagine(rf_grid *grid, int size, int rank, int tp, int slices)
{
    *grid = (rf_grid){.world = MPI_COMM_NULL, .tp = MPI_COMM_NULL, .dp = MPI_COMM_NULL};
    RF_ASSERT(is_power_of_two(slices), "%d slices", slices);
    if (!is_power_of_two(tp))
        return rf_fail(RF_RESOURCES,
                       "parallel.tensor = %d is not a power of two. Use 1, 2, 4, ... up to "
                       "parallel.slices = %d",
                       tp, slices);
    if (tp > slices)
        return rf_fail(RF_RESOURCES,
                       "parallel.tensor = %d exceeds parallel.slices = %d. Use at most %d", tp,
                       slices, slices);
    if (size % tp != 0)
        return rf_fail(RF_RESOURCES,
                       "%d ranks cannot be cut into tensor-parallel groups of "
                       "parallel.tensor = %d. Start a multiple of %d ranks",
                       size, tp, tp);
    *grid = (rf_grid){.world = MPI_COMM_NULL,
                      .tp = MPI_COMM_NULL,
                      .dp = MPI_COMM_NULL,
                      .rank = rank,
                      .size = size,
                      .tp_rank = rank % tp,
                      .tp_size = tp,
                      .dp_rank = rank / tp,
                      .dp_size = size / tp,
                      .slices = slices};
    grid->slice_begin = grid->tp_rank * (slices / tp);
    grid->slice_end = grid->slice_begin + slices / tp;
    return RF_OK;
}

rf_status rf_grid_create(rf_grid *grid, MPI_Comm comm, int tp, int slices)
{
    int size = 0, rank = 0;
    MPI_Comm_size(comm, &size);
    MPI_Comm_rank(comm, &rank);
    RF_TRY(rf_grid_imagine(grid, size, rank, tp, slices));
    MPI_Comm_dup(comm, &grid->world);
    MPI_Comm_split(grid->world, grid->dp_rank, grid->tp_rank, &grid->tp);
    MPI_Comm_split(grid->world, grid->tp_rank, grid->dp_rank, &grid->dp);
    return RF_OK;
}

void rf_grid_destroy(rf_grid *grid)
{
    dup_free(&grid->tp);
    dup_free(&grid->dp);
    dup_free(&grid->world);
    *grid = (rf_grid){.world = MPI_COMM_NULL, .tp = MPI_COMM_NULL, .dp = MPI_COMM_NULL};
}
