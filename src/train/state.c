#include "refract/train/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rf_version.h"

static void add(rf_field *fields, int64_t *count, const char *path, const rf_param *row,
                rf_real *data)
{
    rf_field *field = &fields[(*count)++];
    snprintf(field->path, sizeof field->path, "%s", path);
    field->shape = row->shape;
    field->dtype = RF_DTYPE_REAL;
    field->data = data;
}

/* "/adapter/m/A" -> "/optimizer/m/A/m"; "/model/t" -> "/optimizer/t/m". */
static void moment_path(char *path, size_t bytes, const char *value_path, const char *moment)
{
    const char *below = strchr(value_path + 1, '/');
    snprintf(path, bytes, "/optimizer%s/%s", below ? below : value_path, moment);
}

rf_status rf_state_fields(const rf_params *params, int with_moments, rf_field **fields,
                          int64_t *count)
{
    *count = 0;
    *fields = calloc((size_t)params->count * 3 + 1, sizeof **fields);
    if (!*fields) return rf_fail(RF_RESOURCES, "no memory for the table of state");
    for (int64_t i = 0; i < params->count; i++) {
        const rf_param *row = &params->row[i];
        char path[256];
        if (!row->trained) continue;
        add(*fields, count, row->path, row, params->value + row->offset);
        if (!with_moments) continue;
        moment_path(path, sizeof path, row->path, "m");
        add(*fields, count, path, row, params->moment1 + row->offset);
        moment_path(path, sizeof path, row->path, "v");
        add(*fields, count, path, row, params->moment2 + row->offset);
    }
    return RF_OK;
}

int rf_origin_attributes(const rf_origin *origin, rf_attribute attributes[RF_ORIGIN_ATTRIBUTES])
{
    const rf_attribute all[RF_ORIGIN_ATTRIBUTES] = {
        {.name = "software_version", .text = RF_VERSION},
        {.name = "git_commit", .text = RF_GIT_COMMIT},
        {.name = "command_line", .text = origin->command_line},
        {.name = "config", .text = origin->config},
        {.name = "base_digest", .text = origin->base_digest},
        {.name = "data_digest", .text = origin->data_digest},
        {.name = "hosts", .text = origin->hosts},
        {.name = "blas", .text = origin->blas},
        {.name = "program", .text = origin->program},
        {.name = "ranks", .number = origin->ranks},
        {.name = "threads", .number = origin->threads},
    };
    memcpy(attributes, all, sizeof all);
    return RF_ORIGIN_ATTRIBUTES;
}

static rf_status check_digest(const rf_checkpoint *checkpoint, const char *name, const char *what,
                              const char *now)
{
    const char *then = rf_checkpoint_attribute(checkpoint, name);
    if (then && strcmp(then, now) == 0) return RF_OK;
    return rf_fail(RF_CONFLICT,
                   "the checkpoint '%s' was made with %s: its %s is %.16s..., now it is %.16s.... "
                   "Put the old one back or choose another output",
                   rf_checkpoint_path(checkpoint), what, name, then ? then : "(none)", now);
}

static void warn_of_other(const rf_checkpoint *checkpoint, const char *name, const char *what,
                          const char *now, rf_log *log)
{
    const char *then = rf_checkpoint_attribute(checkpoint, name);
    if (log->rank != 0 || !then || strcmp(then, now) == 0) return;
    rf_log_warning(log,
                   "the checkpoint '%s' was made with %s (%.60s; now %.60s): the last bits may "
                   "differ from a run in one piece",
                   rf_checkpoint_path(checkpoint), what, then, now);
}

rf_status rf_state_check(const rf_checkpoint *checkpoint, const rf_config *config,
                         const rf_origin *origin, rf_log *log)
{
    warn_of_other(checkpoint, "blas", "other BLAS kernels", origin->blas, log);
    warn_of_other(checkpoint, "program", "another build of refract", origin->program, log);
    const char *before = rf_checkpoint_attribute(checkpoint, "config");
    RF_TRY(rf_config_check_resume(config, before ? before : "", rf_checkpoint_path(checkpoint)));
    RF_TRY(check_digest(checkpoint, "base_digest", "another base model", origin->base_digest));
    return check_digest(checkpoint, "data_digest", "other data", origin->data_digest);
}
