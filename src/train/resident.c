#include "refract/train/resident.h"

#include <stdlib.h>
#include <string.h>

#include "refract/comm/agree.h"
#include "refract/comm/shared.h"
#include "refract/io/weights.h"
#include "refract/train/session.h"

/* The whole model, slice after slice within each tensor, as one rank with all slices holds it. */
struct rf_resident {
    char *path;    /* model.path; owned */
    rf_param *row; /* [count], data in the shared memory; owned */
    int64_t count;
    int slices;
    rf_shared shared;
    char digest[65];
};

static size_t bytes_of(const rf_params *params)
{
    size_t bytes = 0;
    for (int64_t i = 0; i < params->count; i++) bytes += rf_param_bytes(&params->row[i]);
    return bytes;
}

static void place(rf_params *params, char *base)
{
    for (int64_t i = 0; i < params->count; i++) {
        params->row[i].data = base;
        base += rf_param_bytes(&params->row[i]);
    }
}

static rf_status keep_table(rf_resident *resident, const rf_session *s)
{
    const rf_params *params = &s->decoder->params;
    resident->slices = s->grid.slices;
    resident->path = strdup(rf_config_string(s->config, "model.path"));
    resident->row = malloc((size_t)(params->count + 1) * sizeof *resident->row);
    if (!resident->path || !resident->row)
        return rf_fail(RF_RESOURCES, "no memory for the table of the shared base");
    memcpy(resident->row, params->row, (size_t)params->count * sizeof *resident->row);
    resident->count = params->count;
    return RF_OK;
}

/* Every rank makes the table by itself; one rank of each node reads the files. */
static rf_status fill(rf_resident *resident, rf_session *s, MPI_Comm world)
{
    const rf_bounds bounds = {.tokens = 1, .samples = 1, .length = 1, .leaves = 1};
    rf_params *params = NULL;
    const char *path = rf_config_string(s->config, "model.path");
    RF_TRY_ALL(world, rf_session_plan(s, &bounds, 0, 0));
    params = &s->decoder->params;
    RF_TRY(rf_shared_create(&resident->shared, world, bytes_of(params)));
    place(params, resident->shared.base);
    RF_TRY_ALL(world, resident->shared.is_writer
                          ? rf_weights_load(&s->grid, params, path, s->model.tied)
                          : RF_OK);
    rf_shared_publish(&resident->shared);
    RF_TRY_ALL(world, keep_table(resident, s));
    return rf_weights_digest(world, path, resident->digest);
}

static rf_status make(rf_resident *resident, rf_config *config, MPI_Comm world, rf_log *log)
{
    rf_session session;
    rf_config_resolve_int(config, "parallel.tensor", 1);
    rf_status status =
        rf_agree(world, rf_session_open(&session, config, config, log, MPI_COMM_SELF, 1));
    if (status == RF_OK) status = fill(resident, &session, world);
    rf_session_close(&session);
    return status;
}

rf_status rf_resident_create(rf_resident **resident, rf_config *config, MPI_Comm world, rf_log *log)
{
    *resident = NULL;
    if (rf_config_has_method(config, "full") || !rf_config_string(config, "model.path") ||
        strcmp(rf_config_string(config, "model.init"), "pretrained") != 0)
        return RF_OK;
    *resident = calloc(1, sizeof **resident);
    rf_status status =
        rf_agree(world, *resident ? RF_OK : rf_fail(RF_RESOURCES, "no memory for the shared base"));
    if (status == RF_OK) status = make(*resident, config, world, log);
    if (status != RF_OK) rf_resident_destroy(resident);
    return status;
}

void rf_resident_destroy(rf_resident **resident)
{
    if (!*resident) return;
    rf_shared_destroy(&(*resident)->shared);
    free((*resident)->row);
    free((*resident)->path);
    free(*resident);
    *resident = NULL;
}

static int has_shape(const rf_shape *a, const rf_shape *b)
{
    return a->rows == b->rows && a->cols == b->cols && a->split == b->split &&
           a->cut.units == b->cut.units && a->cut.unit == b->cut.unit &&
           a->cut.slices == b->cut.slices;
}

/* The tables have the base's rows in the same order, adapters' rows between them. */
static const rf_param *next_row(const rf_resident *resident, int64_t *at, const rf_param *wanted)
{
    for (; *at < resident->count; (*at)++) {
        const rf_param *row = &resident->row[*at];
        if (strcmp(row->name, wanted->name) == 0) return &resident->row[(*at)++];
    }
    return NULL;
}

static int serves(const rf_resident *resident, const rf_config *config, const rf_decoder *decoder)
{
    const rf_params *params = &decoder->params;
    int64_t at = 0, found = 0;
    if (decoder->grid->slices != resident->slices || rf_config_has_method(config, "light") ||
        strcmp(rf_config_string(config, "model.init"), "pretrained") != 0 ||
        strcmp(rf_config_string(config, "model.path"), resident->path) != 0)
        return 0;
    if (rf_decoder_moves_base(decoder)) return 0;
    for (int64_t i = 0; i < params->count; i++) {
        const rf_param *row = &params->row[i];
        if (row->adapter) continue;
        const rf_param *held = next_row(resident, &at, row);
        if (row->trained || !held || held->dtype != row->dtype ||
            !has_shape(&held->shape, &row->shape))
            return 0;
        found++;
    }
    return found == resident->count;
}

int rf_resident_lend(const rf_resident *resident, const rf_config *config, rf_decoder *decoder)
{
    int64_t at = 0;
    if (!resident || !serves(resident, config, decoder)) return 0;
    for (int64_t i = 0; i < decoder->params.count; i++) {
        rf_param *row = &decoder->params.row[i];
        if (row->adapter) continue;
        const rf_param *held = next_row(resident, &at, row);
        const int64_t offset = row->shape.split == RF_REPLICATED
                                   ? 0
                                   : rf_slice_offset(&row->shape, 0, decoder->grid->slice_begin);
        row->lent = (char *)held->data + rf_dtype_bytes(row->dtype, offset);
    }
    return 1;
}

const char *rf_resident_digest(const rf_resident *resident)
{
    return resident->digest;
}

size_t rf_resident_bytes(const rf_resident *resident)
{
    return resident->shared.size;
}
