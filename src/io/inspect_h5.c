#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "inspect_private.h"
#include "manifest.h"

/* One inspection. */
typedef struct inspection {
    FILE *out;
    rf_h5 *file;
    const char *path;
    int verify;
    char schema[64];
    char *config; /* owned; printed last */
    int64_t sets, bytes, checked, damaged;
    char first[256]; /* message of the first damage */
} inspection;

static int recognises(const char *path, const unsigned char head[8])
{
    static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    (void)path;
    return memcmp(head, signature, sizeof signature) == 0;
}

/* A live or killed telemetry file opens only as such. */
static rf_status open_any(rf_h5 **file, const char *path)
{
    if (rf_h5_open(file, path, RF_H5_READ, MPI_COMM_NULL) == RF_OK) return RF_OK;
    return rf_h5_open(file, path, RF_H5_READ_LIVE, MPI_COMM_NULL);
}

static rf_status print_attribute(void *context, const char *name)
{
    inspection *look = context;
    char *text = NULL;
    double number = 0;
    if (!rf_h5_is_text(look->file, "/", name)) {
        RF_TRY(rf_h5_get_number(look->file, "/", name, &number));
        fprintf(look->out, "  %-18s %.17g\n", name, number);
        return RF_OK;
    }
    RF_TRY(rf_h5_get_text(look->file, "/", name, &text));
    if (strcmp(name, "config") == 0) {
        look->config = text;
        return RF_OK;
    }
    fprintf(look->out, "  %-18s %s\n", name, text);
    free(text);
    return RF_OK;
}

/* "ok", "DAMAGED", or nothing where there is no checksum. Failures are counted, the walk goes on.
 */
static const char *verify_set(inspection *look, const char *path, const rf_h5_layout *layout)
{
    rf_entry entry = {.path = (char *)(uintptr_t)path,
                      .rows = layout->size[0],
                      .cols = layout->dims > 1 ? layout->size[1] : 1,
                      .dtype = layout->dtype};
    char *sha256 = NULL;
    if (!look->verify || layout->text > 0 || layout->dims > 2 ||
        !rf_h5_has_attribute(look->file, path, RF_DIGEST_ATTRIBUTE))
        return "";
    look->checked++;
    rf_status status = rf_h5_get_text(look->file, path, RF_DIGEST_ATTRIBUTE, &sha256);
    if (status == RF_OK) {
        snprintf(entry.sha256, sizeof entry.sha256, "%s", sha256);
        status = rf_entry_verify(&entry, look->file);
    }
    free(sha256);
    if (status == RF_OK) return "  ok";
    if (look->damaged++ == 0) snprintf(look->first, sizeof look->first, "%s", path);
    return "  DAMAGED";
}

static rf_status print_set(void *context, const char *path)
{
    inspection *look = context;
    rf_h5_layout layout;
    char shape[128], type[32];
    const rf_status status = rf_h5_layout_of(look->file, path, &layout);
    look->sets++;
    if (status != RF_OK) {
        fprintf(look->out, "  %-56s of an unknown type\n", path);
        return RF_OK;
    }
    int64_t items = 1;
    for (int i = 0; i < layout.dims; i++) items *= layout.size[i];
    look->bytes += items * (layout.text ? layout.text : (int64_t)rf_dtype_size(layout.dtype));
    rf_inspect_shape(shape, sizeof shape, layout.size, layout.dims);
    snprintf(type, sizeof type, "%s", layout.text ? "text" : rf_dtype_name(layout.dtype));
    fprintf(look->out, "  %-56s %-5s %s%s\n", path, type, shape, verify_set(look, path, &layout));
    return RF_OK;
}

/* The list of a checkpoint: nothing missing, no attribute changed. */
static rf_status verify_list(inspection *look)
{
    rf_manifest list = {.entries = NULL};
    if (strcmp(look->schema, "refract/checkpoint") != 0) return RF_OK;
    rf_status status = rf_manifest_read(&list, look->file);
    if (status == RF_OK) status = rf_manifest_check(&list, look->file);
    rf_manifest_free(&list);
    return status;
}

static rf_status conclude(inspection *look)
{
    char size[32];
    rf_inspect_bytes(size, sizeof size, look->bytes);
    fprintf(look->out, "%" PRId64 " datasets, %s\n", look->sets, size);
    if (look->config) fprintf(look->out, "config:\n%s", look->config);
    if (!look->verify) return RF_OK;
    if (look->damaged > 0)
        return rf_fail(RF_INPUT,
                       "%" PRId64 " of %" PRId64 " datasets of '%s' are damaged, first '%s'. Use "
                       "another copy",
                       look->damaged, look->checked, look->path, look->first);
    RF_TRY(verify_list(look));
    fprintf(look->out,
            "verified: %" PRId64 " of %" PRId64 " datasets carry a checksum, all hold%s\n",
            look->checked, look->sets,
            look->checked < look->sets ? "; of the others the structure was checked" : "");
    return RF_OK;
}

static rf_status look_into(inspection *look)
{
    char *schema = NULL, size[32];
    int64_t version = 0;
    struct stat info = {.st_size = 0};
    RF_TRY(rf_h5_get_text(look->file, "/", "schema", &schema));
    snprintf(look->schema, sizeof look->schema, "%s", schema);
    free(schema);
    RF_TRY(rf_h5_get_int(look->file, "/", "schema_version", &version));
    if (stat(look->path, &info) == 0) rf_inspect_bytes(size, sizeof size, (int64_t)info.st_size);
    fprintf(look->out, "%s: %s, version %" PRId64 ", %s\n", look->path, look->schema, version,
            info.st_size > 0 ? size : "");
    RF_TRY(rf_h5_each_attribute(look->file, "/", print_attribute, look));
    RF_TRY(rf_h5_each_set(look->file, print_set, look));
    return conclude(look);
}

static rf_status print(FILE *out, const char *path, int verify)
{
    inspection look = {.out = out, .path = path, .verify = verify};
    RF_TRY(open_any(&look.file, path));
    const rf_status status = look_into(&look);
    rf_h5_close(&look.file);
    free(look.config);
    return status;
}

const rf_inspector rf_inspector_h5 = {"HDF5", recognises, print};
