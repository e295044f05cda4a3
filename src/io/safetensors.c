/* Which files make up a model, and the table of their tensors. */
#include "refract/io/safetensors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.h"
#include "refract/comm/agree.h"
#include "safetensors_file.h"

rf_status rf_safetensors_add_file(rf_safetensors *st, const char *path)
{
    rf_safetensors_file *more = realloc(st->file, (size_t)(st->file_count + 1) * sizeof *more);
    if (!more) return rf_fail(RF_RESOURCES, "no memory to open %s", path);
    st->file = more;
    rf_safetensors_file *file = &more[st->file_count];
    *file = (rf_safetensors_file){.path = strdup(path), .fd = -1};
    if (!file->path) return rf_fail(RF_RESOURCES, "no memory to open %s", path);
    st->file_count++;
    file->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (file->fd < 0) return rf_fail(RF_INPUT, "cannot open %s: %s", path, strerror(errno));
    return RF_OK;
}

static rf_status add_file(rf_safetensors *st, const char *path)
{
    RF_TRY(rf_safetensors_add_file(st, path));
    return rf_safetensors_scan(st, st->file_count - 1);
}

static int by_name(const void *a, const void *b)
{
    const rf_tensor_info *x = a, *y = b;
    return strcmp(x->name, y->name);
}

rf_status rf_safetensors_sort(rf_safetensors *st)
{
    if (st->count > 0) qsort(st->tensor, (size_t)st->count, sizeof *st->tensor, by_name);
    for (int64_t i = 1; i < st->count; i++) {
        const rf_tensor_info *a = &st->tensor[i - 1], *b = &st->tensor[i];
        if (strcmp(a->name, b->name) == 0)
            return rf_fail(RF_INPUT, "tensor '%s' is in two files or twice in one (%s, %s)",
                           a->name, st->file[a->file].path, st->file[b->file].path);
    }
    return RF_OK;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The file a weight_map names, opened at its first mention. Only plain names beside the index. */
static rf_status open_shard(rf_safetensors *st, const char *folder, const json_t *value,
                            const char *tensor, const char *index)
{
    const char *name = json_string_value(value);
    char path[PATH_MAX];
    if (!name || !name[0] || strchr(name, '/'))
        return rf_fail(RF_INPUT, "'%s' of weight_map is not the name of a file (%s)", tensor,
                       index);
    for (int i = 0; i < st->file_count; i++)
        if (strcmp(base_name(st->file[i].path), name) == 0) return RF_OK;
    if (snprintf(path, sizeof path, "%s%s", folder, name) >= (int)sizeof path)
        return rf_fail(RF_INPUT, "the path of %.200s is too long (%s)", name, index);
    return add_file(st, path);
}

/* Both ways: every name of the map is in its file, and every tensor of a file is in the map. */
static rf_status check_map(const rf_safetensors *st, const json_t *map, const char *index)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)map, name, value)
    {
        const rf_tensor_info *info = rf_safetensors_find(st, name);
        if (!info || strcmp(base_name(st->file[info->file].path), json_string_value(value)) != 0)
            return rf_fail(RF_INPUT, "tensor '%s' is not in %s, where the index puts it (%s)", name,
                           json_string_value(value), index);
    }
    for (int64_t i = 0; i < st->count; i++)
        if (!json_object_get(map, st->tensor[i].name))
            return rf_fail(RF_INPUT, "tensor '%s' of %s is not in the index (%s)",
                           st->tensor[i].name, st->file[st->tensor[i].file].path, index);
    return RF_OK;
}

static rf_status open_map(rf_safetensors *st, const json_t *json, const char *index)
{
    const json_t *map = json_object_get(json, "weight_map");
    char folder[PATH_MAX];
    const char *name;
    json_t *value;
    if (!json_is_object(map)) return rf_fail(RF_INPUT, "'weight_map' is missing (%s)", index);
    snprintf(folder, sizeof folder, "%.*s", (int)(base_name(index) - index), index);
    json_object_foreach((json_t *)(uintptr_t)map, name, value)
        RF_TRY(open_shard(st, folder, value, name, index));
    RF_TRY(rf_safetensors_sort(st));
    return check_map(st, map, index);
}

