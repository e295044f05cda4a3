#include <stdlib.h>
#include <string.h>

#include "h5_private.h"
#include "h5_type.h"

struct rf_h5_set {
    rf_h5 *file; /* borrowed */
    hid_t id, type;
    rf_h5_layout layout;
    char *path; /* owned */
};

/* MPI counts are ints: one transfer moves less than this. */
enum { PIECE_BYTES = 1 << 30 };

typedef struct slab {
    hsize_t begin[RF_H5_DIMS], count[RF_H5_DIMS];
} slab;

/* uint16 is bf16 only where the file says so. */
static int is_encoded(const rf_h5_set *set)
{
    return set->layout.text > 0 || set->layout.dtype != RF_BF16 ||
           rf_h5_has_attribute(set->file, set->path, "encoding");
}

static rf_status open_set(rf_h5_set *set)
{
    set->id = H5Dopen2(set->file->id, set->path, H5P_DEFAULT);
    if (set->id < 0) return rf_h5_fail(set->file, "open dataset", set->path);
    if (!rf_h5_read_layout(set->id, &set->layout) || !is_encoded(set)) {
        H5Eclear2(H5E_DEFAULT);
        return rf_fail(set->file->writing ? RF_WRITE : RF_INPUT,
                       "dataset '%s' of '%s' has a type or a number of dimensions that is not "
                       "understood. Write it as numbers of 8 to 64 bits or fixed-length strings",
                       set->path, set->file->path);
    }
    set->type = rf_h5_layout_type(&set->layout);
    return set->type >= 0 ? RF_OK : rf_h5_fail(set->file, "open dataset", set->path);
}

rf_status rf_h5_set_open(rf_h5_set **set, rf_h5 *file, const char *path)
{
    rf_h5_set *opened = calloc(1, sizeof *opened);
    char *copy = strdup(path);
    RF_ASSERT(opened && copy, "no memory for a dataset handle");
    *opened = (rf_h5_set){.file = file, .id = -1, .type = -1, .path = copy};
    *set = opened;
    const rf_status status = rf_h5_agree(file, open_set(opened));
    if (status != RF_OK) rf_h5_set_close(set);
    return status;
}

void rf_h5_set_close(rf_h5_set **set)
{
    rf_h5_set *closing = *set;
    if (!closing) return;
    *set = NULL;
    rf_h5_drop(closing->type);
    rf_h5_drop(closing->id);
    free(closing->path);
    free(closing);
}

const rf_h5_layout *rf_h5_set_layout(const rf_h5_set *set)
{
    return &set->layout;
}

/* The slab a caller named, checked against the dataset; items is their number. */
static rf_status choose_slab(const rf_h5_set *set, const int64_t *begin, const int64_t *count,
                             slab *chosen, int64_t *items)
{
    *items = 1;
    for (int i = 0; i < set->layout.dims; i++) {
        const int64_t size = set->layout.size[i];
        const int64_t from = begin ? begin[i] : 0, many = count ? count[i] : size;
        if (from < 0 || many < 0 || from > size || many > size - from)
            return rf_fail(
                set->file->writing ? RF_WRITE : RF_INPUT,
                "dataset '%s' of '%s' has %lld entries along axis %d, wanted [%lld, %lld). "
                "The file does not fit what it is used for",
                set->path, set->file->path, (long long)size, i, (long long)from,
                (long long)(from + many));
        chosen->begin[i] = (hsize_t)from;
        chosen->count[i] = (hsize_t)many;
        *items *= many;
    }
    return RF_OK;
}

static herr_t transfer(const rf_h5_set *set, const slab *part, const void *out, void *in)
{
    const hid_t memory = H5Screate_simple(set->layout.dims, part->count, NULL);
    const hid_t space = H5Dget_space(set->id);
    herr_t status =
        H5Sselect_hyperslab(space, H5S_SELECT_SET, part->begin, NULL, part->count, NULL);
    if (status >= 0 && out)
        status = H5Dwrite(set->id, set->type, memory, space, H5P_DEFAULT, out);
    else if (status >= 0)
        status = H5Dread(set->id, set->type, memory, space, H5P_DEFAULT, in);
    rf_h5_drop(space);
    rf_h5_drop(memory);
    return status;
}

/* Rows per transfer such that a piece stays below the limit (a single row is always below it). */
static hsize_t rows_per_piece(const slab *chosen, int64_t items, size_t item)
{
    const size_t row = (size_t)(items / (int64_t)chosen->count[0]) * item;
    return row >= PIECE_BYTES ? 1 : (hsize_t)(PIECE_BYTES / row);
}

