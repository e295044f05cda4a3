#include "refract/comm/shared.h"

#include <stdint.h>

#include "refract/comm/agree.h"

/* The window of one node; its first rank provides all of it. */
static rf_status take(rf_shared *shared, size_t size)
{
    MPI_Aint bytes = 0;
    int unit = 1;
    void *own = NULL, *first = NULL;
    MPI_Comm_set_errhandler(shared->node, MPI_ERRORS_RETURN);
    if (MPI_Win_allocate_shared(shared->is_writer ? (MPI_Aint)(size + RF_SHARED_ALIGN) : 0, 1,
                                MPI_INFO_NULL, shared->node, &own,
                                &shared->window) != MPI_SUCCESS) {
        shared->window = MPI_WIN_NULL;
        return rf_fail(RF_RESOURCES,
                       "this node has not %.1f MiB of shared memory. Make /dev/shm larger",
                       (double)size / 1048576.0);
    }
    MPI_Win_shared_query(shared->window, 0, &bytes, &unit, &first);
    /* mapped by whole pages, so that what is aligned here is aligned on all ranks */
    shared->base =
        (void *)(((uintptr_t)first + RF_SHARED_ALIGN - 1) / RF_SHARED_ALIGN * RF_SHARED_ALIGN);
    shared->size = size;
    return RF_OK;
}

rf_status rf_shared_create(rf_shared *shared, MPI_Comm comm, size_t size)
{
    int rank = 0;
    *shared = (rf_shared){.node = MPI_COMM_NULL, .window = MPI_WIN_NULL};
    RF_TRY_ALL(comm, RF_FAULT_AT("shared.create")
                         ? rf_fail(RF_RESOURCES, "no shared memory on this node")
                         : RF_OK);
    MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &shared->node);
    MPI_Comm_rank(shared->node, &rank);
    shared->is_writer = rank == 0;
    const rf_status status = rf_agree(comm, take(shared, size > 0 ? size : 1));
    if (status != RF_OK) rf_shared_destroy(shared);
    return status;
}

void rf_shared_publish(const rf_shared *shared)
{
    MPI_Win_lock_all(MPI_MODE_NOCHECK, shared->window);
    MPI_Win_sync(shared->window);
    MPI_Barrier(shared->node);
    MPI_Win_sync(shared->window);
    MPI_Win_unlock_all(shared->window);
}

void rf_shared_destroy(rf_shared *shared)
{
    const int is_null = !shared->node || shared->node == MPI_COMM_NULL;
    if (!is_null && shared->window != MPI_WIN_NULL) MPI_Win_free(&shared->window);
    if (!is_null) MPI_Comm_free(&shared->node);
    *shared = (rf_shared){.node = MPI_COMM_NULL, .window = MPI_WIN_NULL};
}
