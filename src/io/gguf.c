/* The head of a GGUF file: read piece by piece, no further than it goes, every number checked. */
#include "refract/io/gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gguf_file.h"
#include "refract/data/text.h"

enum {
    PIECE = 1 << 20,
    MOST_KEY = 65535, /* bytes */
    MOST_NAME = 64,   /* bytes of a tensor's name */
    MOST_DIMS = 4,
    MOST_ALIGNMENT = 1 << 24,
};

/* What is being read. Pointers into `bytes` move while it grows: places are kept as numbers. */
typedef struct reader {
    const char *path;
    int fd;
    uint64_t file_bytes;
    char *bytes;
    size_t have, capacity;
    uint64_t at;
    char what[256]; /* for messages: "key 'general.alignment'" */
} reader;

static rf_status ends_early(const reader *r)
{
    return rf_fail(RF_INPUT, "the file ends within %s (%s). Fetch it again", r->what, r->path);
}

static rf_status fetch(reader *r, size_t wanted)
{
    size_t goal = wanted + PIECE;
    if (goal > r->file_bytes) goal = (size_t)r->file_bytes;
    if (goal > r->capacity) {
        const size_t capacity = goal + r->capacity;
        char *bytes = realloc(r->bytes, capacity);
        if (!bytes) return rf_fail(RF_RESOURCES, "no memory for the head of %s", r->path);
        r->bytes = bytes;
        r->capacity = capacity;
    }
    while (r->have < goal) {
        const ssize_t got = pread(r->fd, r->bytes + r->have, goal - r->have, (off_t)r->have);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return rf_fail(RF_INPUT, "cannot read %s: %s", r->path, strerror(errno));
        if (got == 0) return ends_early(r);
        r->have += (size_t)got;
    }
    return RF_OK;
}

/* The next n bytes are in memory. */
static rf_status want(reader *r, uint64_t n)
{
    if (n > r->file_bytes - r->at) return ends_early(r);
    return r->at + n <= r->have ? RF_OK : fetch(r, (size_t)(r->at + n));
}

static rf_status take(reader *r, void *out, size_t n)
{
    RF_TRY(want(r, n));
    memcpy(out, r->bytes + r->at, n);
    r->at += n;
    return RF_OK;
}

/* A string of at most `most` bytes: its place behind its length, which is skipped. */
static rf_status skip_string(reader *r, uint64_t most, uint64_t *at, uint64_t *length)
{
    RF_TRY(take(r, length, sizeof *length));
    if (*length > most)
        return rf_fail(RF_INPUT, "%s has a string of %llu bytes (%s). The file is damaged", r->what,
                       (unsigned long long)*length, r->path);
    RF_TRY(want(r, *length));
    *at = r->at;
    r->at += *length;
    if (rf_utf8_valid(r->bytes + *at, (size_t)*length) == *length) return RF_OK;
    return rf_fail(RF_INPUT, "%s holds a string that is not UTF-8 (%s). The file is damaged",
                   r->what, r->path);
}

/* A name as a C string, malloc'ed. */
static rf_status take_name(reader *r, uint64_t most, char **name)
{
    uint64_t at = 0, length = 0;
    RF_TRY(skip_string(r, most, &at, &length));
    const int odd = length == 0 || memchr(r->bytes + at, '\0', (size_t)length);
    if (odd)
        return rf_fail(RF_INPUT, "%s is empty or holds a NUL (%s). The file is damaged", r->what,
                       r->path);
    *name = strndup(r->bytes + at, (size_t)length);
    return *name ? RF_OK : rf_fail(RF_RESOURCES, "no memory to open %s", r->path);
}

static rf_status take_type(reader *r, rf_gguf_type *type)
{
    uint32_t number = 0;
    RF_TRY(take(r, &number, sizeof number));
    if (number >= RF_GGUF_TYPES)
        return rf_fail(RF_INPUT, "%s has the unknown type %u (%s). The file is damaged", r->what,
                       number, r->path);
    *type = (rf_gguf_type)number;
    return RF_OK;
}

