#include <inttypes.h>
#include <string.h>

#include "inspect_private.h"
#include "refract/io/gguf.h"

enum { SHOWN_BYTES = 60, SHOWN_ITEMS = 4 };

static int recognises(const char *path, const unsigned char head[8])
{
    (void)path;
    return memcmp(head, "GGUF", 4) == 0;
}

/* One line, cut where it is long. */
static void print_text(FILE *out, rf_bytes text)
{
    const size_t shown = text.length < SHOWN_BYTES ? text.length : SHOWN_BYTES;
    fputc('"', out);
    for (size_t i = 0; i < shown; i++) {
        const unsigned char c = (unsigned char)text.at[i];
        if (c == '\n')
            fputs("\\n", out);
        else
            fputc(c < ' ' || c == 127 ? '?' : c, out);
    }
    fputs(shown < text.length ? "\"..." : "\"", out);
}

static void print_number(FILE *out, const rf_gguf_value *value, int64_t index)
{
    int64_t whole = 0;
    double number = 0;
    if (rf_gguf_whole_at(value, index, &whole))
        fprintf(out, "%" PRId64, whole);
    else if (rf_gguf_number_at(value, index, &number))
        fprintf(out, "%.9g", number);
    else
        fputs("beyond 64 bits", out);
}

static void print_value(FILE *out, const rf_gguf_value *value)
{
    rf_gguf_strings strings = {.value = value};
    const int is_array = value->type == RF_GGUF_ARRAY;
    if (is_array) fprintf(out, "%" PRId64 " %s: ", value->count, rf_gguf_type_name(value->item));
    for (int64_t i = 0; i < value->count && i < SHOWN_ITEMS; i++) {
        if (i > 0) fputs(", ", out);
        if (rf_gguf_next_string(&strings))
            print_text(out, strings.text);
        else if (value->item == RF_GGUF_BOOL)
            fputs(value->data.at[i] ? "true" : "false", out);
        else
            print_number(out, value, i);
    }
    fputs(value->count > SHOWN_ITEMS ? ", ...\n" : "\n", out);
}

static void print_head(FILE *out, const rf_gguf *gguf)
{
    const rf_safetensors *tensors = rf_gguf_tensors(gguf);
    const int64_t count = rf_safetensors_count(tensors);
    int64_t items = 0, bytes = 0;
    char size[32];
    for (int64_t i = 0; i < count; i++) {
        items += rf_safetensors_at(tensors, i)->items;
        bytes += (int64_t)rf_safetensors_at(tensors, i)->bytes;
    }
    rf_inspect_bytes(size, sizeof size, bytes);
    fprintf(out, "%s: GGUF version %d, %" PRId64 " tensors, %" PRId64 " numbers, %s\n",
            rf_gguf_path(gguf), RF_GGUF_VERSION, count, items, size);
}

static rf_status print(FILE *out, const char *path, int verify)
{
    rf_gguf *gguf = NULL;
    char shape[256];
    RF_TRY(rf_gguf_open(&gguf, path));
    const rf_safetensors *tensors = rf_gguf_tensors(gguf);
    print_head(out, gguf);
    for (int64_t i = 0; i < rf_gguf_count(gguf); i++) {
        const rf_gguf_value *value = rf_gguf_at(gguf, i);
        fprintf(out, "  %-44s ", value->key);
        print_value(out, value);
    }
    for (int64_t i = 0; i < rf_safetensors_count(tensors); i++) {
        const rf_tensor_info *info = rf_safetensors_at(tensors, i);
        rf_inspect_shape(shape, sizeof shape, info->dim, info->dims);
        fprintf(out, "  %-44s %-7s %s\n", info->name, info->dtype, shape);
    }
    if (verify)
        fprintf(out, "verified: keys, sizes and places agree; the format has no checksums\n");
    rf_gguf_close(&gguf);
    return RF_OK;
}

const rf_inspector rf_inspector_gguf = {"GGUF", recognises, print};
