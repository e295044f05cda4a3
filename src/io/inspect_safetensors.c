#include <inttypes.h>
#include <string.h>

#include "inspect_private.h"
#include "refract/io/safetensors.h"

/* A folder, an index, or a header length that is followed by JSON. */
static int recognises(const char *path, const unsigned char head[8])
{
    static const char *const endings[] = {".safetensors", ".safetensors.index.json"};
    static const unsigned char folder[8] = {0};
    const size_t length = strlen(path);
    if (memcmp(head, folder, sizeof folder) == 0) return 1;
    for (int i = 0; i < 2; i++) {
        const size_t tail = strlen(endings[i]);
        if (length >= tail && strcmp(path + length - tail, endings[i]) == 0) return 1;
    }
    return 0;
}

static rf_status print(FILE *out, const char *path, int verify)
{
    rf_safetensors *st = NULL;
    int64_t items = 0, bytes = 0;
    char shape[256], size[32];
    RF_TRY(rf_safetensors_open(&st, path));
    const int64_t count = rf_safetensors_count(st);
    for (int64_t i = 0; i < count; i++) {
        items += rf_safetensors_at(st, i)->items;
        bytes += (int64_t)rf_safetensors_at(st, i)->bytes;
    }
    rf_inspect_bytes(size, sizeof size, bytes);
    fprintf(out, "%s: safetensors, %" PRId64 " tensors, %" PRId64 " numbers, %s\n", path, count,
            items, size);
    for (int64_t i = 0; i < count; i++) {
        const rf_tensor_info *info = rf_safetensors_at(st, i);
        rf_inspect_shape(shape, sizeof shape, info->dim, info->dims);
        fprintf(out, "  %-64s %-5s %s\n", info->name, info->dtype, shape);
    }
    if (verify)
        fprintf(out, "verified: names, sizes and places agree; the format has no checksums\n");
    rf_safetensors_close(&st);
    return RF_OK;
}

const rf_inspector rf_inspector_safetensors = {"safetensors", recognises, print};
