/** Agreement: one status on every rank, so that none waits for a rank that has failed. */
#ifndef RF_COMM_AGREE_H
#define RF_COMM_AGREE_H

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

#include "refract/base/status.h"

/**
 * The status all ranks go on with: RF_OK when all succeeded, else code and text of the lowest
 * failing rank, everywhere. One integer allreduce on success. Collective over comm.
 */
rf_status rf_agree(MPI_Comm comm, rf_status local);
#ifdef __clang_analyzer__ /* what the analyser cannot see from here: no local failure is lost */
static inline rf_status rf_agree_analysed(MPI_Comm comm, rf_status local)
{
    return local != RF_OK ? local : rf_agree(comm, local);
}
#define rf_agree(comm, local) rf_agree_analysed(comm, local)
#endif

/** Runs a local step and returns from the collective function on every rank if any rank failed. */
#define RF_TRY_ALL(comm, call)                                                                     \
    do {                                                                                           \
        const rf_status rf_try_status = rf_agree((comm), (call));                                  \
        if (rf_try_status != RF_OK) return rf_try_status;                                          \
    } while (0)

/**
 * Broadcasts a byte string made on `root`: on the others *bytes is allocated with malloc
 * (NUL-terminated) and owned by the caller. Collective over comm; RF_RESOURCES.
 */
rf_status rf_broadcast_bytes(MPI_Comm comm, int root, char **bytes, size_t *length);

/** 1 when every rank holds the same `length` bytes. Collective over comm. */
int rf_same_everywhere(MPI_Comm comm, const void *bytes, size_t length);

#endif
