/* A plan that every rank makes alike, then tensor after tensor through root into a temporary file.
 */
#include "refract/io/gguf_write.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gguf_file.h"
#include "refract/base/file.h"
#include "refract/comm/agree.h"
#include "refract/linalg/convert.h"

enum { ALIGNMENT = 32, BLOCK_ITEMS = 1 << 18 };

/* What is being written; memory and file on root alone. */
typedef struct writing {
    const rf_field *fields;
    int64_t count;
    const rf_gguf_options *options;
    const char *path;
    char temporary[PATH_MAX];
    uint64_t *begin; /* [count] from the start of the data; owned */
    FILE *file;
    char *collected, *ordered, *block; /* owned */
} writing;

static uint64_t padded(uint64_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int64_t items_of(const rf_field *field)
{
    return field->shape.rows * field->shape.cols;
}

static int is_matrix(const writing *w, int64_t i)
{
    return w->fields[i].shape.cols > 1 || (w->options->matrix && w->options->matrix[i]);
}

static void put(FILE *out, const void *bytes, size_t length)
{
    fwrite(bytes, 1, length, out);
}

static void put_whole(FILE *out, uint64_t value, size_t bytes)
{
    put(out, &value, bytes); /* little-endian, as the machine is */
}

static void pad(FILE *out, uint64_t written)
{
    static const char zeros[ALIGNMENT] = {0};
    put(out, zeros, (size_t)(padded(written) - written));
}

static void put_entry(FILE *out, const writing *w, int64_t i)
{
    const rf_field *field = &w->fields[i];
    const int dims = is_matrix(w, i) ? 2 : 1;
    put_whole(out, strlen(field->path), 8);
    put(out, field->path, strlen(field->path));
    put_whole(out, (uint64_t)dims, 4);
    if (dims == 2) put_whole(out, (uint64_t)field->shape.cols, 8); /* fastest first */
    put_whole(out, (uint64_t)field->shape.rows, 8);
    put_whole(out, rf_ggml_number_of(w->options->dtype[i]), 4);
    put_whole(out, w->begin[i], 8);
}

static rf_status write_head(const writing *w)
{
    rf_gguf_metadata *metadata = w->options->metadata;
    char *text = NULL;
    size_t length = 0;
    if (fflush(metadata->out) != 0) return rf_fail(RF_RESOURCES, "no memory for metadata");
    FILE *out = open_memstream(&text, &length);
    if (!out) return rf_fail(RF_RESOURCES, "no memory for a header");
    put(out, "GGUF", 4);
    put_whole(out, RF_GGUF_VERSION, 4);
    put_whole(out, (uint64_t)w->count, 8);
    put_whole(out, metadata->count, 8);
    put(out, metadata->bytes, metadata->length);
    for (int64_t i = 0; i < w->count; i++) put_entry(out, w, i);
    if (fclose(out) != 0) {
        free(text);
        return rf_fail(RF_RESOURCES, "no memory for a header");
    }
    put(w->file, text, length);
    pad(w->file, length);
    free(text);
    return RF_OK;
}

static rf_status open_file(writing *w)
{
    size_t most = 1;
    for (int64_t i = 0; i < w->count; i++) {
        const size_t bytes = (size_t)items_of(&w->fields[i]) * rf_dtype_size(w->fields[i].dtype);
        if (bytes > most) most = bytes;
    }
    w->collected = malloc(most);
    w->ordered = malloc(most);
    w->block = malloc((size_t)BLOCK_ITEMS * 8);
    if (!w->collected || !w->ordered || !w->block)
        return rf_fail(RF_RESOURCES, "no memory for a tensor of %zu bytes", most);
    RF_TRY(rf_file_temporary(w->temporary, sizeof w->temporary, w->path));
    w->file = fopen(w->temporary, "wb");
    if (!w->file) return rf_fail(RF_WRITE, "cannot write %s: %s", w->temporary, strerror(errno));
    return write_head(w);
}

static rf_status write_failed(const writing *w, int reason)
{
    return rf_fail(RF_WRITE, "cannot write %s: %s. See the space left", w->path, strerror(reason));
}

/* Row 2 j + half of a head <- row half d/2 + j. */
static const char *in_order(const writing *w, int64_t i)
{
    const rf_shape *shape = &w->fields[i].shape;
    const int64_t d = w->options->head ? w->options->head[i] : 0;
    const size_t row = (size_t)shape->cols * rf_dtype_size(w->fields[i].dtype);
    if (d == 0) return w->collected;
    for (int64_t to = 0; to < shape->rows; to++) {
        const int64_t at = to % d, from = to - at + at % 2 * (d / 2) + at / 2;
        memcpy(w->ordered + (size_t)to * row, w->collected + (size_t)from * row, row);
    }
    return w->ordered;
}

static rf_status write_tensor(const writing *w, int64_t i)
{
    const rf_field *field = &w->fields[i];
    const rf_dtype to = w->options->dtype[i];
    const char *data = in_order(w, i);
    const int64_t items = items_of(field);
    if (RF_FAULT_AT("gguf.write")) return write_failed(w, ENOSPC);
    for (int64_t done = 0; done < items; done += BLOCK_ITEMS) {
        const int64_t count = items - done < BLOCK_ITEMS ? items - done : BLOCK_ITEMS;
        const size_t bytes = rf_dtype_bytes(to, count);
        rf_convert(w->block, to, data + (size_t)done * rf_dtype_size(field->dtype), field->dtype,
                   count);
        if (fwrite(w->block, 1, bytes, w->file) != bytes) return write_failed(w, errno);
    }
    pad(w->file, rf_dtype_bytes(to, items));
    return RF_OK;
}

static rf_status write_tensors(const writing *w, const rf_grid *grid)
{
    for (int64_t i = 0; i < w->count; i++) {
        const rf_field *field = &w->fields[i];
        const void *data = field->data;
        if (w->options->fill)
            RF_TRY_ALL(grid->world, w->options->fill(w->options->context, i, &data));
        RF_TRY(rf_tensor_collect(grid, 0, w->collected, data, &field->shape,
                                 rf_dtype_size(field->dtype)));
        RF_TRY_ALL(grid->world, grid->rank == 0 ? write_tensor(w, i) : RF_OK);
    }
    return RF_OK;
}

static rf_status publish(writing *w)
{
    FILE *file = w->file;
    const int failed = ferror(file);
    w->file = NULL;
    if (fclose(file) != 0 || failed) return write_failed(w, errno);
    return rf_file_publish(w->temporary, w->path);
}

static rf_status plan(writing *w)
{
    uint64_t at = 0;
    w->begin = calloc((size_t)w->count + 1, sizeof *w->begin);
    if (!w->begin) return rf_fail(RF_RESOURCES, "no memory for a list of tensors");
    for (int64_t i = 0; i < w->count; i++) {
        w->begin[i] = at;
        at += padded(rf_dtype_bytes(w->options->dtype[i], items_of(&w->fields[i])));
    }
    return RF_OK;
}

rf_status rf_gguf_write(const rf_grid *grid, const char *path, const rf_field *fields,
                        int64_t count, const rf_gguf_options *options)
{
    const int is_root = grid->rank == 0;
    writing w = {.fields = fields, .count = count, .options = options, .path = path};
    rf_status status = plan(&w);
    if (status == RF_OK && is_root) status = open_file(&w);
    status = rf_agree(grid->world, status);
    if (status == RF_OK) status = write_tensors(&w, grid);
    if (status == RF_OK) status = rf_agree(grid->world, is_root ? publish(&w) : RF_OK);
    if (w.file) fclose(w.file);
    if (status != RF_OK && w.temporary[0]) unlink(w.temporary);
    free(w.begin);
    free(w.collected);
    free(w.ordered);
    free(w.block);
    return status;
}