static rf_status transfer_pieces(rf_h5_set *set, const int64_t *begin, const int64_t *count,
                                 const char *out, char *in)
{
    slab part = {{0}, {0}};
    int64_t items = 0;
    RF_TRY(choose_slab(set, begin, count, &part, &items));
    if (items == 0) return RF_OK;
    const size_t item = H5Tget_size(set->type);
    RF_ASSERT(part.count[0] > 0, "'%s' has %lld items in no rows", set->path, (long long)items);
    const hsize_t end = part.begin[0] + part.count[0];
    const hsize_t step = rows_per_piece(&part, items, item);
    const size_t row = (size_t)(items / (int64_t)part.count[0]) * item;
    for (size_t at = 0; part.begin[0] < end; part.begin[0] += part.count[0]) {
        part.count[0] = end - part.begin[0] < step ? end - part.begin[0] : step;
        if (transfer(set, &part, out ? out + at : NULL, in ? in + at : NULL) < 0)
            return rf_h5_fail(set->file, out ? "write" : "read", set->path);
        at += (size_t)part.count[0] * row;
    }
    return RF_OK;
}

static rf_status check_dtype(const rf_h5_set *set, rf_dtype dtype)
{
    if (set->layout.text == 0 && set->layout.dtype == dtype) return RF_OK;
    return rf_fail(
        set->file->writing ? RF_WRITE : RF_INPUT,
        "dataset '%s' of '%s' holds %s, wanted %s. The file does not fit what it is used "
        "for",
        set->path, set->file->path,
        set->layout.text > 0 ? "strings" : rf_dtype_name(set->layout.dtype), rf_dtype_name(dtype));
}

rf_status rf_h5_set_write(rf_h5_set *set, rf_dtype dtype, const int64_t *begin,
                          const int64_t *count, const void *data)
{
    RF_TRY(check_dtype(set, dtype));
    return transfer_pieces(set, begin, count, data, NULL);
}

rf_status rf_h5_set_read(rf_h5_set *set, rf_dtype dtype, const int64_t *begin, const int64_t *count,
                         void *data)
{
    RF_TRY(check_dtype(set, dtype));
    return transfer_pieces(set, begin, count, NULL, data);
}

rf_status rf_h5_set_write_text(rf_h5_set *set, int64_t begin, int64_t count, const char *packed)
{
    RF_ASSERT(set->layout.text > 0 && set->layout.dims == 1, "'%s' is no text", set->path);
    return transfer_pieces(set, &begin, &count, packed, NULL);
}

rf_status rf_h5_set_read_text(rf_h5_set *set, int64_t begin, int64_t count, char *packed)
{
    RF_ASSERT(set->layout.text > 0 && set->layout.dims == 1, "'%s' is no text", set->path);
    return transfer_pieces(set, &begin, &count, NULL, packed);
}

static rf_status extend(rf_h5_set *set, int64_t rows)
{
    hsize_t size[RF_H5_DIMS];
    RF_ASSERT(set->layout.chunk > 0 && set->layout.dims > 0, "'%s' has a fixed size", set->path);
    for (int i = 0; i < set->layout.dims; i++) size[i] = (hsize_t)set->layout.size[i];
    size[0] += (hsize_t)rows;
    if (H5Dset_extent(set->id, size) < 0) return rf_h5_fail(set->file, "extend", set->path);
    set->layout.size[0] += rows;
    return RF_OK;
}

static rf_status append(rf_h5_set *set, int64_t rows, const void *data)
{
    int64_t begin[RF_H5_DIMS] = {set->layout.size[0], 0, 0}, count[RF_H5_DIMS];
    memcpy(count, set->layout.size, sizeof count);
    count[0] = rows;
    RF_TRY(extend(set, rows));
    return transfer_pieces(set, begin, count, data, NULL);
}

rf_status rf_h5_set_append(rf_h5_set *set, rf_dtype dtype, int64_t rows, const void *data)
{
    RF_TRY(check_dtype(set, dtype));
    return append(set, rows, data);
}

rf_status rf_h5_set_append_text(rf_h5_set *set, int64_t count, const char *packed)
{
    RF_ASSERT(set->layout.text > 0 && set->layout.dims == 1, "'%s' is no text", set->path);
    return append(set, count, packed);
}

rf_status rf_h5_set_flush(rf_h5_set *set)
{
    return H5Dflush(set->id) >= 0 ? RF_OK : rf_h5_fail(set->file, "flush", set->path);
}

rf_status rf_h5_write(rf_h5 *file, const char *path, rf_dtype dtype, const int64_t *begin,
                      const int64_t *count, const void *data)
{
    rf_h5_set *set = NULL;
    RF_TRY(rf_h5_set_open(&set, file, path));
    const rf_status status = rf_h5_set_write(set, dtype, begin, count, data);
    rf_h5_set_close(&set);
    return rf_h5_agree(file, status);
}

rf_status rf_h5_read(rf_h5 *file, const char *path, rf_dtype dtype, const int64_t *begin,
                     const int64_t *count, void *data)
{
    rf_h5_set *set = NULL;
    RF_TRY(rf_h5_set_open(&set, file, path));
    const rf_status status = rf_h5_set_read(set, dtype, begin, count, data);
    rf_h5_set_close(&set);
    return rf_h5_agree(file, status);
}
