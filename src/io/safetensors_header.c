/* The header of one file: a JSON table whose ranges must cover the data without hole or overlap. */
#include "safetensors_file.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const rf_safetensors_type types[] = {
    {"BOOL", 8, 0, RF_U8},        {"F4", 4, 0, RF_U8},          {"F6_E2M3", 6, 0, RF_U8},
    {"F6_E3M2", 6, 0, RF_U8},     {"U8", 8, 1, RF_U8},          {"I8", 8, 0, RF_U8},
    {"F8_E5M2", 8, 0, RF_U8},     {"F8_E4M3", 8, 0, RF_U8},     {"F8_E8M0", 8, 0, RF_U8},
    {"F8_E5M2FNUZ", 8, 0, RF_U8}, {"F8_E4M3FNUZ", 8, 0, RF_U8}, {"I16", 16, 0, RF_U8},
    {"U16", 16, 0, RF_U8},        {"F16", 16, 1, RF_F16},       {"BF16", 16, 1, RF_BF16},
    {"I32", 32, 1, RF_I32},       {"U32", 32, 0, RF_U8},        {"F32", 32, 1, RF_F32},
    {"C64", 64, 0, RF_U8},        {"F64", 64, 1, RF_F64},       {"I64", 64, 1, RF_I64},
    {"U64", 64, 0, RF_U8},
};
enum { TYPES = sizeof types / sizeof types[0] };

const rf_safetensors_type *rf_safetensors_type_named(const char *name)
{
    for (int i = 0; i < TYPES; i++)
        if (strcmp(types[i].name, name) == 0) return &types[i];
    return NULL;
}

const rf_safetensors_type *rf_safetensors_type_of(rf_dtype dtype)
{
    for (int i = 0; i < TYPES; i++)
        if (types[i].known && types[i].dtype == dtype) return &types[i];
    return NULL;
}

static rf_status damaged(const char *path, const char *name, const char *what)
{
    return rf_fail(RF_INPUT, "tensor '%s' %s (%s)", name, what, path);
}

/* Shape, with the product in *items; false on overflow. */
static rf_status read_shape(rf_tensor_info *info, const json_t *shape, const char *path)
{
    info->items = 1;
    if (!json_is_array(shape)) return damaged(path, info->name, "has no shape");
    if (json_array_size(shape) > RF_SAFETENSORS_DIMS)
        return damaged(path, info->name, "has more than 8 dimensions");
    for (size_t i = 0; i < json_array_size(shape); i++) {
        const json_t *item = json_array_get(shape, i);
        const json_int_t size = json_integer_value(item);
        if (!json_is_integer(item) || size < 0)
            return damaged(path, info->name, "has a dimension that is no size");
        if (__builtin_mul_overflow(info->items, (int64_t)size, &info->items))
            return damaged(path, info->name, "has more items than can be counted");
        info->dim[info->dims++] = (int64_t)size;
    }
    return RF_OK;
}

static rf_status read_type(rf_tensor_info *info, const json_t *dtype, const char *path,
                           int64_t *bytes)
{
    if (!json_is_string(dtype)) return damaged(path, info->name, "has no dtype");
    const rf_safetensors_type *type = rf_safetensors_type_named(json_string_value(dtype));
    if (!type)
        return rf_fail(RF_INPUT, "tensor '%s' has the unknown dtype '%.32s' (%s)", info->name,
                       json_string_value(dtype), path);
    info->dtype = type->name;
    info->known = type->known;
    info->type = type->dtype;
    int64_t bits = 0;
    if (__builtin_mul_overflow(info->items, (int64_t)type->bits, &bits) || bits % 8 != 0)
        return damaged(path, info->name, "has a size that cannot be");
    *bytes = bits / 8;
    return RF_OK;
}

static rf_status read_entry(rf_tensor_info *info, const json_t *entry, const char *path)
{
    int64_t bytes = 0;
    RF_TRY(read_shape(info, json_object_get(entry, "shape"), path));
    RF_TRY(read_type(info, json_object_get(entry, "dtype"), path, &bytes));
    const json_t *range = json_object_get(entry, "data_offsets");
    const json_t *first = json_array_get(range, 0), *last = json_array_get(range, 1);
    if (json_array_size(range) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return damaged(path, info->name, "has no data_offsets");
    const json_int_t begin = json_integer_value(first), end = json_integer_value(last);
    if (begin < 0 || end < begin)
        return damaged(path, info->name, "has offsets that run backwards");
    if (end - begin != bytes)
        return rf_fail(RF_INPUT, "tensor '%s' has %lld bytes of data, its shape wants %lld (%s)",
                       info->name, (long long)(end - begin), (long long)bytes, path);
    info->begin = (uint64_t)begin;
    info->bytes = (uint64_t)bytes;
    return RF_OK;
}

static rf_status append(rf_safetensors *st, int file, const char *name, const json_t *entry)
{
    if (st->count == st->capacity) {
        const int64_t capacity = st->capacity ? 2 * st->capacity : 64;
        rf_tensor_info *more = realloc(st->tensor, (size_t)capacity * sizeof *more);
        if (!more) return rf_fail(RF_RESOURCES, "no memory for %lld tensors", (long long)capacity);
        st->tensor = more;
        st->capacity = capacity;
    }
    rf_tensor_info *info = &st->tensor[st->count];
    *info = (rf_tensor_info){.name = strdup(name), .file = file};
    if (!info->name) return rf_fail(RF_RESOURCES, "no memory for the name of a tensor");
    st->count++;
    if (!json_is_object(entry)) return damaged(st->file[file].path, name, "has no description");
    return read_entry(info, entry, st->file[file].path);
}

static rf_status check_metadata(const json_t *metadata, const char *path)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return rf_fail(RF_INPUT, "'__metadata__' is not an object (%s)", path);
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value) if (
        !json_is_string(value)) return rf_fail(RF_INPUT,
                                               "'%s' of '__metadata__' is not a string (%s)", key,
                                               path);
    return RF_OK;
}

