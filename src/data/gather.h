/** Arrays of every rank, end to end on every rank. */
#ifndef RF_DATA_GATHER_H
#define RF_DATA_GATHER_H

#include <mpi.h>
#include <stddef.h>

#include "refract/base/status.h"

/**
 * Joins `length` bytes of each rank in rank order: *all is malloc'ed (never NULL), *total its
 * length. Sent in pieces, so any length will do. Collective over comm; RF_RESOURCES.
 */
rf_status rf_gather_bytes(MPI_Comm comm, const void *bytes, size_t length, void **all,
                          size_t *total);

#endif
