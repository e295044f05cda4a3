#include <stdlib.h>
#include <string.h>

#include "checkpoint_folder.h"
#include "manifest.h"
#include "refract/comm/agree.h"
#include "refract/io/checkpoint.h"

struct rf_checkpoint {
    char *path; /* owned */
    int64_t step;
    rf_manifest manifest;
    char content[RF_DIGEST_BYTES];
};

static rf_status check_schema(const rf_checkpoint *checkpoint)
{
    const char *schema = rf_manifest_text(&checkpoint->manifest, "schema");
    const char *version = rf_manifest_text(&checkpoint->manifest, "schema_version");
    if (!schema || strcmp(schema, "refract/checkpoint") != 0)
        return rf_fail(RF_INPUT, "'%s' is no checkpoint of refract. Check the path",
                       checkpoint->path);
    if (version && strcmp(version, "1") == 0) return RF_OK;
    return rf_fail(RF_INPUT,
                   "'%s' has schema version %s, this program reads 1. Use a newer refract",
                   checkpoint->path, version ? version : "(none)");
}

/* Lists the file and verifies this rank's share of its arrays. Local. */
static rf_status load(rf_checkpoint *checkpoint, const rf_grid *grid, rf_h5 *file)
{
    rf_manifest *manifest = &checkpoint->manifest;
    RF_TRY(rf_manifest_read(manifest, file));
    RF_TRY(check_schema(checkpoint));
    RF_TRY(rf_manifest_check(manifest, file));
    RF_TRY(rf_manifest_digest(manifest, checkpoint->content));
    checkpoint->step = strtoll(rf_manifest_text(manifest, "step"), NULL, 10);
    for (int64_t i = grid->rank; i < manifest->entry_count; i += grid->size)
        RF_TRY(rf_entry_verify(&manifest->entries[i], file));
    return RF_OK;
}

/* Every rank reads through its own serial handle: a damaged file cannot part their ways inside a
   collective call. */
static rf_status open_local(rf_checkpoint *checkpoint, const rf_grid *grid)
{
    rf_h5 *file = NULL;
    RF_TRY(rf_h5_open(&file, checkpoint->path, RF_H5_READ, MPI_COMM_NULL));
    const rf_status status = load(checkpoint, grid, file);
    return rf_h5_close(&file) == RF_OK ? status : RF_INPUT;
}

rf_status rf_checkpoint_open(rf_checkpoint **checkpoint, const rf_grid *grid, const char *path)
{
    rf_checkpoint *opened = calloc(1, sizeof *opened);
    *checkpoint = NULL;
    if (opened) opened->path = strdup(path);
    rf_status status = opened && opened->path
                           ? open_local(opened, grid)
                           : rf_fail(RF_RESOURCES, "no memory to open '%s'", path);
    status = rf_agree(grid->world, status);
    if (status != RF_OK)
        rf_checkpoint_close(&opened);
    else
        *checkpoint = opened;
    return status;
}

void rf_checkpoint_close(rf_checkpoint **checkpoint)
{
    rf_checkpoint *closing = *checkpoint;
    *checkpoint = NULL;
    if (!closing) return;
    rf_manifest_free(&closing->manifest);
    free(closing->path);
    free(closing);
}

/* Root's list of steps, newest first, on every rank. */
static rf_status share_steps(const rf_grid *grid, rf_log *log, const char *folder, int64_t **steps,
                             int64_t *count)
{
    rf_status status = RF_OK;
    size_t bytes = 0;
    *steps = NULL;
    if (grid->rank == 0) {
        rf_checkpoint_sweep(log, folder);
        status = rf_checkpoint_steps(folder, steps, count);
        bytes = (size_t)*count * sizeof **steps;
    }
    status = rf_agree(grid->world, status);
    if (status == RF_OK) status = rf_broadcast_bytes(grid->world, 0, (char **)steps, &bytes);
    *count = (int64_t)(bytes / sizeof **steps);
    return status;
}

