#include "refract/io/spectrum.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "refract/base/file.h"
#include "refract/linalg/spectrum.h"
#include "refract/store/h5.h"

enum { TEXT = 192 };

/* The file being written, and room for its largest dataset. */
typedef struct writing {
    rf_h5 *file;
    const rf_spectrum_module *module;
    int64_t count, widest;
    void *room; /* owned */
} writing;

static const struct {
    const char *name, *symbol;
} parts[RF_SPECTRUM_PARTS] = {
    {"base", "W0, what training started from"},
    {"update", "dW, what training has changed"},
    {"tuned", "W0 + dW, the merged weight"},
};

const char *rf_spectrum_part_name(rf_spectrum_part part)
{
    return parts[part].name;
}

int64_t rf_spectrum_intruders(const rf_spectrum_module *module)
{
    int64_t count = 0;
    for (int64_t k = 0; k < module->top; k++) count += module->cosine[k] < RF_SPECTRUM_COSINE;
    return count;
}

static rf_status put(writing *w, const char *path, const rf_h5_layout *layout, const char *unit,
                     const char *description)
{
    RF_TRY(rf_h5_create_set(w->file, path, layout));
    RF_TRY(rf_h5_describe(w->file, path, unit, description));
    return rf_h5_write(w->file, path, layout->dtype, NULL, NULL, w->room);
}

static rf_status put_text(writing *w, const char *path, const char *description,
                          const char *(*of)(const rf_spectrum_module *))
{
    rf_h5_set *set = NULL;
    rf_h5_layout layout = rf_h5_vector(RF_F64, w->count);
    layout.text = TEXT;
    char *packed = w->room;
    memset(packed, 0, (size_t)w->count * TEXT);
    for (int64_t i = 0; i < w->count; i++)
        snprintf(packed + i * TEXT, TEXT, "%s", of(&w->module[i]));
    RF_TRY(rf_h5_create_set(w->file, path, &layout));
    RF_TRY(rf_h5_describe(w->file, path, "1", description));
    RF_TRY(rf_h5_set_open(&set, w->file, path));
    const rf_status status = rf_h5_set_write_text(set, 0, w->count, packed);
    rf_h5_set_close(&set);
    return status;
}

static rf_status put_ints(writing *w, const char *path, const char *unit, const char *description,
                          int64_t (*of)(const rf_spectrum_module *))
{
    const rf_h5_layout layout = rf_h5_vector(RF_I64, w->count);
    int64_t *values = w->room;
    for (int64_t i = 0; i < w->count; i++) values[i] = of(&w->module[i]);
    return put(w, path, &layout, unit, description);
}

static const char *name_of(const rf_spectrum_module *m)
{
    return m->module.name;
}

static const char *kind_of(const rf_spectrum_module *m)
{
    return m->module.kind;
}

static const char *solver_of(const rf_spectrum_module *m)
{
    return m->is_spread ? "scalapack" : "lapack";
}

static int64_t layer_of(const rf_spectrum_module *m)
{
    return m->module.layer;
}

static int64_t d_in_of(const rf_spectrum_module *m)
{
    return m->module.d_in;
}

static int64_t d_out_of(const rf_spectrum_module *m)
{
    return m->module.d_out;
}

static int64_t r_of(const rf_spectrum_module *m)
{
    return m->module.r;
}

static rf_status put_modules(writing *w)
{
    RF_TRY(put_text(w, "/modules/name", "of the module, as in the model's files", name_of));
    RF_TRY(put_text(w, "/modules/kind", "last part of the name", kind_of));
    RF_TRY(put_text(w, "/modules/solver", "library that factorised it", solver_of));
    RF_TRY(put_ints(w, "/modules/layer", "1", "block, from 0", layer_of));
    RF_TRY(put_ints(w, "/modules/d_in", "1", "input features", d_in_of));
    RF_TRY(put_ints(w, "/modules/d_out", "1", "output features", d_out_of));
    return put_ints(w, "/modules/r", "1", "rank of the adapter, 0 without", r_of);
}

/* [modules, width] from one array of each module; NaN where it is shorter. */
static void fill_rows(writing *w, int64_t width, int part)
{
    double *values = w->room;
    for (int64_t i = 0; i < w->count; i++) {
        const rf_spectrum_module *m = &w->module[i];
        const double *from = part < RF_SPECTRUM_PARTS ? m->sigma[part] : m->cosine;
        const int64_t n = part < RF_SPECTRUM_PARTS ? m->n : m->top;
        for (int64_t k = 0; k < width; k++) values[i * width + k] = k < n ? from[k] : NAN;
    }
}

