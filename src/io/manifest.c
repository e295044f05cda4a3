#include "manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Grows by doubling: when the count is a power of two (or 0) the array is full. */
static int make_room(void **items, int64_t count, size_t item)
{
    if (count > 0 && (count & (count - 1)) != 0) return 1;
    void *more = realloc(*items, (size_t)(count > 0 ? 2 * count : 1) * item);
    if (more) *items = more;
    return more != NULL;
}

static rf_status no_memory(const char *what)
{
    return rf_fail(RF_RESOURCES, "no memory to list '%s'. Free some memory", what);
}

rf_status rf_manifest_add(rf_manifest *manifest, const char *path, int64_t rows, int64_t cols,
                          rf_dtype dtype, const char *sha256)
{
    char *copy = strdup(path);
    if (!copy || !make_room((void **)&manifest->entries, manifest->entry_count, sizeof(rf_entry))) {
        free(copy);
        return no_memory(path);
    }
    rf_entry *entry = &manifest->entries[manifest->entry_count++];
    *entry = (rf_entry){.path = copy, .rows = rows, .cols = cols, .dtype = dtype};
    snprintf(entry->sha256, sizeof entry->sha256, "%s", sha256);
    return RF_OK;
}

rf_status rf_manifest_note(rf_manifest *manifest, const char *name, const char *text)
{
    char *copy = strdup(name), *value = strdup(text);
    if (!copy || !value ||
        !make_room((void **)&manifest->notes, manifest->note_count, sizeof(rf_note))) {
        free(copy);
        free(value);
        return no_memory(name);
    }
    manifest->notes[manifest->note_count++] = (rf_note){.name = copy, .text = value};
    return RF_OK;
}

typedef struct listing {
    rf_manifest *manifest;
    rf_h5 *file;
} listing;

static rf_status list_set(void *context, const char *path)
{
    listing *list = context;
    rf_h5_layout layout;
    char *sha256 = NULL;
    RF_TRY(rf_h5_layout_of(list->file, path, &layout));
    if (layout.text > 0 || layout.dims > 2)
        return rf_fail(RF_INPUT,
                       "dataset '%s' of '%s' is no array of a checkpoint. The file is damaged",
                       path, rf_h5_path(list->file));
    RF_TRY(rf_h5_get_text(list->file, path, RF_DIGEST_ATTRIBUTE, &sha256));
    const rf_status status =
        rf_manifest_add(list->manifest, path, layout.size[0], layout.dims > 1 ? layout.size[1] : 1,
                        layout.dtype, sha256);
    free(sha256);
    return status;
}

static rf_status list_attribute(void *context, const char *name)
{
    listing *list = context;
    char number[32], *text = NULL;
    int64_t value = 0;
    if (strcmp(name, RF_CONTENT_ATTRIBUTE) == 0) return RF_OK;
    if (rf_h5_is_text(list->file, "/", name)) {
        RF_TRY(rf_h5_get_text(list->file, "/", name, &text));
    } else {
        RF_TRY(rf_h5_get_int(list->file, "/", name, &value));
        snprintf(number, sizeof number, "%" PRId64, value);
    }
    const rf_status status = rf_manifest_note(list->manifest, name, text ? text : number);
    free(text);
    return status;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const rf_entry *)a)->path, ((const rf_entry *)b)->path);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const rf_note *)a)->name, ((const rf_note *)b)->name);
}

static void sort(rf_manifest *manifest)
{
    if (manifest->entry_count > 0)
        qsort(manifest->entries, (size_t)manifest->entry_count, sizeof(rf_entry), by_path);
    if (manifest->note_count > 0)
        qsort(manifest->notes, (size_t)manifest->note_count, sizeof(rf_note), by_name);
}

rf_status rf_manifest_read(rf_manifest *manifest, rf_h5 *file)
{
    listing list = {.manifest = manifest, .file = file};
    RF_TRY(rf_h5_each_set(file, list_set, &list));
    RF_TRY(rf_h5_each_attribute(file, "/", list_attribute, &list));
    sort(manifest);
    return RF_OK;
}

/* One line: its fields end in NUL, which no name or text holds. */
static void digest_line(rf_digest *digest, const char *const *fields, int count)
{
    for (int i = 0; i < count; i++) rf_digest_add(digest, fields[i], strlen(fields[i]) + 1);
    rf_digest_add(digest, "\n", 1);
}

