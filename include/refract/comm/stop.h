/** One answer on all ranks to "should the run stop?". */
#ifndef RF_COMM_STOP_H
#define RF_COMM_STOP_H

#include <mpi.h>

#include "refract/base/stop.h"

/**
 * The largest reason of any rank, the same everywhere: one integer allreduce, for step borders,
 * loading, evaluation. A loop that has flags of its own to agree on may reduce rf_stop_local with
 * them instead. Collective over comm.
 */
rf_stop_reason rf_stop_agreed(MPI_Comm comm, const rf_stop_watch *watch);

#endif
