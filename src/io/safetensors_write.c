/* Writing: a plan that every rank makes alike, then tensor after tensor through root into temporary
 * files, which get their names when all are complete. */
#include "refract/io/safetensors.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "refract/base/file.h"
#include "refract/comm/agree.h"
#include "refract/linalg/convert.h"
#include "safetensors_file.h"

enum { BLOCK_ITEMS = 1 << 18 };

/* One tensor in the order of the files. */
typedef struct place {
    const rf_field *field;
    const rf_safetensors_type *type; /* in the file */
    rf_dtype dtype;
    int matrix; /* a single column keeps its second dimension */
    int shard;
    uint64_t begin, bytes; /* within the data of its shard */
} place;

typedef struct plan {
    const rf_field *fields;
    rf_field_fill *fill;
    void *context;
    place *place; /* owned */
    int64_t count;
    int shards;
    const char *folder, *stem;
    FILE **file;             /* owned [shards], on root */
    char *collected, *block; /* owned, on root */
} plan;

static void plan_free(plan *p)
{
    for (int i = 0; p->file && i < p->shards; i++)
        if (p->file[i]) fclose(p->file[i]);
    free(p->place);
    free(p->file);
    free(p->collected);
    free(p->block);
}

static void place_field(place *to, const rf_field *field, int matrix,
                        const rf_safetensors_options *options)
{
    const rf_dtype dtype = options->dtype ? *options->dtype : field->dtype;
    RF_ASSERT(dtype == field->dtype ||
                  (rf_dtype_is_float(dtype) && rf_dtype_is_float(field->dtype)),
              "%s from %s to %s", field->path, rf_dtype_name(field->dtype), rf_dtype_name(dtype));
    const uint64_t items = (uint64_t)(field->shape.rows * field->shape.cols);
    *to = (place){.field = field,
                  .type = rf_safetensors_type_of(dtype),
                  .dtype = dtype,
                  .matrix = matrix,
                  .bytes = items * rf_dtype_size(dtype)};
}

/* Fills shards in the order of the fields; a tensor larger than the limit has one to itself. */
static void assign_shards(plan *p, int64_t limit)
{
    uint64_t filled = 0;
    p->shards = 1;
    for (int64_t i = 0; i < p->count; i++) {
        if (limit > 0 && filled > 0 && filled + p->place[i].bytes > (uint64_t)limit) {
            p->shards++;
            filled = 0;
        }
        p->place[i].shard = p->shards - 1;
        filled += p->place[i].bytes;
    }
}

/* Types from the end of the table to its start, so that each tensor is aligned; then names. */
static int by_layout(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->shard != y->shard) return x->shard < y->shard ? -1 : 1;
    if (x->type != y->type) return x->type > y->type ? -1 : 1;
    return strcmp(x->field->path, y->field->path);
}

static rf_status plan_make(plan *p, const char *folder, const rf_field *fields, int64_t count,
                           const rf_safetensors_options *options)
{
    p->fields = fields;
    p->fill = options->fill;
    p->context = options->context;
    p->folder = folder;
    p->stem = options->stem ? options->stem : "model";
    p->place = calloc((size_t)count + 1, sizeof *p->place);
    if (!p->place)
        return rf_fail(RF_RESOURCES, "no memory for a list of %lld tensors", (long long)count);
    p->count = count;
    for (int64_t i = 0; i < count; i++)
        place_field(&p->place[i], &fields[i],
                    fields[i].shape.cols > 1 || (options->matrix && options->matrix[i]), options);
    assign_shards(p, options->max_shard_bytes);
    if (count > 0) qsort(p->place, (size_t)count, sizeof *p->place, by_layout);
    uint64_t at = 0;
    for (int64_t i = 0; i < count; i++) {
        if (i == 0 || p->place[i].shard != p->place[i - 1].shard) at = 0;
        p->place[i].begin = at;
        at += p->place[i].bytes;
    }
    return RF_OK;
}

static void shard_name(const plan *p, int shard, char *name, size_t bytes)
{
    if (p->shards == 1)
        snprintf(name, bytes, "%s.safetensors", p->stem);
    else
        snprintf(name, bytes, "%s-%05d-of-%05d.safetensors", p->stem, shard + 1, p->shards);
}