rf_status rf_checkpoint_open_newest(rf_checkpoint **checkpoint, const rf_grid *grid, rf_log *log,
                                    const char *folder)
{
    int64_t *steps = NULL, count = 0;
    char path[RF_PATH_BYTES];
    *checkpoint = NULL;
    rf_status status = share_steps(grid, log, folder, &steps, &count);
    for (int64_t i = 0; i < count && status == RF_OK && !*checkpoint; i++) {
        status = rf_agree(grid->world, rf_checkpoint_name(path, folder, steps[i]));
        if (status != RF_OK) break;
        const rf_status verdict = rf_checkpoint_open(checkpoint, grid, path);
        if (verdict == RF_INPUT) {
            if (grid->rank == 0)
                rf_log_warning(log, "passed over a damaged checkpoint: %s", rf_status_message());
        } else {
            status = verdict;
        }
    }
    free(steps);
    return status;
}

int64_t rf_checkpoint_step(const rf_checkpoint *checkpoint)
{
    return checkpoint->step;
}

const char *rf_checkpoint_path(const rf_checkpoint *checkpoint)
{
    return checkpoint->path;
}

const char *rf_checkpoint_attribute(const rf_checkpoint *checkpoint, const char *name)
{
    if (strcmp(name, RF_CONTENT_ATTRIBUTE) == 0) return checkpoint->content;
    return rf_manifest_text(&checkpoint->manifest, name);
}

int64_t rf_checkpoint_number(const rf_checkpoint *checkpoint, const char *name, int64_t otherwise)
{
    const char *text = rf_checkpoint_attribute(checkpoint, name);
    return text ? strtoll(text, NULL, 10) : otherwise;
}

int rf_checkpoint_has(const rf_checkpoint *checkpoint, const char *path, int64_t *rows,
                      int64_t *cols)
{
    const rf_entry *entry = rf_manifest_find(&checkpoint->manifest, path);
    if (!entry) return 0;
    if (rows) *rows = entry->rows;
    if (cols) *cols = entry->cols;
    return 1;
}

/* ---- distribution ---- */

/* Copies rows [first, first + rows) of the global array into this rank's slices. */
static void scatter_rows(const rf_field *field, const rf_grid *grid, const char *block,
                         int64_t first, int64_t rows)
{
    const rf_shape *shape = &field->shape;
    const int64_t item = (int64_t)rf_dtype_size(field->dtype);
    char *local = field->data;
    if (shape->split == RF_COLS) {
        for (int slice = grid->slice_begin; slice < grid->slice_end; slice++) {
            const int64_t width = rf_slice_cols(shape, slice) * item;
            char *to =
                local + rf_slice_offset(shape, grid->slice_begin, slice) * item + first * width;
            const char *from = block + rf_cut_begin(shape->cut, slice) * item;
            for (int64_t row = 0; row < rows; row++)
                memcpy(to + row * width, from + row * shape->cols * item, (size_t)width);
        }
        return;
    }
    int64_t begin = 0, end = shape->rows;
    if (shape->split == RF_ROWS) {
        begin = rf_cut_begin(shape->cut, grid->slice_begin);
        end = rf_cut_begin(shape->cut, grid->slice_end);
    }
    const int64_t from = begin > first ? begin : first;
    const int64_t to = end < first + rows ? end : first + rows;
    const int64_t row = shape->cols * item;
    if (from < to)
        memcpy(local + (from - begin) * row, block + (from - first) * row,
               (size_t)((to - from) * row));
}

/* The owner reads and digests block after block, every rank takes its part of each. A failure of
   the owner is told at the end, so that all stay in step. */
