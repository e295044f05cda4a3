#include "gather.h"

#include <stdint.h>
#include <stdlib.h>

#include "refract/comm/agree.h"

/* Bytes of the result that travel in one call: what counts and places have to hold. */
enum { PIECE = 1 << 28 };

typedef struct gathering {
    MPI_Comm comm;
    int rank, size;
    int64_t *begin; /* [size + 1] where each rank's bytes stand in the result */
    int *counts, *places;
} gathering;

static rf_status start(gathering *g, MPI_Comm comm)
{
    *g = (gathering){.comm = comm};
    MPI_Comm_rank(comm, &g->rank);
    MPI_Comm_size(comm, &g->size);
    g->begin = calloc((size_t)g->size + 1, sizeof *g->begin);
    g->counts = calloc((size_t)g->size, sizeof *g->counts);
    g->places = calloc((size_t)g->size, sizeof *g->places);
    if (g->begin && g->counts && g->places) return RF_OK;
    return rf_fail(RF_RESOURCES, "no memory for the tables of %d ranks", g->size);
}

static void stop(gathering *g)
{
    free(g->begin);
    free(g->counts);
    free(g->places);
}

/* Every rank sends what it holds of bytes [from, from + PIECE) of the result. */
static void send_piece(gathering *g, int64_t from, const char *mine, char *all)
{
    for (int r = 0; r < g->size; r++) {
        const int64_t end = from + PIECE < g->begin[r + 1] ? from + PIECE : g->begin[r + 1];
        const int64_t begin = from > g->begin[r] ? from : g->begin[r];
        g->counts[r] = begin < end ? (int)(end - begin) : 0;
        g->places[r] = begin < end ? (int)(begin - from) : 0;
    }
    const int64_t sent = from > g->begin[g->rank] ? from - g->begin[g->rank] : 0;
    const int count = g->counts[g->rank];
    MPI_Allgatherv(count ? mine + sent : mine, count, MPI_BYTE, all + from, g->counts, g->places,
                   MPI_BYTE, g->comm);
}

static rf_status exchange(gathering *g, const void *bytes, size_t length, void **all, size_t *total)
{
    const int64_t mine = (int64_t)length;
    MPI_Allgather(&mine, 1, MPI_INT64_T, g->begin + 1, 1, MPI_INT64_T, g->comm);
    for (int r = 0; r < g->size; r++) g->begin[r + 1] += g->begin[r];
    const int64_t sum = g->begin[g->size];
    char *joined = malloc((size_t)sum + 1);
    const rf_status status =
        joined && !RF_FAULT_AT("gather.memory")
            ? RF_OK
            : rf_fail(RF_RESOURCES,
                      "no memory for %.1f MiB of samples. Use fewer ranks per node or less data",
                      (double)sum / 1048576.0);
    const rf_status agreed = rf_agree(g->comm, status);
    if (agreed != RF_OK) {
        free(joined);
        return agreed;
    }
    for (int64_t from = 0; from < sum; from += PIECE) send_piece(g, from, bytes, joined);
    *all = joined;
    *total = (size_t)sum;
    return RF_OK;
}

rf_status rf_gather_bytes(MPI_Comm comm, const void *bytes, size_t length, void **all,
                          size_t *total)
{
    *all = NULL;
    *total = 0;
    gathering g;
    rf_status status = rf_agree(comm, start(&g, comm));
    if (status == RF_OK) status = exchange(&g, bytes ? bytes : "", length, all, total);
    stop(&g);
    return status;
}
