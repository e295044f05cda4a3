/* The adapted modules of a decoder, and the table of checkpoint fields. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refract/method/method.h"

/* Row of the module's tensor that checkpoints call `field`, -1 if its adapter has none. */
static int64_t row_of(const rf_decoder *m, const rf_block *block, int kind, const char *field)
{
    rf_adapter_tensor tensors[RF_ADAPTER_TENSORS];
    const int count = m->kind->tensors(&block->linear[kind].shape, &block->adapter[kind], tensors);
    for (int i = 0; i < count; i++)
        if (strcmp(tensors[i].field, field) == 0) return block->adapter_row[kind] + i;
    return -1;
}

static void describe(rf_module *module, const rf_decoder *m, const rf_block *block, int kind)
{
    const rf_linear *linear = &block->linear[kind];
    *module = (rf_module){.d_in = linear->shape.cols,
                          .d_out = linear->shape.rows,
                          .r = block->adapter[kind].r,
                          .scaling = rf_adapter_scaling(&block->adapter[kind]),
                          .a = row_of(m, block, kind, "A"),
                          .b = row_of(m, block, kind, "B"),
                          .gate = row_of(m, block, kind, "gate"),
                          .e = row_of(m, block, kind, "E")};
    memcpy(module->name, linear->name, strlen(linear->name) - strlen(".weight"));
}

rf_status rf_modules_of(rf_modules *modules, const rf_decoder *m)
{
    *modules = (rf_modules){.item = calloc((size_t)m->adapted + 1, sizeof *modules->item)};
    if (!modules->item) return rf_fail(RF_RESOURCES, "no memory for the list of modules");
    for (int64_t i = 0; i < m->config.layers * RF_LINEARS; i++) {
        const rf_block *block = &m->block[i / RF_LINEARS];
        const int kind = (int)(i % RF_LINEARS);
        if (block->adapter_row[kind] < 0) continue;
        rf_module *module = &modules->item[modules->count++];
        describe(module, m, block, kind);
        if (module->r > modules->most_r) modules->most_r = module->r;
    }
    return RF_OK;
}

void rf_modules_destroy(rf_modules *modules)
{
    free(modules->item);
    *modules = (rf_modules){0};
}

rf_status rf_fields_add(rf_fields *fields, rf_shape shape, rf_dtype dtype, void *data,
                        const char *path, ...)
{
    if (fields->count == fields->capacity) {
        const int64_t capacity = fields->capacity ? 2 * fields->capacity : 64;
        rf_field *item = realloc(fields->item, (size_t)capacity * sizeof *item);
        if (!item) return rf_fail(RF_RESOURCES, "no memory for the table of state");
        fields->item = item;
        fields->capacity = capacity;
    }
    rf_field *field = &fields->item[fields->count++];
    *field = (rf_field){.shape = shape, .dtype = dtype, .data = data};
    va_list arguments;
    va_start(arguments, path);
    vsnprintf(field->path, sizeof field->path, path, arguments);
    va_end(arguments);
    return RF_OK;
}