/* Items of strings are walked, others skipped; booleans must be 0 or 1. */
static rf_status skip_items(reader *r, rf_gguf_type type, uint64_t count)
{
    const size_t bytes = rf_gguf_type_bytes(type);
    uint64_t at = 0, length = 0;
    if (bytes == 0) {
        for (uint64_t i = 0; i < count; i++) RF_TRY(skip_string(r, r->file_bytes, &at, &length));
        return RF_OK;
    }
    if (count > (r->file_bytes - r->at) / bytes) return ends_early(r);
    RF_TRY(want(r, count * bytes));
    for (uint64_t i = 0; type == RF_GGUF_BOOL && i < count; i++)
        if ((unsigned char)r->bytes[r->at + i] > 1)
            return rf_fail(RF_INPUT, "%s is neither true nor false (%s). The file is damaged",
                           r->what, r->path);
    r->at += count * bytes;
    return RF_OK;
}

static rf_status read_value(reader *r, rf_gguf_value *value)
{
    uint64_t count = 1;
    RF_TRY(take_type(r, &value->type));
    value->item = value->type;
    if (value->type == RF_GGUF_ARRAY) {
        RF_TRY(take_type(r, &value->item));
        RF_TRY(take(r, &count, sizeof count));
        if (value->item == RF_GGUF_ARRAY)
            return rf_fail(RF_INPUT, "%s is an array of arrays, which is not supported (%s)",
                           r->what, r->path);
        if (count > r->file_bytes) return ends_early(r);
    }
    value->count = (int64_t)count;
    value->place = r->at;
    RF_TRY(skip_items(r, value->item, count));
    value->data.length = (size_t)(r->at - value->place);
    return RF_OK;
}

/* One more item in a growing array. */
static rf_status grow(void **items, int64_t *capacity, int64_t count, size_t item, const char *path)
{
    if (count < *capacity) return RF_OK;
    const int64_t room = *capacity ? 2 * *capacity : 64;
    void *more = realloc(*items, (size_t)room * item);
    if (!more) return rf_fail(RF_RESOURCES, "no memory to open %s", path);
    *items = more;
    *capacity = room;
    return RF_OK;
}

static rf_status read_key(reader *r, rf_gguf *g, uint64_t index)
{
    void *items = g->value;
    RF_TRY(grow(&items, &g->capacity, g->count, sizeof *g->value, r->path));
    g->value = items;
    rf_gguf_value *value = &g->value[g->count];
    char *key = NULL;
    snprintf(r->what, sizeof r->what, "the name of key %llu", (unsigned long long)index);
    RF_TRY(take_name(r, MOST_KEY, &key));
    *value = (rf_gguf_value){.key = key};
    g->count++;
    snprintf(r->what, sizeof r->what, "key '%.200s'", key);
    return read_value(r, value);
}

static rf_status check_sizes(const reader *r, rf_tensor_info *info, const rf_ggml_type *type)
{
    uint64_t items = 1;
    for (int i = 0; i < info->dims; i++) {
        if (info->dim[i] < 0 || __builtin_mul_overflow(items, (uint64_t)info->dim[i], &items) ||
            items > INT64_MAX / 8)
            return rf_fail(RF_INPUT, "%s is too large (%s). The file is damaged", r->what, r->path);
    }
    const int64_t row = info->dims > 0 ? info->dim[info->dims - 1] : 1;
    if (row % type->block != 0)
        return rf_fail(RF_INPUT, "%s has rows of %lld items, which are no blocks of %s (%s)",
                       r->what, (long long)row, type->name, r->path);
    info->items = (int64_t)items;
    if (__builtin_mul_overflow(items / (uint64_t)type->block, (uint64_t)type->bytes, &info->bytes))
        return rf_fail(RF_INPUT, "%s is too large (%s). The file is damaged", r->what, r->path);
    return RF_OK;
}

