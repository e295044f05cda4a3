/** Memory that all ranks of a node see: what is read-only and large is held once. */
#ifndef RF_COMM_SHARED_H
#define RF_COMM_SHARED_H

#include <mpi.h>
#include <stddef.h>

#include "refract/base/status.h"

enum { RF_SHARED_ALIGN = 64 };

typedef struct rf_shared {
    MPI_Comm node;  /**< the ranks of this node; owned */
    MPI_Win window; /**< owned */
    void *base;     /**< [size] bytes, the same memory on all ranks of the node */
    size_t size;
    int is_writer; /**< 1 on the one rank of the node that fills it */
} rf_shared;

/**
 * Takes `size` bytes on every node of comm (MPI_Win_allocate_shared), zeroed, aligned to a cache
 * line. Collective over comm; size equal on all ranks. RF_RESOURCES, on all ranks, where a node has
 * not enough shared memory.
 */
rf_status rf_shared_create(rf_shared *shared, MPI_Comm comm, size_t size);

/** After the writers have filled it: all ranks see what was written. Collective over the node. */
void rf_shared_publish(const rf_shared *shared);

/** Gives the memory back; safe on a zeroed one. Collective over the node. */
void rf_shared_destroy(rf_shared *shared);

#endif