static rf_status append_all(rf_safetensors *st, int file, const json_t *header)
{
    const char *key;
    json_t *entry;
    json_object_foreach((json_t *)(uintptr_t)header, key, entry)
    {
        if (strcmp(key, "__metadata__") == 0)
            RF_TRY(check_metadata(entry, st->file[file].path));
        else
            RF_TRY(append(st, file, key, entry));
    }
    return RF_OK;
}

static int by_place(const void *a, const void *b)
{
    const rf_tensor_info *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* Each tensor begins where the one before ended, and the last one ends with the file. */
static rf_status check_cover(rf_tensor_info *tensor, int64_t count, uint64_t data, const char *path)
{
    uint64_t end = 0;
    if (count > 0) qsort(tensor, (size_t)count, sizeof *tensor, by_place);
    for (int64_t i = 0; i < count; i++) {
        if (tensor[i].begin < end)
            return rf_fail(RF_INPUT, "tensors '%s' and '%s' overlap (%s)", tensor[i - 1].name,
                           tensor[i].name, path);
        if (tensor[i].begin > end)
            return rf_fail(RF_INPUT, "a hole of %llu bytes before tensor '%s' (%s)",
                           (unsigned long long)(tensor[i].begin - end), tensor[i].name, path);
        end = tensor[i].begin + tensor[i].bytes;
    }
    if (end > data)
        return rf_fail(RF_INPUT,
                       "%s is truncated: tensor '%s' ends %llu bytes behind it. Fetch it again",
                       path, tensor[count - 1].name, (unsigned long long)(end - data));
    if (end == data) return RF_OK;
    return rf_fail(RF_INPUT, "%llu bytes after the last tensor belong to none (%s)",
                   (unsigned long long)(data - end), path);
}

/* The text of the header, its length and the number of data bytes behind it. */
static rf_status read_text(const rf_safetensors_file *file, char **text, uint64_t *length,
                           uint64_t *data)
{
    struct stat info;
    unsigned char size[8];
    if (fstat(file->fd, &info) != 0 || !S_ISREG(info.st_mode))
        return rf_fail(RF_INPUT, "%s is not a plain file", file->path);
    const uint64_t total = (uint64_t)info.st_size;
    if (total < sizeof size || pread(file->fd, size, sizeof size, 0) != (ssize_t)sizeof size)
        return rf_fail(RF_INPUT, "%s is too short for a safetensors file", file->path);
    *length = 0;
    for (int i = 7; i >= 0; i--) *length = *length << 8 | size[i];
    if (*length > RF_SAFETENSORS_MOST_HEADER)
        return rf_fail(RF_INPUT, "%s says its header has %llu bytes: it is no safetensors file",
                       file->path, (unsigned long long)*length);
    if (*length > total - sizeof size)
        return rf_fail(RF_INPUT, "%s is truncated within its header. Fetch it again", file->path);
    *data = total - sizeof size - *length;
    *text = malloc((size_t)*length + 1);
    if (!*text) return rf_fail(RF_RESOURCES, "no memory for the header of %s", file->path);
    (*text)[*length] = '\0';
    if (pread(file->fd, *text, (size_t)*length, 8) == (ssize_t)*length) return RF_OK;
    return rf_fail(RF_INPUT, "cannot read the header of %s: %s", file->path, strerror(errno));
}

static rf_status parse_text(const char *text, uint64_t length, const char *path, json_t **header)
{
    json_error_t error;
    if (length == 0 || text[0] != '{')
        return rf_fail(RF_INPUT, "the header of %s does not begin with '{'", path);
    *header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    if (*header) return RF_OK;
    return rf_fail(RF_INPUT, "the header of %s is not JSON: %s (byte %d)", path, error.text,
                   error.position);
}

rf_status rf_safetensors_scan(rf_safetensors *st, int file)
{
    const rf_safetensors_file *f = &st->file[file];
    const int64_t first = st->count;
    char *text = NULL;
    json_t *header = NULL;
    uint64_t length = 0, data = 0;
    rf_status status = read_text(f, &text, &length, &data);
    if (status == RF_OK) status = parse_text(text, length, f->path, &header);
    free(text);
    if (status == RF_OK) status = append_all(st, file, header);
    json_decref(header);
    RF_TRY(status);
    RF_TRY(check_cover(st->tensor + first, st->count - first, data, f->path));
    for (int64_t i = first; i < st->count; i++) st->tensor[i].begin += 8 + length;
    return RF_OK;
}
