/* The trained model, or its adapter alone, as files of llama.cpp. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export_parts.h"
#include "refract/comm/agree.h"
#include "refract/io/gguf_write.h"

/* The tensors of a file, under its names. */
typedef struct table {
    rf_field *fields; /* [count] owned */
    rf_dtype *dtype;  /* [count] owned, as the next ones */
    int64_t *head;
    uint8_t *matrix;
    double *factor; /* [count] what the numbers are multiplied by */
    int64_t count;
    rf_real *scratch; /* owned */
    const rf_grid *grid;
    export_merging *merging; /* borrowed */
    rf_real *rope;           /* factors of the rotary frequencies; owned; NULL: none */
} table;

static void table_free(table *t)
{
    free(t->fields);
    free(t->dtype);
    free(t->head);
    free(t->matrix);
    free(t->factor);
    free(t->scratch);
    free(t->rope);
}

static rf_status table_take(table *t, const rf_field *fields, int64_t count)
{
    const size_t n = (size_t)count + 1;
    t->fields = calloc(n, sizeof *t->fields);
    t->dtype = calloc(n, sizeof *t->dtype);
    t->head = calloc(n, sizeof *t->head);
    t->matrix = calloc(n, sizeof *t->matrix);
    t->factor = calloc(n, sizeof *t->factor);
    if (!t->fields || !t->dtype || !t->head || !t->matrix || !t->factor)
        return rf_fail(RF_RESOURCES, "no memory for a list of tensors");
    memcpy(t->fields, fields, (size_t)count * sizeof *fields);
    t->count = count;
    for (int64_t i = 0; i < count; i++) t->factor[i] = 1;
    return RF_OK;
}

static rf_status rename_field(table *t, int64_t i, const char *hf, const char *tail, int64_t d_head)
{
    char name[sizeof t->fields[i].path];
    int interleaved = 0;
    if (!rf_gguf_tensor_name(name, sizeof name, hf, &interleaved))
        return rf_fail(RF_USAGE, "'%s' has no name in a GGUF file (--format). Use --format merged",
                       hf);
    snprintf(t->fields[i].path, sizeof t->fields[i].path, "%.200s%s", name, tail);
    t->head[i] = interleaved ? d_head : 0;
    return RF_OK;
}

/* Matrices in the type asked for; rows that do not fill blocks in f16; vectors in f32. */
static rf_dtype type_of(const rf_shape *shape, rf_dtype dtype)
{
    if (shape->cols == 1) return RF_F32;
    return shape->cols % rf_dtype_block(dtype) == 0 ? dtype : RF_F16;
}

static rf_status fill_model(void *context, int64_t index, const void **data)
{
    const table *t = context;
    if (index < t->merging->count) return export_merging_fill(t->merging, index, data);
    *data = t->rope;
    return RF_OK;
}

/* Llama 3's stretched frequencies stand in the file as factors. */
static rf_status add_rope(table *t, const rf_model_config *c)
{
    const int64_t n = c->d_head / 2;
    const rf_rope plain = {.theta = c->rope.theta};
    if (c->rope.kind != RF_ROPE_LLAMA3) return RF_OK;
    double *w = malloc((size_t)(2 * n + 1) * sizeof *w);
    t->rope = malloc((size_t)(n + 1) * sizeof *t->rope);
    if (!w || !t->rope) {
        free(w);
        return rf_fail(RF_RESOURCES, "no memory for rotary frequencies");
    }
    rf_rope_frequencies(w, &plain, c->d_head);
    rf_rope_frequencies(w + n, &c->rope, c->d_head);
    for (int64_t i = 0; i < n; i++) t->rope[i] = (rf_real)(w[i] / w[n + i]);
    free(w);
    rf_field *field = &t->fields[t->count];
    *field = (rf_field){.shape = rf_shape_replicated(n, 1), .dtype = RF_DTYPE_REAL};
    snprintf(field->path, sizeof field->path, "rope_freqs.weight");
    t->dtype[t->count++] = RF_F32;
    return RF_OK;
}

