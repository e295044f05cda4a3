#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "checkpoint_folder.h"
#include "checkpoint_private.h"
#include "refract/base/file.h"
#include "refract/comm/agree.h"

/* One checkpoint on its way to disk; plain data of this rank. */
typedef struct writing {
    const rf_grid *grid;
    rf_log *log;
    const rf_field *fields;
    int64_t count;
    const rf_attribute *attributes;
    int64_t attribute_count;
    int64_t step;
    char path[RF_PATH_BYTES], temporary[RF_PATH_BYTES];
    char created[32];
    char (*digests)[RF_DIGEST_BYTES]; /* [count] */
    char content[RF_DIGEST_BYTES];    /* of the manifest; on root */
    rf_h5 *file;
} writing;

/* All arrays and a generous guess of HDF5's own: object headers, attributes, groups. */
static int64_t file_bytes(const writing *job)
{
    int64_t bytes = 65536;
    for (int64_t i = 0; i < job->count; i++) bytes += rf_field_bytes(&job->fields[i]) + 1024;
    for (int64_t i = 0; i < job->attribute_count; i++)
        bytes += 256 + (job->attributes[i].text ? (int64_t)strlen(job->attributes[i].text) : 0);
    return bytes;
}

/* True where a test asks for a failure at `site`. */
static rf_status fault(const writing *job, const char *site)
{
    const int refuse = RF_FAULT_AT(site);
    return refuse ? rf_fail(RF_WRITE, "cannot write '%s' (fault at %s)", job->temporary, site)
                  : RF_OK;
}

static rf_status put_attribute(writing *job, const char *name, const char *text, int64_t number)
{
    return text ? rf_h5_put_text(job->file, "/", name, text)
                : rf_h5_put_int(job->file, "/", name, number);
}

static rf_status put_attributes(writing *job)
{
    RF_TRY(put_attribute(job, "schema", "refract/checkpoint", 0));
    RF_TRY(put_attribute(job, "schema_version", NULL, 1));
    RF_TRY(put_attribute(job, "created_utc", job->created, 0));
    RF_TRY(put_attribute(job, "step", NULL, job->step));
    for (int64_t i = 0; i < job->attribute_count; i++) {
        const rf_attribute *attribute = &job->attributes[i];
        RF_TRY(put_attribute(job, attribute->name, attribute->text, attribute->number));
    }
    return RF_OK;
}

/* Makes every dataset with its place in the file, a single column as a vector; digests to come. */
static rf_status make_sets(writing *job)
{
    char empty[RF_DIGEST_BYTES] = "";
    memset(empty, '0', RF_DIGEST_BYTES - 1);
    for (int64_t i = 0; i < job->count; i++) {
        const rf_field *field = &job->fields[i];
        const rf_h5_layout layout =
            field->shape.cols == 1
                ? rf_h5_vector(field->dtype, field->shape.rows)
                : rf_h5_matrix(field->dtype, field->shape.rows, field->shape.cols);
        RF_TRY(rf_h5_create_set(job->file, field->path, &layout));
        RF_TRY(rf_h5_put_text(job->file, field->path, RF_DIGEST_ATTRIBUTE, empty));
    }
    return rf_h5_put_text(job->file, "/", RF_CONTENT_ATTRIBUTE, empty);
}

/* Root alone makes the file with all its metadata: where that fails (disk full), parallel HDF5
   would leave the ranks waiting for each other for ever. What the others write then only fills its
   place. */