/* Dimensions are stored fastest first. */
static rf_status read_shape(reader *r, rf_tensor_info *info)
{
    uint32_t dims = 0;
    RF_TRY(take(r, &dims, sizeof dims));
    if (dims > MOST_DIMS)
        return rf_fail(RF_INPUT, "%s has %u dimensions, at most %d are known (%s)", r->what, dims,
                       MOST_DIMS, r->path);
    info->dims = (int)dims;
    for (uint32_t i = 0; i < dims; i++)
        RF_TRY(take(r, &info->dim[dims - 1 - i], sizeof info->dim[0]));
    return RF_OK;
}

static rf_status read_tensor(reader *r, rf_safetensors *table, uint64_t index)
{
    void *items = table->tensor;
    RF_TRY(grow(&items, &table->capacity, table->count, sizeof *table->tensor, r->path));
    table->tensor = items;
    rf_tensor_info *info = &table->tensor[table->count];
    char *name = NULL;
    uint32_t number = 0;
    snprintf(r->what, sizeof r->what, "the name of tensor %llu", (unsigned long long)index);
    RF_TRY(take_name(r, MOST_NAME, &name));
    *info = (rf_tensor_info){.name = name};
    table->count++;
    snprintf(r->what, sizeof r->what, "tensor '%s'", name);
    RF_TRY(read_shape(r, info));
    RF_TRY(take(r, &number, sizeof number));
    RF_TRY(take(r, &info->begin, sizeof info->begin));
    const rf_ggml_type *type = rf_ggml_type_of(number);
    if (!type)
        return rf_fail(RF_INPUT, "%s has the unknown type %u (%s). A newer refract may know it",
                       r->what, number, r->path);
    info->dtype = type->name;
    info->known = type->known;
    info->type = type->dtype;
    return check_sizes(r, info, type);
}

static rf_status read_version(reader *r)
{
    char magic[4];
    uint32_t version = 0;
    snprintf(r->what, sizeof r->what, "its first bytes");
    RF_TRY(take(r, magic, sizeof magic));
    RF_TRY(take(r, &version, sizeof version));
    if (memcmp(magic, "GGUF", 4) != 0)
        return rf_fail(RF_INPUT, "%s does not begin with GGUF. Give a .gguf file", r->path);
    if (version == RF_GGUF_VERSION) return RF_OK;
    if (version == __builtin_bswap32(RF_GGUF_VERSION))
        return rf_fail(RF_INPUT, "%s is a big-endian GGUF. Convert it to little-endian", r->path);
    return rf_fail(RF_INPUT,
                   "GGUF version %u is not supported (%s). Convert the model to version %d",
                   version, r->path, RF_GGUF_VERSION);
}

/* The head no longer moves. */
static void point_into_head(rf_gguf *g)
{
    for (int64_t i = 0; i < g->count; i++) g->value[i].data.at = g->head + g->value[i].place;
}