static rf_status prepare_model(table *t, export_merging *g, const rf_session *s, rf_dtype dtype)
{
    t->merging = g;
    RF_TRY(export_merging_open(g, s->decoder));
    RF_TRY(table_take(t, g->fields, g->count));
    for (int64_t i = 0; i < g->count; i++) {
        RF_TRY(rename_field(t, i, g->fields[i].path, "", s->model.d_head));
        t->dtype[i] = type_of(&g->fields[i].shape, dtype);
    }
    return add_rope(t, &s->model);
}

/* llama.cpp's number for the type of most tensors. */
static int64_t file_type(rf_dtype dtype)
{
    return dtype == RF_F16 ? 1 : dtype == RF_Q8_0 ? 7 : dtype == RF_BF16 ? 32 : 0;
}

/* Everything the base's file says but how its tensors are stored. */
static rf_status copy_metadata(rf_gguf_metadata *m, const char *path)
{
    static const char *const own[] = {"general.file_type", "general.alignment", "split.no",
                                      "split.count", "split.tensors.count"};
    rf_gguf *g = NULL;
    RF_TRY(rf_gguf_open(&g, path));
    for (int64_t i = 0; i < rf_gguf_count(g); i++) {
        const rf_gguf_value *value = rf_gguf_at(g, i);
        int is_own = 0;
        for (size_t k = 0; k < sizeof own / sizeof own[0]; k++)
            is_own |= strcmp(value->key, own[k]) == 0;
        if (!is_own) rf_gguf_put_value(m, value);
    }
    rf_gguf_close(&g);
    return RF_OK;
}

static rf_status fill_metadata(rf_gguf_metadata *m, const rf_session *s, rf_dtype dtype)
{
    const char *path = rf_config_string(s->config, "model.path");
    RF_TRY(rf_gguf_metadata_open(m));
    if (rf_gguf_recognises(path)) {
        RF_TRY(copy_metadata(m, path));
    } else {
        char folder[PATH_MAX];
        export_tokenizer_folder(s, folder);
        rf_gguf_put_model(m, &s->model);
        RF_TRY(rf_gguf_put_tokenizer(m, &s->model, folder));
        rf_gguf_put_whole(m, "general.quantization_version", 2);
    }
    rf_gguf_put_whole(m, "general.file_type", file_type(dtype));
    return RF_OK;
}

static rf_status write_table(const table *t, const rf_session *s, const char *folder,
                             const char *name, rf_gguf_metadata *metadata, rf_field_fill *fill)
{
    char path[PATH_MAX];
    const rf_gguf_options options = {.metadata = metadata,
                                     .dtype = t->dtype,
                                     .head = t->head,
                                     .matrix = t->matrix,
                                     .fill = fill,
                                     .context = (void *)(uintptr_t)t};
    snprintf(path, sizeof path, "%.4000s/%s", folder, name);
    return rf_gguf_write(&s->grid, path, t->fields, t->count, &options);
}

rf_status export_write_gguf(const rf_session *s, const char *folder, rf_dtype dtype)
{
    table t = {.grid = &s->grid};
    export_merging merging = {0};
    rf_gguf_metadata metadata = {0};
    rf_status status = prepare_model(&t, &merging, s, dtype);
    if (status == RF_OK && s->grid.rank == 0) status = fill_metadata(&metadata, s, dtype);
    status = rf_agree(s->world, status);
    if (status == RF_OK) status = write_table(&t, s, folder, "model.gguf", &metadata, fill_model);
    rf_gguf_metadata_close(&metadata);
    export_merging_close(&merging);
    table_free(&t);
    return status;
}

/* s r of a module: alpha of a file whose scale is alpha / r. */
static double alpha_of(const rf_peft_module *module, int use_rslora)
{
    return use_rslora ? module->alpha * sqrt((double)module->r) : module->alpha;
}

static const rf_peft_module *module_of(const export_outgoing *out, const char *path, size_t length)
{
    for (int64_t i = 0; i < out->count_linears; i++)
        if (strlen(out->modules[i].path) == length &&
            memcmp(out->modules[i].path, path, length) == 0)
            return &out->modules[i];
    return NULL;
}