static rf_status shard_paths(const plan *p, int shard, char path[PATH_MAX],
                             char temporary[PATH_MAX])
{
    char name[NAME_MAX];
    shard_name(p, shard, name, sizeof name);
    if (snprintf(path, PATH_MAX, "%s/%s", p->folder, name) >= PATH_MAX)
        return rf_fail(RF_WRITE, "the path %.200s... is too long", p->folder);
    return rf_file_temporary(temporary, PATH_MAX, path);
}

static void put_entry(FILE *out, const place *at)
{
    json_t *name = json_string(at->field->path);
    fputc(',', out);
    json_dumpf(name, out, JSON_ENCODE_ANY);
    json_decref(name);
    fprintf(out, ":{\"dtype\":\"%s\",\"shape\":[%lld", at->type->name,
            (long long)at->field->shape.rows);
    if (at->matrix) fprintf(out, ",%lld", (long long)at->field->shape.cols);
    fprintf(out, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", at->begin, at->begin + at->bytes);
}

/* Length (little-endian), table, blanks up to a multiple of eight. */
static rf_status write_header(const plan *p, int shard, FILE *file)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out) return rf_fail(RF_RESOURCES, "no memory for a header");
    fputs("{\"__metadata__\":{\"format\":\"pt\"}", out);
    for (int64_t i = 0; i < p->count; i++)
        if (p->place[i].shard == shard) put_entry(out, &p->place[i]);
    fputc('}', out);
    fflush(out);
    while (length % 8 != 0) {
        fputc(' ', out);
        fflush(out);
    }
    if (fclose(out) != 0) {
        free(text);
        return rf_fail(RF_RESOURCES, "no memory for a header");
    }
    unsigned char size[8];
    for (int i = 0; i < 8; i++) size[i] = (unsigned char)((uint64_t)length >> 8 * i);
    fwrite(size, 1, sizeof size, file);
    fwrite(text, 1, length, file);
    free(text);
    return RF_OK;
}

static rf_status open_shards(plan *p)
{
    char path[PATH_MAX], temporary[PATH_MAX];
    size_t most = 1;
    for (int64_t i = 0; i < p->count; i++) {
        const rf_field *f = p->place[i].field;
        const size_t bytes = (size_t)(f->shape.rows * f->shape.cols) * rf_dtype_size(f->dtype);
        if (bytes > most) most = bytes;
    }
    p->file = calloc((size_t)p->shards + 1, sizeof(FILE *));
    p->collected = malloc(most);
    p->block = malloc((size_t)BLOCK_ITEMS * 8);
    if (!p->file || !p->collected || !p->block)
        return rf_fail(RF_RESOURCES, "no memory for a tensor of %zu bytes", most);
    for (int shard = 0; shard < p->shards; shard++) {
        RF_TRY(shard_paths(p, shard, path, temporary));
        p->file[shard] = fopen(temporary, "wb");
        if (!p->file[shard])
            return rf_fail(RF_WRITE, "cannot write %s: %s", temporary, strerror(errno));
        RF_TRY(write_header(p, shard, p->file[shard]));
    }
    return RF_OK;
}

static rf_status write_failed(const plan *p, int shard, int reason)
{
    char name[NAME_MAX];
    shard_name(p, shard, name, sizeof name);
    return rf_fail(RF_WRITE, "cannot write %s/%s: %s. See the space left", p->folder, name,
                   strerror(reason));
}

/* The collected tensor, in its type of the file. */
static rf_status write_tensor(const plan *p, const place *at)
{
    const rf_field *field = at->field;
    const int64_t items = field->shape.rows * field->shape.cols;
    const size_t from = rf_dtype_size(field->dtype), to = rf_dtype_size(at->dtype);
    FILE *file = p->file[at->shard];
    if (RF_FAULT_AT("safetensors.write")) return write_failed(p, at->shard, ENOSPC);
    for (int64_t done = 0; done < items; done += BLOCK_ITEMS) {
        const int64_t count = items - done < BLOCK_ITEMS ? items - done : BLOCK_ITEMS;
        const char *data = p->collected + (size_t)done * from;
        if (field->dtype != at->dtype) {
            rf_convert(p->block, at->dtype, data, field->dtype, count);
            data = p->block;
        }
        if (fwrite(data, to, (size_t)count, file) != (size_t)count)
            return write_failed(p, at->shard, errno);
    }
    return RF_OK;
}

