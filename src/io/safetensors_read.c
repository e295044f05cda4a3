/* Tensors into memory: only the bytes of the wanted slices, in large pieces, converted on the way.
 */
#include "refract/io/safetensors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "refract/adapter/targets.h"
#include "refract/comm/agree.h"
#include "refract/linalg/convert.h"
#include "safetensors_file.h"

enum {
    STAGE_BYTES = 1 << 20, /* one piece: within the second-level cache, so converting it is free */
    STAGE_ITEMS = STAGE_BYTES / 8, /* whole blocks of every type */
    LEAST_SEEK_BYTES = 8192, /* shorter runs of a row are not worth a system call of their own */
};

/* Where a tensor lies and where it goes. */
typedef struct source {
    int fd;
    const rf_tensor_info *info;
    const char *path;
    rf_dtype to;
} source;

static size_t file_bytes(const source *s, int64_t items)
{
    return rf_dtype_bytes(s->info->type, items);
}

static rf_status read_bytes(const source *s, void *out, size_t bytes, uint64_t at)
{
    for (size_t done = 0; done < bytes;) {
        const ssize_t got = pread(s->fd, (char *)out + done, bytes - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            return rf_fail(RF_INPUT, "cannot read tensor '%s': %s (%s)", s->info->name,
                           strerror(errno), s->path);
        if (got == 0)
            return rf_fail(RF_INPUT, "the file ended within tensor '%s' (%s)", s->info->name,
                           s->path);
        done += (size_t)got;
    }
    return RF_OK;
}

/* n items from item `first` of the tensor. */
static rf_status read_run(const source *s, char *out, int64_t first, int64_t n, char *stage)
{
    const uint64_t at = s->info->begin + file_bytes(s, first);
    if (s->to == s->info->type) return read_bytes(s, out, file_bytes(s, n), at);
    const int64_t most = STAGE_ITEMS;
    for (int64_t done = 0; done < n; done += most) {
        const int64_t count = n - done < most ? n - done : most;
        RF_TRY(read_bytes(s, stage, file_bytes(s, count), at + file_bytes(s, done)));
        rf_convert(out + rf_dtype_bytes(s->to, done), s->to, stage, s->info->type, count);
    }
    return RF_OK;
}

/* Columns [from, from + width) of `rows` rows, as they lie in the stage. */
typedef struct window {
    int64_t from, width;
} window;

/* Whole rows where the wanted columns are most of them, too short to seek for or cut a block. */
static window choose_window(const source *s, const rf_shape *shape, int begin, int end)
{
    const int64_t from = rf_cut_begin(shape->cut, begin), block = rf_dtype_block(s->info->type);
    const int64_t width = rf_cut_begin(shape->cut, end) - from;
    const int whole = 2 * width > shape->cols || from % block != 0 || width % block != 0 ||
                      file_bytes(s, width) < LEAST_SEEK_BYTES;
    return whole ? (window){0, shape->cols} : (window){from, width};
}

static rf_status fill_stage(const source *s, char *stage, const rf_shape *shape, window w,
                            int64_t row, int64_t rows)
{
    const size_t bytes = file_bytes(s, w.width);
    const uint64_t row_bytes = file_bytes(s, shape->cols);
    const uint64_t at = s->info->begin + (uint64_t)row * row_bytes + file_bytes(s, w.from);
    if (w.width == shape->cols) return read_bytes(s, stage, (size_t)rows * bytes, at);
    for (int64_t i = 0; i < rows; i++)
        RF_TRY(read_bytes(s, stage + (size_t)i * bytes, bytes, at + (uint64_t)i * row_bytes));
    return RF_OK;
}

/* A staged row into the dense arrays of the slices. */
static void spread_row(const source *s, char *out, const char *stage, rf_dtype from,
                       const rf_shape *shape, window w, int begin, int end, int64_t row)
{
    for (int slice = begin; slice < end; slice++) {
        const int64_t width = rf_cut_size(shape->cut, slice);
        const int64_t left = rf_cut_begin(shape->cut, slice) - w.from;
        const int64_t to = rf_slice_offset(shape, begin, slice) + row * width;
        rf_convert(out + rf_dtype_bytes(s->to, to), s->to, stage + rf_dtype_bytes(from, left), from,
                   width);
    }
}

/* Slices may cut the file's blocks unless they are held in that type: then a row is widened first.
 */
static void spread_rows(const source *s, char *out, const char *stage, float *wide,
                        const rf_shape *shape, window w, int begin, int end, int64_t row,
                        int64_t rows)
{
    const size_t bytes = file_bytes(s, w.width);
    const int widen = rf_dtype_block(s->info->type) > 1 && s->to != s->info->type;
    for (int64_t i = 0; i < rows; i++, stage += bytes) {
        if (widen) rf_convert(wide, RF_F32, stage, s->info->type, w.width);
        spread_row(s, out, widen ? (const char *)wide : stage, widen ? RF_F32 : s->info->type,
                   shape, w, begin, end, row + i);
    }
}

static rf_status read_columns(const source *s, char *out, const rf_shape *shape, int begin, int end)
{
    if (rf_local_items(shape, begin, end) == 0) return RF_OK;
    const window w = choose_window(s, shape, begin, end);
    const size_t row_bytes = file_bytes(s, w.width);
    RF_ASSERT(row_bytes > 0, "%s has empty rows", s->info->name);
    const int64_t most = row_bytes < STAGE_BYTES ? (int64_t)(STAGE_BYTES / row_bytes) : 1;
    char *stage = malloc((size_t)most * row_bytes);
    float *wide = malloc((size_t)w.width * sizeof *wide);
    rf_status status =
        stage && wide ? RF_OK : rf_fail(RF_RESOURCES, "no memory to read %s", s->path);
    for (int64_t row = 0; row < shape->rows && status == RF_OK; row += most) {
        const int64_t rows = shape->rows - row < most ? shape->rows - row : most;
        status = fill_stage(s, stage, shape, w, row, rows);
        if (status == RF_OK) spread_rows(s, out, stage, wide, shape, w, begin, end, row, rows);
    }
    free(stage);
    free(wide);
    return status;
}

/* Each head's rows stand as pairs (i, i + half): one half after the other again. */
static rf_status part_halves(const source *s, char *out, const rf_shape *shape, int64_t items)
{
    const int64_t head = s->info->interleaved;
    if (head == 0 || items == 0) return RF_OK;
    const int64_t rows = items / shape->cols;
    RF_ASSERT(rows % head == 0 && head % 2 == 0, "%lld rows in heads of %lld", (long long)rows,
              (long long)head);
    const size_t bytes = rf_dtype_bytes(s->to, shape->cols);
    char *pairs = malloc((size_t)head * bytes);
    if (!pairs) return rf_fail(RF_RESOURCES, "no memory to read %s", s->path);
    for (int64_t row = 0; row < rows; row += head, out += (size_t)head * bytes) {
        memcpy(pairs, out, (size_t)head * bytes);
        for (int64_t i = 0; i < head; i++)
            memcpy(out + (size_t)(i % 2 * head / 2 + i / 2) * bytes, pairs + (size_t)i * bytes,
                   bytes);
    }
    free(pairs);
    return RF_OK;
}

static rf_status read_rows(const source *s, char *out, const rf_shape *shape, int begin, int end)
{
    const int64_t n = rf_local_items(shape, begin, end);
    const int64_t first =
        shape->split == RF_ROWS ? rf_cut_begin(shape->cut, begin) * shape->cols : 0;
    double *stage = malloc(STAGE_ITEMS * sizeof *stage);
    if (!stage) return rf_fail(RF_RESOURCES, "no memory to read %s", s->path);
    const rf_status status = read_run(s, out, first, n, (char *)stage);
    free(stage);
    return status == RF_OK ? part_halves(s, out, shape, n) : status;
}

static rf_status make_source(source *s, const rf_safetensors *st, const rf_tensor_info *info,
                             rf_dtype to)
{
    *s = (source){
        .fd = st->file[info->file].fd, .info = info, .path = st->file[info->file].path, .to = to};
    if (info->known && rf_dtype_converts(to, info->type)) return RF_OK;
    return rf_fail(RF_INPUT, "tensor '%s' of dtype %s cannot be read as %s (%s)", info->name,
                   info->dtype, rf_dtype_name(to), s->path);
}

static rf_status find(const rf_safetensors *st, const char *name, const rf_tensor_info **info)
{
    *info = rf_safetensors_find(st, name);
    if (*info) return RF_OK;
    return rf_fail(RF_INPUT, "tensor '%s' is missing (%s%s)", name,
                   st->file_count > 0 ? st->file[0].path : "no file",
                   st->file_count > 1 ? " and the other shards" : "");
}

static void print_shape(char *text, size_t bytes, const rf_tensor_info *info)
{
    size_t at = (size_t)snprintf(text, bytes, "[");
    for (int i = 0; i < info->dims && at < bytes; i++)
        at += (size_t)snprintf(text + at, bytes - at, "%s%lld", i ? ", " : "",
                               (long long)info->dim[i]);
    if (at < bytes) snprintf(text + at, bytes - at, "]");
}

static rf_status check_shape(const rf_safetensors *st, const rf_tensor_info *info,
                             const rf_shape *shape)
{
    const int64_t rows = info->dims > 0 ? info->dim[0] : 1;
    const int64_t cols = info->dims > 1 ? info->dim[1] : 1;
    if (info->dims <= 2 && rows == shape->rows && cols == shape->cols) return RF_OK;
    char text[256];
    print_shape(text, sizeof text, info);
    return rf_fail(RF_INPUT, "tensor '%s' has the shape %s, [%lld, %lld] is wanted (%s)",
                   info->name, text, (long long)shape->rows, (long long)shape->cols,
                   st->file[info->file].path);
}

rf_status rf_safetensors_read_slices(const rf_safetensors *st, const rf_field *field, int begin,
                                     int end)
{
    const rf_tensor_info *info = NULL;
    source s;
    RF_TRY(find(st, field->path, &info));
    RF_TRY(check_shape(st, info, &field->shape));
    RF_TRY(make_source(&s, st, info, field->dtype));
    if (field->shape.split == RF_COLS)
        return read_columns(&s, field->data, &field->shape, begin, end);
    return read_rows(&s, field->data, &field->shape, begin, end);
}

rf_status rf_safetensors_load(const rf_safetensors *st, const char *name, rf_dtype dtype,
                              void *data, int64_t items)
{
    const rf_tensor_info *info = NULL;
    source s;
    RF_TRY(find(st, name, &info));
    RF_TRY(make_source(&s, st, info, dtype));
    if (info->items != items)
        return rf_fail(RF_INPUT, "tensor '%s' has %lld items, %lld are wanted (%s)", name,
                       (long long)info->items, (long long)items, s.path);
    const int64_t cols = info->dims > 1 ? info->dim[info->dims - 1] : 1;
    const rf_shape all = rf_shape_replicated(cols > 0 ? items / cols : 0, cols);
    return read_rows(&s, data, &all, 0, 1);
}

static int is_ignored(const char *name, rf_names ignored)
{
    static const char computed[] = "rotary_emb.inv_freq";
    const size_t length = strlen(name), size = sizeof computed - 1;
    if (length >= size && strcmp(name + length - size, computed) == 0) return 1;
    for (int i = 0; i < ignored.count; i++)
        if (strcmp(name, ignored.name[i]) == 0) return 1;
    return 0;
}

/* A field with the index of its tensor, so that files are read from front to back. */
typedef struct task {
    const rf_field *field;
    const rf_tensor_info *info;
} task;

static int by_place(const void *a, const void *b)
{
    const rf_tensor_info *x = ((const task *)a)->info, *y = ((const task *)b)->info;
    if (x->file != y->file) return x->file < y->file ? -1 : 1;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* Names up to eight tensors that no field wants. */
static rf_status check_extra(const rf_safetensors *st, const uint8_t *wanted, rf_names ignored)
{
    char list[1024] = "";
    size_t at = 0;
    int64_t extra = 0;
    const char *path = "";
    for (int64_t i = 0; i < st->count; i++) {
        if (wanted[i] || is_ignored(st->tensor[i].name, ignored)) continue;
        if (extra == 0) path = st->file[st->tensor[i].file].path;
        if (extra++ < 8 && at < sizeof list)
            at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", at ? ", " : "",
                                   st->tensor[i].name);
    }
    if (extra == 0) return RF_OK;
    return rf_fail(RF_INPUT, "%lld tensor%s that the model has not: %s%s (%s). See its config.json",
                   (long long)extra, extra == 1 ? "" : "s", list, extra > 8 ? ", ..." : "", path);
}

static rf_status check_fields(const rf_safetensors *st, const rf_field *fields, int64_t count,
                              task *tasks, uint8_t *wanted)
{
    for (int64_t i = 0; i < count; i++) {
        const rf_tensor_info *info = NULL;
        source unused;
        RF_TRY(find(st, fields[i].path, &info));
        RF_TRY(check_shape(st, info, &fields[i].shape));
        RF_TRY(make_source(&unused, st, info, fields[i].dtype));
        wanted[info - st->tensor] = 1;
        tasks[i] = (task){&fields[i], info};
    }
    return RF_OK;
}

/* Reads in the order of the files; `tasks` and `wanted` are there to be filled. */
static rf_status read_tasks(const rf_safetensors *st, const rf_grid *grid, const rf_field *fields,
                            int64_t count, rf_names ignored, task *tasks, uint8_t *wanted)
{
    RF_TRY(check_fields(st, fields, count, tasks, wanted));
    RF_TRY(check_extra(st, wanted, ignored));
    if (count > 0) qsort(tasks, (size_t)count, sizeof *tasks, by_place);
    for (int64_t i = 0; i < count; i++) {
        if (!tasks[i].field->data) continue;
        RF_TRY(rf_safetensors_read_slices(st, tasks[i].field, grid->slice_begin, grid->slice_end));
    }
    return RF_OK;
}

static rf_status read_all(const rf_safetensors *st, const rf_grid *grid, const rf_field *fields,
                          int64_t count, rf_names ignored)
{
    task *tasks = malloc(((size_t)count + 1) * sizeof *tasks);
    uint8_t *wanted = calloc((size_t)st->count + 1, 1);
    const rf_status status = tasks && wanted
                                 ? read_tasks(st, grid, fields, count, ignored, tasks, wanted)
                                 : rf_fail(RF_RESOURCES, "no memory for the list of tensors");
    free(tasks);
    free(wanted);
    return status;
}

rf_status rf_safetensors_read(const rf_safetensors *st, const rf_grid *grid, const rf_field *fields,
                              int64_t count, const char *const *ignored, int ignored_count)
{
    return rf_agree(grid->world,
                    read_all(st, grid, fields, count, (rf_names){ignored, ignored_count}));
}
