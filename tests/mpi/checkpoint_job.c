/* checkpoint_job FOLDER STEP: a job that may be killed. Prints the step of the newest checkpoint in
   FOLDER and whether it holds the state of that step, then writes the one of STEP (0: none). Exit
   code: status. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#include "rf_state.h"

static rf_status resume(const rf_grid *grid, rf_log *log, const char *folder)
{
    rf_checkpoint *checkpoint = NULL;
    rf_state state;
    if (rf_checkpoint_open_newest(&checkpoint, grid, log, folder) != RF_OK) return RF_INPUT;
    const int64_t step = checkpoint ? rf_checkpoint_step(checkpoint) : 0;
    rf_status status = RF_OK;
    rf_state_make(&state, grid, step);
    rf_state_clear(&state, grid);
    if (checkpoint) status = rf_checkpoint_read(checkpoint, grid, state.fields, RF_STATE_FIELDS);
    const int holds = !checkpoint || rf_state_holds(&state, grid);
    if (grid->rank == 0) printf("newest %lld %s\n", (long long)step, holds ? "whole" : "wrong");
    fflush(stdout);
    rf_state_free(&state);
    rf_checkpoint_close(&checkpoint);
    return status;
}

static rf_status work(const rf_grid *grid, const char *folder, int64_t step)
{
    rf_log log = rf_log_start(grid->rank);
    rf_state state;
    rf_status status = resume(grid, &log, folder);
    if (status != RF_OK || step == 0) return status;
    rf_state_make(&state, grid, step);
    status = rf_checkpoint_write(grid, &log, folder, step, state.fields, RF_STATE_FIELDS,
                                 state.attributes, 3, 1);
    rf_state_free(&state);
    return status;
}

int main(int argc, char **argv)
{
    rf_grid grid;
    int size = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (argc != 3 || rf_grid_create(&grid, MPI_COMM_WORLD, size, 4) != RF_OK) return RF_USAGE;
    const rf_status status = work(&grid, argv[1], strtoll(argv[2], NULL, 10));
    if (status != RF_OK && grid.rank == 0) printf("failed: %s\n", rf_status_message());
    rf_grid_destroy(&grid);
    MPI_Finalize();
    return (int)status;
}
