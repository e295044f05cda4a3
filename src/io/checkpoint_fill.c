#include <stdlib.h>
#include <string.h>

#include "checkpoint_private.h"
#include "refract/comm/agree.h"

/* What the ranks fill together. */
typedef struct filling {
    const rf_grid *grid;
    rf_h5 *file;
    const rf_field *fields;
    int64_t count;
    char (*digests)[RF_DIGEST_BYTES];
} filling;

int64_t rf_field_bytes(const rf_field *field)
{
    return field->shape.rows * field->shape.cols * (int64_t)rf_dtype_size(field->dtype);
}

/* Digests and writes one array, block by block. Local. */
static rf_status write_set(const filling *job, int64_t i, rf_h5_set *set, const char *global)
{
    const rf_field *field = &job->fields[i];
    const rf_entry entry = {
        .rows = field->shape.rows, .cols = field->shape.cols, .dtype = field->dtype};
    const int64_t step = rf_entry_block(&entry);
    const size_t row = (size_t)entry.cols * rf_dtype_size(entry.dtype);
    RF_TRY(rf_digest_bytes(job->digests[i], global, (size_t)rf_field_bytes(field)));
    for (int64_t at = 0; at < entry.rows; at += step) {
        const int64_t rows = entry.rows - at < step ? entry.rows - at : step;
        const int64_t begin[2] = {at, 0}, count[2] = {rows, entry.cols};
        RF_TRY(rf_h5_set_write(set, field->dtype, begin, count, global + (size_t)at * row));
        if (RF_FAULT_AT("checkpoint.write"))
            return rf_fail(RF_WRITE, "cannot write dataset '%s' of '%s' (fault)", field->path,
                           rf_h5_path(job->file));
    }
    return RF_OK;
}

/* Gathers the arrays of one round, one per rank, each on its owner. */
static rf_status gather_round(const filling *job, int64_t first, char *global, rf_h5_set **mine)
{
    const rf_grid *grid = job->grid;
    for (int64_t i = first; i < job->count && i < first + grid->size; i++) {
        const rf_field *field = &job->fields[i];
        const int owner = (int)(i - first);
        rf_h5_set *set = NULL;
        RF_TRY(rf_tensor_collect(grid, owner, owner == grid->rank ? global : NULL, field->data,
                                 &field->shape, rf_dtype_size(field->dtype)));
        RF_TRY(rf_h5_set_open(&set, job->file, field->path));
        if (owner == grid->rank)
            *mine = set;
        else
            rf_h5_set_close(&set);
    }
    return RF_OK;
}

/* One array per rank, written by all owners at once. */
static rf_status fill_round(const filling *job, int64_t first)
{
    const int64_t own = first + job->grid->rank;
    const size_t bytes = own < job->count ? (size_t)rf_field_bytes(&job->fields[own]) : 0;
    rf_h5_set *mine = NULL;
    char *global = malloc(bytes + 1);
    rf_status status = RF_OK;
    if (!global)
        status = rf_fail(RF_RESOURCES, "no memory to gather '%s' (%zu bytes). Use more nodes",
                         job->fields[own].path, bytes);
    status = rf_agree(job->grid->world, status);
    if (status == RF_OK) status = gather_round(job, first, global, &mine);
    if (status == RF_OK)
        status = rf_agree(job->grid->world,
                          own < job->count ? write_set(job, own, mine, global) : RF_OK);
    rf_h5_set_close(&mine);
    free(global);
    return status;
}

rf_status rf_checkpoint_fill(const rf_grid *grid, rf_h5 *file, const rf_field *fields,
                             int64_t count, char (*digests)[RF_DIGEST_BYTES])
{
    const filling job = {grid, file, fields, count, digests};
    memset(digests, 0, (size_t)count * RF_DIGEST_BYTES);
    for (int64_t first = 0; first < count; first += grid->size) RF_TRY(fill_round(&job, first));
    if (count > 0)
        MPI_Allreduce(MPI_IN_PLACE, digests, (int)(count * RF_DIGEST_BYTES), MPI_UNSIGNED_CHAR,
                      MPI_BOR, grid->world);
    return RF_OK;
}
