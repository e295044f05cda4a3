#include "refract/io/inspect.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "inspect_private.h"

static const rf_inspector *const inspectors[] = {&rf_inspector_h5, &rf_inspector_gguf,
                                                 &rf_inspector_peft, &rf_inspector_safetensors};

void rf_inspect_shape(char *text, size_t bytes, const int64_t *size, int dims)
{
    size_t at = (size_t)snprintf(text, bytes, "[");
    for (int i = 0; i < dims && at < bytes; i++)
        at += (size_t)snprintf(text + at, bytes - at, "%s%" PRId64, i ? ", " : "", size[i]);
    if (at < bytes) snprintf(text + at, bytes - at, "]");
}

void rf_inspect_bytes(char *text, size_t bytes, int64_t count)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double size = (double)count;
    int unit = 0;
    for (; size >= 1024 && unit < 4; unit++) size /= 1024;
    snprintf(text, bytes, unit ? "%.1f %s" : "%.0f %s", size, units[unit]);
}

static rf_status read_head(const char *path, unsigned char head[8])
{
    struct stat info;
    memset(head, 0, 8);
    if (stat(path, &info) != 0)
        return rf_fail(RF_INPUT, "cannot open '%s': %s. Check the path", path, strerror(errno));
    if (S_ISDIR(info.st_mode)) return RF_OK;
    FILE *file = fopen(path, "rb");
    if (!file)
        return rf_fail(RF_INPUT, "cannot open '%s': %s. Check its permissions", path,
                       strerror(errno));
    const size_t length = fread(head, 1, 8, file);
    fclose(file);
    return length > 0 ? RF_OK : rf_fail(RF_INPUT, "'%s' is empty. Make it again", path);
}

rf_status rf_inspect(FILE *out, const char *path, int verify)
{
    unsigned char head[8];
    RF_TRY(read_head(path, head));
    for (size_t i = 0; i < sizeof inspectors / sizeof inspectors[0]; i++)
        if (inspectors[i]->recognises(path, head)) return inspectors[i]->print(out, path, verify);
    return rf_fail(RF_INPUT,
                   "'%s' is of no kind that is known. Give a checkpoint, run.h5, a token store, "
                   "safetensors, GGUF or a PEFT folder",
                   path);
}
