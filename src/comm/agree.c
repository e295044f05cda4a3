#include "refract/comm/agree.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

rf_status(rf_agree)(MPI_Comm comm, rf_status local)
{
    int rank = 0, failing = INT_MAX;
    MPI_Comm_rank(comm, &rank);
    const int mine = local == RF_OK ? INT_MAX : rank;
    MPI_Allreduce(&mine, &failing, 1, MPI_INT, MPI_MIN, comm);
    if (failing == INT_MAX) return RF_OK;

    struct {
        int code;
        char text[RF_MESSAGE_BYTES];
    } verdict = {.code = (int)local};
    if (rank == failing) strncpy(verdict.text, rf_status_message(), sizeof verdict.text - 1);
    MPI_Bcast(&verdict, (int)sizeof verdict, MPI_BYTE, failing, comm);
    return rank == failing ? local : rf_fail((rf_status)verdict.code, "%s", verdict.text);
}

rf_status rf_broadcast_bytes(MPI_Comm comm, int root, char **bytes, size_t *length)
{
    int rank = 0;
    MPI_Comm_rank(comm, &rank);
    uint64_t count = rank == root ? (uint64_t)*length : 0;
    MPI_Bcast(&count, 1, MPI_UINT64_T, root, comm);
    if (rank != root) {
        *bytes = malloc((size_t)count + 1);
        *length = (size_t)count;
    }
    const int lost = rank != root && !*bytes;
    const rf_status status =
        rf_agree(comm, lost ? rf_fail(RF_RESOURCES, "no memory for %zu bytes", *length) : RF_OK);
    if (lost || status != RF_OK) {
        if (rank != root) {
            free(*bytes);
            *bytes = NULL;
        }
        return status;
    }
    for (size_t at = 0; at < *length;) {
        const size_t piece = *length - at < (1u << 30) ? *length - at : (1u << 30);
        MPI_Bcast(*bytes + at, (int)piece, MPI_BYTE, root, comm);
        at += piece;
    }
    if (rank != root) (*bytes)[*length] = '\0';
    return RF_OK;
}

int rf_same_everywhere(MPI_Comm comm, const void *bytes, size_t length)
{
    const unsigned char *data = bytes;
    uint64_t hash = 0xCBF29CE484222325u ^ (uint64_t)length;
    for (size_t i = 0; i < length; i++) hash = (hash ^ data[i]) * 0x100000001B3u;
    const uint64_t mine[2] = {hash, ~hash};
    uint64_t most[2] = {0, 0};
    MPI_Allreduce(mine, most, 2, MPI_UINT64_T, MPI_MAX, comm);
    return most[0] == ~most[1];
}