static int by_key(const void *a, const void *b)
{
    const rf_gguf_value *const *x = a, *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

static rf_status check_keys(const rf_gguf *g)
{
    const rf_gguf_value **sorted = malloc((size_t)(g->count + 1) * sizeof *sorted);
    if (!sorted) return rf_fail(RF_RESOURCES, "no memory to open %s", g->path);
    for (int64_t i = 0; i < g->count; i++) sorted[i] = &g->value[i];
    if (g->count > 0) qsort(sorted, (size_t)g->count, sizeof *sorted, by_key);
    rf_status status = RF_OK;
    for (int64_t i = 1; i < g->count && status == RF_OK; i++)
        if (strcmp(sorted[i]->key, sorted[i - 1]->key) == 0)
            status = rf_fail(RF_INPUT, "key '%.200s' is there twice (%s). The file is damaged",
                             sorted[i]->key, g->path);
    free(sorted);
    return status;
}

static rf_status read_alignment(rf_gguf *g)
{
    g->alignment = 32;
    RF_TRY(rf_gguf_whole(g, "general.alignment", 1, MOST_ALIGNMENT, &g->alignment));
    if ((g->alignment & (g->alignment - 1)) == 0) return RF_OK;
    return rf_fail(RF_INPUT, "'general.alignment' %lld is no power of two (%s)",
                   (long long)g->alignment, g->path);
}

/* From offsets within the data to places in the file, which must lie inside it. */
static rf_status place_tensors(const reader *r, rf_gguf *g)
{
    const uint64_t align = (uint64_t)g->alignment;
    const uint64_t start = (r->at + align - 1) / align * align;
    for (int64_t i = 0; i < g->table->count; i++) {
        rf_tensor_info *info = &g->table->tensor[i];
        if (info->begin % align != 0)
            return rf_fail(RF_INPUT, "tensor '%s' begins at %llu, no multiple of %llu (%s)",
                           info->name, (unsigned long long)info->begin, (unsigned long long)align,
                           r->path);
        const uint64_t has = r->file_bytes > start ? r->file_bytes - start : 0;
        if (info->begin > has || info->bytes > has - info->begin)
            return rf_fail(RF_INPUT,
                           "tensor '%s' reaches beyond the end of the file: %llu bytes at %llu of "
                           "%llu (%s). Fetch it again",
                           info->name, (unsigned long long)info->bytes,
                           (unsigned long long)info->begin, (unsigned long long)has, r->path);
        info->begin += start;
    }
    return RF_OK;
}

static int by_place(const void *a, const void *b)
{
    const rf_tensor_info *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static rf_status check_overlaps(const rf_gguf *g)
{
    rf_safetensors *table = g->table;
    if (table->count > 0)
        qsort(table->tensor, (size_t)table->count, sizeof *table->tensor, by_place);
    for (int64_t i = 1; i < table->count; i++) {
        const rf_tensor_info *a = &table->tensor[i - 1], *b = &table->tensor[i];
        if (a->begin + a->bytes > b->begin)
            return rf_fail(RF_INPUT, "tensors '%s' and '%s' overlap (%s). The file is damaged",
                           a->name, b->name, g->path);
    }
    return rf_safetensors_sort(table);
}

static rf_status read_head(reader *r, rf_gguf *g)
{
    uint64_t tensors = 0, keys = 0;
    RF_TRY(read_version(r));
    RF_TRY(take(r, &tensors, sizeof tensors));
    RF_TRY(take(r, &keys, sizeof keys));
    for (uint64_t i = 0; i < keys; i++) RF_TRY(read_key(r, g, i));
    for (uint64_t i = 0; i < tensors; i++) RF_TRY(read_tensor(r, g->table, i));
    return RF_OK;
}

static rf_status open_file(reader *r, rf_gguf *g)
{
    struct stat info;
    rf_safetensors *table = g->table = calloc(1, sizeof *g->table);
    g->path = strdup(r->path);
    if (!table || !g->path) return rf_fail(RF_RESOURCES, "no memory to open %s", r->path);
    RF_TRY(rf_safetensors_add_file(table, r->path));
    r->fd = table->file[0].fd;
    if (fstat(r->fd, &info) != 0 || !S_ISREG(info.st_mode))
        return rf_fail(RF_INPUT, "%s is not a file. Give a .gguf file", r->path);
    r->file_bytes = (uint64_t)info.st_size;
    const rf_status status = read_head(r, g);
    g->head = r->bytes;
    RF_TRY(status);
    point_into_head(g);
    RF_TRY(check_keys(g));
    RF_TRY(read_alignment(g));
    RF_TRY(place_tensors(r, g));
    return check_overlaps(g);
}

rf_status rf_gguf_open(rf_gguf **gguf, const char *path)
{
    reader r = {.path = path, .fd = -1};
    *gguf = calloc(1, sizeof **gguf);
    if (!*gguf) return rf_fail(RF_RESOURCES, "no memory to open %s", path);
    const rf_status status = open_file(&r, *gguf);
    if (status != RF_OK) rf_gguf_close(gguf);
    return status;
}

void rf_gguf_close(rf_gguf **gguf)
{
    rf_gguf *g = *gguf;
    if (!g) return;
    for (int64_t i = 0; i < g->count; i++) free((char *)(uintptr_t)g->value[i].key);
    rf_safetensors_close(&g->table);
    free(g->value);
    free(g->head);
    free(g->path);
    free(g);
    *gguf = NULL;
}