static rf_status write_tensors(const plan *p, const rf_grid *grid)
{
    const int root = grid->rank == 0;
    for (int64_t i = 0; i < p->count; i++) {
        const rf_field *field = p->place[i].field;
        const void *data = field->data;
        if (p->fill)
            RF_TRY_ALL(grid->world, p->fill(p->context, (int64_t)(field - p->fields), &data));
        RF_TRY(rf_tensor_collect(grid, 0, p->collected, data, &field->shape,
                                 rf_dtype_size(field->dtype)));
        RF_TRY_ALL(grid->world, root ? write_tensor(p, &p->place[i]) : RF_OK);
    }
    return RF_OK;
}

static rf_status close_shards(plan *p)
{
    for (int shard = 0; shard < p->shards; shard++) {
        FILE *file = p->file[shard];
        p->file[shard] = NULL;
        const int failed = ferror(file);
        if (fclose(file) != 0 || failed) return write_failed(p, shard, errno);
    }
    return RF_OK;
}

static rf_status write_index(const plan *p)
{
    char path[PATH_MAX], name[NAME_MAX];
    json_t *map = json_object();
    uint64_t total = 0;
    for (int64_t i = 0; i < p->count; i++) {
        shard_name(p, p->place[i].shard, name, sizeof name);
        total += p->place[i].bytes;
        if (json_object_set_new(map, p->place[i].field->path, json_string(name)) != 0) {
            json_decref(map);
            return rf_fail(RF_RESOURCES, "no memory for the index of %s", p->folder);
        }
    }
    if (snprintf(path, sizeof path, "%s/%s.safetensors.index.json", p->folder, p->stem) >= PATH_MAX)
        return rf_fail(RF_WRITE, "the path %.200s... is too long", p->folder);
    return rf_json_write(
        json_pack("{s:{s:I}, s:o}", "metadata", "total_size", (json_int_t)total, "weight_map", map),
        path);
}

/* An older index or single file of the folder must not stand beside the new one. */
static void remove_older(const plan *p)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s.safetensors.index.json", p->folder, p->stem);
    unlink(path);
    if (p->shards == 1) return;
    snprintf(path, sizeof path, "%s/%s.safetensors", p->folder, p->stem);
    unlink(path);
}

static rf_status publish(plan *p)
{
    char path[PATH_MAX], temporary[PATH_MAX];
    RF_TRY(close_shards(p));
    if (RF_FAULT_AT("safetensors.rename")) return write_failed(p, 0, EIO);
    remove_older(p);
    for (int shard = 0; shard < p->shards; shard++) {
        RF_TRY(shard_paths(p, shard, path, temporary));
        RF_TRY(rf_file_publish(temporary, path));
    }
    return p->shards > 1 ? write_index(p) : RF_OK;
}

static void remove_temporaries(const plan *p)
{
    char path[PATH_MAX], temporary[PATH_MAX];
    for (int shard = 0; shard < p->shards; shard++)
        if (shard_paths(p, shard, path, temporary) == RF_OK) unlink(temporary);
}

/* Same status on all ranks. */
static rf_status write_all(plan *p, const rf_grid *grid)
{
    const int root = grid->rank == 0;
    RF_TRY_ALL(grid->world, root ? open_shards(p) : RF_OK);
    RF_TRY(write_tensors(p, grid));
    return rf_agree(grid->world, root ? publish(p) : RF_OK);
}

rf_status rf_safetensors_write(const rf_grid *grid, const char *folder, const rf_field *fields,
                               int64_t count, const rf_safetensors_options *options)
{
    static const rf_safetensors_options plain = {0};
    plan p = {0};
    rf_status status =
        rf_agree(grid->world, plan_make(&p, folder, fields, count, options ? options : &plain));
    if (status == RF_OK) {
        status = write_all(&p, grid);
        if (status != RF_OK && grid->rank == 0) remove_temporaries(&p);
    }
    plan_free(&p);
    return status;
}