rf_status rf_manifest_digest(rf_manifest *manifest, char hex[RF_DIGEST_BYTES])
{
    rf_digest digest;
    RF_TRY(rf_digest_start(&digest));
    sort(manifest);
    for (int64_t i = 0; i < manifest->entry_count; i++) {
        const rf_entry *entry = &manifest->entries[i];
        char shape[64];
        snprintf(shape, sizeof shape, "%" PRId64 " %" PRId64, entry->rows, entry->cols);
        const char *fields[] = {entry->path, shape, rf_dtype_name(entry->dtype), entry->sha256};
        digest_line(&digest, fields, 4);
    }
    for (int64_t i = 0; i < manifest->note_count; i++) {
        const char *fields[] = {manifest->notes[i].name, manifest->notes[i].text};
        digest_line(&digest, fields, 2);
    }
    rf_digest_finish(&digest, hex);
    return RF_OK;
}

const rf_entry *rf_manifest_find(const rf_manifest *manifest, const char *path)
{
    const rf_entry key = {.path = (char *)(uintptr_t)path};
    if (manifest->entry_count == 0) return NULL;
    return bsearch(&key, manifest->entries, (size_t)manifest->entry_count, sizeof key, by_path);
}

const char *rf_manifest_text(const rf_manifest *manifest, const char *name)
{
    const rf_note key = {.name = (char *)(uintptr_t)name};
    if (manifest->note_count == 0) return NULL;
    const rf_note *found =
        bsearch(&key, manifest->notes, (size_t)manifest->note_count, sizeof key, by_name);
    return found ? found->text : NULL;
}

rf_status rf_manifest_check(rf_manifest *manifest, rf_h5 *file)
{
    char hex[RF_DIGEST_BYTES], *stored = NULL;
    RF_TRY(rf_manifest_digest(manifest, hex));
    RF_TRY(rf_h5_get_text(file, "/", RF_CONTENT_ATTRIBUTE, &stored));
    const int same = strcmp(stored, hex) == 0;
    free(stored);
    if (same) return RF_OK;
    return rf_fail(RF_INPUT,
                   "the list of contents of '%s' does not have the digest it was written with. A "
                   "dataset is missing or an attribute was changed: use another checkpoint",
                   rf_h5_path(file));
}

int64_t rf_entry_block(const rf_entry *entry)
{
    const int64_t row = entry->cols * (int64_t)rf_dtype_size(entry->dtype);
    const int64_t rows = row > 0 ? RF_BLOCK_BYTES / row : entry->rows;
    return rows > 0 ? rows : 1;
}

rf_status rf_entry_compare(const rf_entry *entry, rf_h5 *file, const char *hex)
{
    if (strcmp(entry->sha256, hex) == 0) return RF_OK;
    return rf_fail(RF_INPUT,
                   "dataset '%s' of '%s' is damaged: its content has not the sha256 it was written "
                   "with. Use another checkpoint",
                   entry->path, rf_h5_path(file));
}

static rf_status digest_blocks(rf_digest *digest, const rf_entry *entry, rf_h5_set *set,
                               char *block)
{
    const int64_t step = rf_entry_block(entry);
    const size_t row = (size_t)entry->cols * rf_dtype_size(entry->dtype);
    for (int64_t at = 0; at < entry->rows; at += step) {
        const int64_t rows = entry->rows - at < step ? entry->rows - at : step;
        const int64_t begin[2] = {at, 0}, count[2] = {rows, entry->cols};
        RF_TRY(rf_h5_set_read(set, entry->dtype, begin, count, block));
        rf_digest_add(digest, block, (size_t)rows * row);
    }
    return RF_OK;
}

rf_status rf_entry_digest(const rf_entry *entry, rf_h5 *file, rf_digest *digest)
{
    rf_h5_set *set = NULL;
    const size_t bytes =
        (size_t)(rf_entry_block(entry) * entry->cols) * rf_dtype_size(entry->dtype) + 1;
    char *block = malloc(bytes);
    rf_status status = block ? RF_OK : no_memory(entry->path);
    if (status == RF_OK) status = rf_h5_set_open(&set, file, entry->path);
    if (status == RF_OK) status = digest_blocks(digest, entry, set, block);
    rf_h5_set_close(&set);
    free(block);
    return status;
}

rf_status rf_entry_verify(const rf_entry *entry, rf_h5 *file)
{
    char hex[RF_DIGEST_BYTES];
    rf_digest digest;
    RF_TRY(rf_digest_start(&digest));
    const rf_status status = rf_entry_digest(entry, file, &digest);
    rf_digest_finish(&digest, hex);
    return status == RF_OK ? rf_entry_compare(entry, file, hex) : status;
}

void rf_manifest_free(rf_manifest *manifest)
{
    for (int64_t i = 0; i < manifest->entry_count; i++) free(manifest->entries[i].path);
    for (int64_t i = 0; i < manifest->note_count; i++) {
        free(manifest->notes[i].name);
        free(manifest->notes[i].text);
    }
    free(manifest->entries);
    free(manifest->notes);
    *manifest = (rf_manifest){.entries = NULL};
}