static rf_status cannot_hold(const char *what)
{
    return rf_fail(RF_USAGE,
                   "an adapter of llama.cpp cannot hold %s (--format gguf-adapter). Use --format "
                   "gguf: the whole model",
                   what);
}

/* One factor: its name, and what B takes over from a scale that is not the file's. */
static rf_status prepare_factor(table *t, int64_t i, const export_outgoing *out, int use_rslora,
                                double *alpha, int64_t d_head)
{
    char hf[RF_NAME_BYTES];
    const char *path = t->fields[i].path, *suffix = strstr(path, ".lora_A.weight");
    const int is_b = !suffix;
    if (!suffix) suffix = strstr(path, ".lora_B.weight");
    if (!suffix) return cannot_hold(strstr(path, ".lora_magnitude") ? "DoRA's magnitudes" : path);
    const rf_peft_module *module = module_of(out, path, (size_t)(suffix - path));
    RF_ASSERT(module, "no module for '%s'", path);
    snprintf(hf, sizeof hf, "%.*s.weight", (int)(suffix - path), path);
    if (*alpha == 0) *alpha = (double)(float)alpha_of(module, use_rslora);
    const double factor = alpha_of(module, use_rslora) / *alpha;
    RF_TRY(rename_field(t, i, hf, is_b ? ".lora_b" : ".lora_a", d_head));
    t->matrix[i] = 1;
    t->dtype[i] = RF_F32;
    if (!is_b) t->head[i] = 0;
    if (is_b && fabs(factor - 1) > 1e-7) t->factor[i] = factor;
    return RF_OK;
}

static rf_status prepare_adapter(table *t, const export_outgoing *out, const rf_session *s,
                                 double *alpha)
{
    const rf_grid *grid = &s->grid;
    const int use_rslora = export_common_options(s).use_rslora;
    int64_t most = 1;
    RF_TRY(table_take(t, out->fields, out->count));
    for (int64_t i = 0; i < t->count; i++) {
        const int64_t items =
            rf_local_items(&t->fields[i].shape, grid->slice_begin, grid->slice_end);
        if (items > most) most = items;
        RF_TRY(prepare_factor(t, i, out, use_rslora, alpha, s->model.d_head));
    }
    t->scratch = malloc((size_t)most * sizeof *t->scratch);
    return t->scratch ? RF_OK : rf_fail(RF_RESOURCES, "no memory for factors");
}

static rf_status fill_factor(void *context, int64_t index, const void **data)
{
    const table *t = context;
    const rf_field *field = &t->fields[index];
    *data = field->data;
    if (t->factor[index] == 1 || !field->data) return RF_OK;
    const int64_t items = rf_local_items(&field->shape, t->grid->slice_begin, t->grid->slice_end);
    const rf_real *from = field->data;
    for (int64_t i = 0; i < items; i++)
        t->scratch[i] = (rf_real)((double)from[i] * t->factor[index]);
    *data = t->scratch;
    return RF_OK;
}

static rf_status adapter_metadata(rf_gguf_metadata *m, double alpha)
{
    RF_TRY(rf_gguf_metadata_open(m));
    rf_gguf_put_text(m, "general.architecture", "llama");
    rf_gguf_put_text(m, "general.type", "adapter");
    rf_gguf_put_text(m, "adapter.type", "lora");
    rf_gguf_put_number(m, "adapter.lora.alpha", alpha);
    rf_gguf_put_whole(m, "general.file_type", file_type(RF_F32));
    return RF_OK;
}

rf_status export_write_gguf_adapter(const rf_session *s, const char *folder)
{
    table t = {.grid = &s->grid};
    export_outgoing out;
    rf_gguf_metadata metadata = {0};
    double alpha = 0;
    rf_status status = export_outgoing_open(&out, s);
    if (status == RF_OK) {
        status = prepare_adapter(&t, &out, s, &alpha);
        if (status == RF_OK && s->grid.rank == 0) status = adapter_metadata(&metadata, alpha);
        status = rf_agree(s->world, status);
    }
    if (status == RF_OK)
        status = write_table(&t, s, folder, "adapter.gguf", &metadata, fill_factor);
    rf_gguf_metadata_close(&metadata);
    export_outgoing_close(&out);
    table_free(&t);
    return status;
}