static rf_status make_file(writing *job, const char *folder)
{
    const time_t now = time(NULL);
    struct tm utc;
    if (job->grid->rank != 0) return RF_OK;
    strftime(job->created, sizeof job->created, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    RF_TRY(rf_folder_make(folder));
    RF_TRY(rf_checkpoint_space(folder, job->temporary, file_bytes(job)));
    RF_TRY(rf_h5_open(&job->file, job->temporary, RF_H5_CREATE, MPI_COMM_NULL));
    RF_TRY(put_attributes(job));
    RF_TRY(make_sets(job));
    RF_TRY(rf_h5_close(&job->file));
    return rf_checkpoint_reserve(job->temporary, file_bytes(job));
}

static rf_status fill_file(writing *job)
{
    RF_TRY(rf_h5_open(&job->file, job->temporary, RF_H5_EDIT, job->grid->world));
    RF_TRY(rf_checkpoint_fill(job->grid, job->file, job->fields, job->count, job->digests));
    RF_TRY(rf_h5_flush(job->file));
    return rf_h5_close(&job->file);
}

static rf_status digest_contents(writing *job)
{
    rf_manifest list = {.entries = NULL};
    rf_status status = rf_manifest_read(&list, job->file);
    if (status == RF_OK) status = rf_manifest_digest(&list, job->content);
    rf_manifest_free(&list);
    return status;
}

/* Root writes the digests beside the arrays and that of the whole list. */
static rf_status seal_file(writing *job)
{
    if (job->grid->rank != 0) return RF_OK;
    RF_TRY(rf_h5_open(&job->file, job->temporary, RF_H5_EDIT, MPI_COMM_NULL));
    for (int64_t i = 0; i < job->count; i++)
        RF_TRY(
            rf_h5_put_text(job->file, job->fields[i].path, RF_DIGEST_ATTRIBUTE, job->digests[i]));
    RF_TRY(digest_contents(job));
    RF_TRY(rf_h5_put_text(job->file, "/", RF_CONTENT_ATTRIBUTE, job->content));
    RF_TRY(rf_h5_flush(job->file));
    return rf_h5_close(&job->file);
}

/* Reads everything back and compares it with what was meant, down to the digests. */
static rf_status verify_file(const writing *job)
{
    rf_checkpoint *written = NULL;
    rf_status status = rf_checkpoint_open(&written, job->grid, job->temporary);
    if (status == RF_OK && job->grid->rank == 0 &&
        strcmp(rf_checkpoint_attribute(written, RF_CONTENT_ATTRIBUTE), job->content) != 0)
        status = rf_fail(RF_WRITE, "'%s' does not hold what was written to it", job->temporary);
    rf_checkpoint_close(&written);
    status = rf_agree(job->grid->world, status);
    if (status == RF_OK) return RF_OK;
    return rf_fail(RF_WRITE,
                   "the new checkpoint failed its check: %s. The disk may be failing; the previous "
                   "checkpoint stays",
                   rf_status_message());
}

static rf_status prepare(writing *job, const char *folder)
{
    RF_TRY(rf_checkpoint_name(job->path, folder, job->step));
    RF_TRY(rf_file_temporary(job->temporary, sizeof job->temporary, job->path));
    job->digests = calloc((size_t)job->count + 1, RF_DIGEST_BYTES);
    return job->digests ? RF_OK : rf_fail(RF_RESOURCES, "no memory to list '%s'", job->path);
}

static rf_status write_all(writing *job, const char *folder)
{
    const MPI_Comm world = job->grid->world;
    const int root = job->grid->rank == 0;
    RF_TRY_ALL(world, prepare(job, folder));
    RF_TRY(rf_checkpoint_compare(job->grid, job->fields, job->count));
    RF_TRY_ALL(world, fault(job, "checkpoint.create"));
    RF_TRY_ALL(world, make_file(job, folder));
    RF_TRY(fill_file(job));
    RF_TRY_ALL(world, fault(job, "checkpoint.flush"));
    RF_TRY_ALL(world, seal_file(job));
    RF_TRY(verify_file(job));
    RF_TRY_ALL(world, fault(job, "checkpoint.verify"));
    RF_TRY_ALL(world, fault(job, "checkpoint.rename"));
    return rf_agree(world, root ? rf_file_publish(job->temporary, job->path) : RF_OK);
}

/* Closes and removes the half-written file; the first failure's words stay. It is emptied first: on
   a full disk closing still has some metadata to write. */
static rf_status give_up(writing *job, rf_status status)
{
    char text[RF_MESSAGE_BYTES];
    snprintf(text, sizeof text, "%s", rf_status_message());
    if (job->file && job->grid->rank == 0 && truncate(job->temporary, 0) != 0)
        rf_log_warning(job->log, "cannot empty '%s'", job->temporary);
    MPI_Barrier(job->grid->world);
    rf_h5_close(&job->file);
    if (job->grid->rank == 0) unlink(job->temporary);
    return rf_fail(status, "%s", text);
}

rf_status rf_checkpoint_write(const rf_grid *grid, rf_log *log, const char *folder, int64_t step,
                              const rf_field *fields, int64_t field_count,
                              const rf_attribute *attributes, int64_t attribute_count, int keep)
{
    writing job = {.grid = grid,
                   .log = log,
                   .fields = fields,
                   .count = field_count,
                   .attributes = attributes,
                   .attribute_count = attribute_count,
                   .step = step};
    RF_ASSERT(field_count < (1 << 24), "%lld fields", (long long)field_count);
    rf_status status = write_all(&job, folder);
    if (status != RF_OK)
        status = give_up(&job, status);
    else if (grid->rank == 0)
        rf_checkpoint_prune(log, folder, step, keep);
    free(job.digests);
    return status;
}