static rf_status read_blocks(const rf_field *field, const rf_entry *entry, const rf_grid *grid,
                             int owner, rf_h5_set *set, rf_digest *digest, char *block)
{
    rf_status status = RF_OK;
    const int64_t step = rf_entry_block(entry);
    const int64_t row = entry->cols * (int64_t)rf_dtype_size(entry->dtype);
    for (int64_t at = 0; at < entry->rows; at += step) {
        const int64_t rows = entry->rows - at < step ? entry->rows - at : step;
        const int64_t begin[2] = {at, 0}, count[2] = {rows, entry->cols};
        if (grid->rank == owner && status == RF_OK) {
            status = rf_h5_set_read(set, entry->dtype, begin, count, block);
            rf_digest_add(digest, block, (size_t)(rows * row));
        }
        MPI_Bcast(block, (int)(rows * row), MPI_BYTE, owner, grid->world);
        scatter_rows(field, grid, block, at, rows);
    }
    return status;
}

static rf_status read_field(const rf_field *field, const rf_entry *entry, const rf_grid *grid,
                            int owner, rf_h5 *file)
{
    const int mine = grid->rank == owner;
    const int64_t bytes =
        rf_entry_block(entry) * entry->cols * (int64_t)rf_dtype_size(entry->dtype);
    char hex[RF_DIGEST_BYTES] = "", *block = calloc(1, (size_t)bytes + 1);
    rf_digest digest = {.context = NULL};
    rf_h5_set *set = NULL;
    rf_status status =
        block ? RF_OK
              : rf_fail(RF_RESOURCES, "no memory to read '%s'. Use more nodes", field->path);
    if (status == RF_OK && mine) status = rf_digest_start(&digest);
    if (status == RF_OK && mine) status = rf_h5_set_open(&set, file, field->path);
    status = rf_agree(grid->world, status);
    if (status == RF_OK) {
        status = read_blocks(field, entry, grid, owner, set, &digest, block);
        rf_digest_finish(&digest, hex);
        if (status == RF_OK && mine) status = rf_entry_compare(entry, file, hex);
        status = rf_agree(grid->world, status);
    }
    rf_digest_finish(&digest, NULL);
    rf_h5_set_close(&set);
    free(block);
    return status;
}

/* The table of contents is the same on all ranks, so all come to the same verdict. */
static rf_status check_field(const rf_checkpoint *checkpoint, const rf_field *field)
{
    const rf_entry *entry = rf_manifest_find(&checkpoint->manifest, field->path);
    const rf_shape *shape = &field->shape;
    if (!entry)
        return rf_fail(RF_INPUT,
                       "checkpoint '%s' has no dataset '%s'. It belongs to another method or model",
                       checkpoint->path, field->path);
    if (entry->rows != shape->rows || entry->cols != shape->cols)
        return rf_fail(RF_INPUT,
                       "dataset '%s' of checkpoint '%s' is %lld x %lld, wanted %lld x %lld. It "
                       "belongs to another configuration or model",
                       field->path, checkpoint->path, (long long)entry->rows,
                       (long long)entry->cols, (long long)shape->rows, (long long)shape->cols);
    if (entry->dtype != field->dtype)
        return rf_fail(RF_INPUT,
                       "dataset '%s' of checkpoint '%s' holds %s, wanted %s. It was written by "
                       "another build or configuration",
                       field->path, checkpoint->path, rf_dtype_name(entry->dtype),
                       rf_dtype_name(field->dtype));
    return RF_OK;
}

rf_status rf_checkpoint_read(const rf_checkpoint *checkpoint, const rf_grid *grid,
                             const rf_field *fields, int64_t field_count)
{
    rf_h5 *file = NULL;
    rf_status status = RF_OK;
    for (int64_t i = 0; i < field_count && status == RF_OK; i++)
        status = check_field(checkpoint, &fields[i]);
    if (status == RF_OK) status = rf_h5_open(&file, checkpoint->path, RF_H5_READ, MPI_COMM_NULL);
    status = rf_agree(grid->world, status);
    for (int64_t i = 0; i < field_count && status == RF_OK; i++)
        status = read_field(&fields[i], rf_manifest_find(&checkpoint->manifest, fields[i].path),
                            grid, (int)(i % grid->size), file);
    rf_h5_close(&file);
    return status;
}