static rf_status put_part(writing *w, int part)
{
    char path[64], text[160];
    double *effective = w->room;
    snprintf(path, sizeof path, "/%s/singular_values", parts[part].name);
    snprintf(text, sizeof text, "singular values of %s, descending; NaN beyond min(d_in, d_out)",
             parts[part].symbol);
    const rf_h5_layout all = rf_h5_matrix(RF_F64, w->count, w->widest);
    fill_rows(w, w->widest, part);
    RF_TRY(put(w, path, &all, "1", text));
    for (int64_t i = 0; i < w->count; i++)
        effective[i] = rf_effective_rank(w->module[i].sigma[part], w->module[i].n);
    const rf_h5_layout one = rf_h5_vector(RF_F64, w->count);
    snprintf(path, sizeof path, "/%s/effective_rank", parts[part].name);
    RF_TRY(put(w, path, &one, "1",
               "exp of the entropy of sigma / sum sigma (Roy, Vetterli 2007); 0 for zeros"));
    int64_t *energy = w->room;
    for (int64_t i = 0; i < w->count; i++)
        energy[i] = rf_energy_rank(w->module[i].sigma[part], w->module[i].n, RF_SPECTRUM_ENERGY);
    const rf_h5_layout whole = rf_h5_vector(RF_I64, w->count);
    snprintf(path, sizeof path, "/%s/energy_rank", parts[part].name);
    return put(w, path, &whole, "1",
               "least number of singular values that hold 99 % of the sum of squares");
}

static rf_status put_directions(writing *w)
{
    const rf_h5_layout layout = rf_h5_matrix(RF_F64, w->count, RF_SPECTRUM_TOP);
    fill_rows(w, RF_SPECTRUM_TOP, RF_SPECTRUM_PARTS);
    RF_TRY(put(w, "/tuned/cosine", &layout, "1",
               "of each leading left singular vector of W0 + dW, the largest |cosine| to any of "
               "W0's; NaN beyond min(d_in, d_out)"));
    return put_ints(w, "/tuned/intruders", "1",
                    "directions with a cosine below 0.6 (Shuttleworth et al. 2024, "
                    "arXiv:2410.21228)",
                    rf_spectrum_intruders);
}

static rf_status put_attributes(writing *w, const rf_attribute *attributes, int64_t count)
{
    char created[32];
    struct tm utc;
    const time_t now = time(NULL);
    strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    RF_TRY(rf_h5_put_text(w->file, "/", "schema", "refract/spectrum"));
    RF_TRY(rf_h5_put_int(w->file, "/", "schema_version", 1));
    RF_TRY(rf_h5_put_text(w->file, "/", "created_utc", created));
    for (int64_t i = 0; i < count; i++)
        RF_TRY(attributes[i].text
                   ? rf_h5_put_text(w->file, "/", attributes[i].name, attributes[i].text)
                   : rf_h5_put_int(w->file, "/", attributes[i].name, attributes[i].number));
    return RF_OK;
}

static rf_status write_all(writing *w, const rf_attribute *attributes, int64_t count)
{
    RF_TRY(put_attributes(w, attributes, count));
    RF_TRY(put_modules(w));
    for (int part = 0; part < RF_SPECTRUM_PARTS; part++) RF_TRY(put_part(w, part));
    return put_directions(w);
}

rf_status rf_spectrum_write(const char *path, const rf_spectrum_module *modules, int64_t count,
                            const rf_attribute *attributes, int64_t attribute_count)
{
    char temporary[PATH_MAX];
    writing w = {.module = modules, .count = count, .widest = RF_SPECTRUM_TOP};
    RF_TRY(rf_file_temporary(temporary, sizeof temporary, path));
    for (int64_t i = 0; i < count; i++)
        if (modules[i].n > w.widest) w.widest = modules[i].n;
    w.room = malloc((size_t)count * (size_t)(8 * w.widest + TEXT));
    if (!w.room) return rf_fail(RF_RESOURCES, "no memory to write '%s'", path);
    rf_status status = rf_h5_open(&w.file, temporary, RF_H5_CREATE, MPI_COMM_NULL);
    if (status == RF_OK) status = write_all(&w, attributes, attribute_count);
    const rf_status closed = rf_h5_close(&w.file);
    if (status == RF_OK) status = closed;
    free(w.room);
    if (status == RF_OK) return rf_file_publish(temporary, path);
    unlink(temporary);
    return status;
}
