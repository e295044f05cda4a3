/* The modules that training has changed, and what is to be known of them. */
#include <stdlib.h>
#include <string.h>

#include "spectrum_parts.h"

static const rf_block *block_of(const rf_decoder *m, int64_t i)
{
    return &m->block[i / RF_LINEARS];
}

/* Is the weight itself trained? */
static int is_trained(const rf_decoder *m, int64_t i)
{
    const int64_t row = block_of(m, i)->weight_row[i % RF_LINEARS];
    return row >= 0 && m->params.row[row].trained;
}

static int is_changed(const rf_decoder *m, int64_t i)
{
    const rf_shape *shape = &block_of(m, i)->linear[i % RF_LINEARS].shape;
    if (shape->rows * shape->cols == 0) return 0; /* nothing is left of it */
    return block_of(m, i)->adapter_row[i % RF_LINEARS] >= 0 || is_trained(m, i);
}

static void describe(spectrum_item *item, rf_spectrum_module *result, const rf_decoder *m,
                     int64_t i)
{
    const rf_block *block = block_of(m, i);
    const int kind = (int)(i % RF_LINEARS), has = block->adapter_row[kind] >= 0;
    const rf_linear *linear = &block->linear[kind];
    const int64_t rows = linear->shape.rows, cols = linear->shape.cols;
    *item = (spectrum_item){
        .linear = linear, .adapter = has ? &block->bound[kind] : NULL, .result = result};
    memcpy(item->name, linear->name, strlen(linear->name) - strlen(".weight"));
    *result = (rf_spectrum_module){.n = rows < cols ? rows : cols,
                                   .module = {.name = item->name,
                                              .kind = strrchr(item->name, '.') + 1,
                                              .layer = i / RF_LINEARS,
                                              .d_in = cols,
                                              .d_out = rows,
                                              .r = has ? block->adapter[kind].r : 0}};
    result->top = result->n < RF_SPECTRUM_TOP ? result->n : RF_SPECTRUM_TOP;
}

static rf_status keep_before(spectrum_list *list, spectrum_item *item, const rf_session *s,
                             int64_t i)
{
    if (item->adapter) return RF_OK;
    const size_t bytes =
        (size_t)rf_local_items(&item->linear->shape, s->grid.slice_begin, s->grid.slice_end) *
        sizeof(rf_real);
    list->before[i] = malloc(bytes + 1);
    if (!list->before[i]) return rf_fail(RF_RESOURCES, "no memory to keep the base weights");
    memcpy(list->before[i], item->linear->w, bytes);
    item->before = list->before[i];
    return RF_OK;
}

/* One array for the numbers of all; a module's own stand together. */
static rf_status take_numbers(spectrum_list *list)
{
    int64_t count = 0;
    for (int64_t i = 0; i < list->count; i++)
        count += RF_SPECTRUM_PARTS * list->result[i].n + list->result[i].top;
    list->numbers = calloc((size_t)count + 1, sizeof *list->numbers);
    if (!list->numbers) return rf_fail(RF_RESOURCES, "no memory for singular values");
    double *at = list->numbers;
    for (int64_t i = 0; i < list->count; i++) {
        rf_spectrum_module *result = &list->result[i];
        for (int part = 0; part < RF_SPECTRUM_PARTS; part++, at += result->n)
            result->sigma[part] = at;
        result->cosine = at;
        at += result->top;
    }
    return RF_OK;
}

rf_status spectrum_list_make(spectrum_list *list, const rf_session *s)
{
    const rf_decoder *m = s->decoder;
    list->linears = m->config.layers * RF_LINEARS;
    list->item = calloc((size_t)list->linears, sizeof *list->item);
    list->result = calloc((size_t)list->linears, sizeof *list->result);
    list->before = calloc((size_t)list->linears, sizeof *list->before);
    if (!list->item || !list->result || !list->before)
        return rf_fail(RF_RESOURCES, "no memory for a list of modules");
    for (int64_t i = 0; i < list->linears; i++) {
        if (!is_changed(m, i)) continue;
        spectrum_item *item = &list->item[list->count];
        describe(item, &list->result[list->count++], m, i);
        RF_TRY(keep_before(list, item, s, i));
    }
    if (list->count > 0) return take_numbers(list);
    return rf_fail(RF_USAGE,
                   "method '%s' has changed no weight matrix: there is no spectrum to compare "
                   "(method). Name a run that trains adapters, or all weights",
                   rf_config_string(s->trained, "method"));
}

void spectrum_list_destroy(spectrum_list *list)
{
    for (int64_t i = 0; list->before && i < list->linears; i++) free(list->before[i]);
    free(list->before);
    free(list->item);
    free(list->result);
    free(list->numbers);
}