static rf_status open_index(rf_safetensors *st, const char *index)
{
    json_t *json = NULL;
    RF_TRY(rf_json_load(&json, index));
    const rf_status status = open_map(st, json, index);
    json_decref(json);
    return status;
}

static int ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), size = strlen(end);
    return length >= size && strcmp(text + length - size, end) == 0;
}

/* What to say of a folder without safetensors: the usual reason is weights pickled by PyTorch. */
static rf_status nothing_there(const char *folder)
{
    int pickled = 0;
    DIR *listing = opendir(folder);
    for (const struct dirent *item; listing && (item = readdir(listing));)
        pickled |= ends_with(item->d_name, ".bin") || ends_with(item->d_name, ".pth");
    if (listing) closedir(listing);
    return rf_fail(RF_INPUT, "no model.safetensors or model.safetensors.index.json (%s). %s",
                   folder,
                   pickled ? "Pickled weights (.bin, .pth) are not read: save the model again "
                             "with safe_serialization=True"
                           : "Give the folder of a model in safetensors form");
}

static rf_status open_folder(rf_safetensors *st, const char *folder)
{
    char path[PATH_MAX];
    if (strlen(folder) > sizeof path - 64)
        return rf_fail(RF_INPUT, "the path %.200s... is too long", folder);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    if (access(path, F_OK) == 0) {
        RF_TRY(add_file(st, path));
        return rf_safetensors_sort(st);
    }
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    return access(path, F_OK) == 0 ? open_index(st, path) : nothing_there(folder);
}

static rf_status open_any(rf_safetensors *st, const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return rf_fail(RF_INPUT, "cannot open %s: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode)) return open_folder(st, path);
    if (ends_with(path, ".json")) return open_index(st, path);
    RF_TRY(add_file(st, path));
    return rf_safetensors_sort(st);
}

rf_status rf_safetensors_open(rf_safetensors **st, const char *path)
{
    *st = calloc(1, sizeof **st);
    if (!*st) return rf_fail(RF_RESOURCES, "no memory to open %s", path);
    const rf_status status = open_any(*st, path);
    if (status != RF_OK) rf_safetensors_close(st);
    return status;
}

rf_status rf_safetensors_open_all(rf_safetensors **st, MPI_Comm comm, const char *path)
{
    const rf_status status = rf_agree(comm, rf_safetensors_open(st, path));
    if (status != RF_OK) rf_safetensors_close(st);
    return status;
}

void rf_safetensors_close(rf_safetensors **st)
{
    rf_safetensors *s = *st;
    if (!s) return;
    for (int i = 0; i < s->file_count; i++) {
        if (s->file[i].fd >= 0) close(s->file[i].fd);
        free(s->file[i].path);
    }
    for (int64_t i = 0; i < s->count; i++) free((char *)(uintptr_t)s->tensor[i].name);
    free(s->file);
    free(s->tensor);
    free(s);
    *st = NULL;
}

int64_t rf_safetensors_count(const rf_safetensors *st)
{
    return st->count;
}

const rf_tensor_info *rf_safetensors_at(const rf_safetensors *st, int64_t index)
{
    RF_ASSERT(index >= 0 && index < st->count, "tensor %lld of %lld", (long long)index,
              (long long)st->count);
    return &st->tensor[index];
}

const rf_tensor_info *rf_safetensors_find(const rf_safetensors *st, const char *name)
{
    const rf_tensor_info key = {.name = name};
    if (st->count == 0) return NULL;
    return bsearch(&key, st->tensor, (size_t)st->count, sizeof key, by_name);
}

const char *rf_safetensors_path(const rf_safetensors *st, int file)
{
    return st->file[file].path;
}
