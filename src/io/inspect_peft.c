#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "inspect_private.h"
#include "json.h"
#include "refract/io/safetensors.h"

static void path_of(char path[PATH_MAX], const char *folder, const char *name)
{
    snprintf(path, PATH_MAX, "%.4000s/%s", folder, name);
}

/* A folder with an adapter's configuration. */
static int recognises(const char *path, const unsigned char head[8])
{
    static const unsigned char folder[8] = {0};
    char config[PATH_MAX];
    path_of(config, path, "adapter_config.json");
    return memcmp(head, folder, sizeof folder) == 0 && access(config, F_OK) == 0;
}

/* What is not null, false or empty, in the order of the names. */
static void print_config(FILE *out, const json_t *config)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)config, key, value)
    {
        if (json_is_null(value) || json_is_false(value)) continue;
        if ((json_is_object(value) || json_is_array(value)) && json_object_size(value) == 0 &&
            json_array_size(value) == 0)
            continue;
        fprintf(out, "  %-28s ", key);
        json_dumpf(value, out, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
        fputc('\n', out);
    }
}

static void print_tensors(FILE *out, const char *path, const json_t *config,
                          const rf_safetensors *st)
{
    const char *type = json_string_value(json_object_get(config, "peft_type"));
    int64_t items = 0, bytes = 0;
    char shape[256], size[32];
    for (int64_t i = 0; i < rf_safetensors_count(st); i++) {
        items += rf_safetensors_at(st, i)->items;
        bytes += (int64_t)rf_safetensors_at(st, i)->bytes;
    }
    rf_inspect_bytes(size, sizeof size, bytes);
    fprintf(out, "%s: PEFT adapter (%s), %" PRId64 " tensors, %" PRId64 " numbers, %s\n", path,
            type ? type : "of no type", rf_safetensors_count(st), items, size);
    print_config(out, config);
    for (int64_t i = 0; i < rf_safetensors_count(st); i++) {
        const rf_tensor_info *info = rf_safetensors_at(st, i);
        rf_inspect_shape(shape, sizeof shape, info->dim, info->dims);
        fprintf(out, "  %-84s %-5s %s\n", info->name, info->dtype, shape);
    }
}

static rf_status print(FILE *out, const char *path, int verify)
{
    char file[PATH_MAX];
    json_t *config = NULL;
    rf_safetensors *st = NULL;
    path_of(file, path, "adapter_config.json");
    RF_TRY(rf_json_load(&config, file));
    path_of(file, path, "adapter_model.safetensors");
    const rf_status status = rf_safetensors_open(&st, file);
    if (status == RF_OK) print_tensors(out, path, config, st);
    if (status == RF_OK && verify)
        fprintf(out, "verified: names, sizes and places agree; the format has no checksums\n");
    rf_safetensors_close(&st);
    json_decref(config);
    return status;
}

const rf_inspector rf_inspector_peft = {"PEFT", recognises, print};
