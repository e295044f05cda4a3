#include "refract/comm/stop.h"

rf_stop_reason rf_stop_agreed(MPI_Comm comm, const rf_stop_watch *watch)
{
    const int mine = (int)rf_stop_local(watch);
    int all = 0;
    MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MAX, comm);
    return (rf_stop_reason)all;
}
