#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint_private.h"
#include "refract/comm/agree.h"

typedef char digest_text[RF_DIGEST_BYTES];

static rf_status digest_local(const rf_grid *grid, const rf_field *fields, int64_t count,
                              digest_text *mine)
{
    for (int64_t i = 0; i < count; i++) {
        const int64_t items = rf_local_items(&fields[i].shape, grid->slice_begin, grid->slice_end);
        RF_TRY(rf_digest_bytes(mine[i], fields[i].data,
                               (size_t)items * rf_dtype_size(fields[i].dtype)));
    }
    return RF_OK;
}

/* Names the first field in which this rank differs from the root of `comm`. */
static rf_status compare(const rf_grid *grid, MPI_Comm comm, int split, const rf_field *fields,
                         int64_t count, digest_text *mine, digest_text *theirs)
{
    memcpy(theirs, mine, (size_t)count * sizeof *mine);
    MPI_Bcast(theirs, (int)(count * (int64_t)sizeof *mine), MPI_CHAR, 0, comm);
    for (int64_t i = 0; i < count; i++) {
        if ((fields[i].shape.split != RF_REPLICATED) != split) continue;
        if (strcmp(mine[i], theirs[i]) == 0) continue;
        return rf_fail(
            RF_BUG,
            "'%s' on rank %d differs from the copy on rank %d, though all copies must be "
            "equal. No checkpoint was written; report this, and check that all nodes have "
            "the same CPU",
            fields[i].path, grid->rank, split ? grid->tp_rank : 0);
    }
    return RF_OK;
}

rf_status rf_checkpoint_compare(const rf_grid *grid, const rf_field *fields, int64_t count)
{
    if (grid->size == 1) return RF_OK;
    const size_t bytes = (size_t)count * sizeof(digest_text);
    digest_text *mine = malloc(2 * bytes + 1);
    rf_status status = mine ? digest_local(grid, fields, count, mine)
                            : rf_fail(RF_RESOURCES, "no memory for %zu bytes", 2 * bytes);
    status = rf_agree(grid->world, status);
    if (status == RF_OK) {
        digest_text *theirs = mine + count;
        status = compare(grid, grid->world, 0, fields, count, mine, theirs);
        const rf_status shards = compare(grid, grid->dp, 1, fields, count, mine, theirs);
        status = rf_agree(grid->world, status != RF_OK ? status : shards);
    }
    free(mine);
    return status;
}
