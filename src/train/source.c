#include "source.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "refract/comm/agree.h"
#include "refract/io/gguf.h"
#include "refract/train/state.h"

static int is_folder_with(const char *path, const char *name)
{
    char below[PATH_MAX];
    snprintf(below, sizeof below, "%s/%s", path, name);
    return access(below, F_OK) == 0;
}

static rf_status open_run(source *from, const rf_grid *grid, rf_log *log, const char *folder)
{
    char checkpoints[PATH_MAX];
    snprintf(checkpoints, sizeof checkpoints, "%s/checkpoints", folder);
    return rf_checkpoint_open_newest(&from->checkpoint, grid, log, checkpoints);
}

/* eval.adapter: auto, none, a PEFT folder, a run folder or a checkpoint. */
static rf_status find(source *from, const rf_config *config, const rf_grid *grid, rf_log *log)
{
    const char *adapter = rf_config_string(config, "eval.adapter");
    const char *output = rf_config_string(config, "output");
    if (strcmp(adapter, "none") == 0) return RF_OK;
    if (strcmp(adapter, "auto") == 0) {
        /* one rank looks, so that all go the same way */
        int has = output && is_folder_with(output, "checkpoints");
        MPI_Bcast(&has, 1, MPI_INT, 0, grid->world);
        return has ? open_run(from, grid, log, output) : RF_OK;
    }
    const int is_peft =
        is_folder_with(adapter, "adapter_config.json") || rf_gguf_recognises(adapter);
    int kind = is_peft ? 1 : is_folder_with(adapter, "checkpoints") ? 2 : 3;
    MPI_Bcast(&kind, 1, MPI_INT, 0, grid->world);
    if (kind == 1) from->peft = adapter;
    if (kind == 1) return RF_OK;
    if (kind == 3) return rf_checkpoint_open(&from->checkpoint, grid, adapter);
    RF_TRY(open_run(from, grid, log, adapter));
    if (from->checkpoint) return RF_OK;
    return rf_fail(RF_INPUT,
                   "the run folder '%s' holds no usable checkpoint (eval.adapter). Train "
                   "first or name another",
                   adapter);
}

static rf_status read_trained_config(source *from)
{
    const char *path = rf_checkpoint_path(from->checkpoint);
    const char *text = rf_checkpoint_attribute(from->checkpoint, "config");
    if (!text) return rf_fail(RF_INPUT, "the checkpoint '%s' has no configuration", path);
    return rf_config_parse(&from->trained, text, strlen(text), path, NULL, 0);
}

rf_status source_find(source *from, const rf_config *config, const rf_environment *env)
{
    rf_grid grid; /* any grid will do to look at a checkpoint */
    RF_TRY(rf_grid_create(&grid, env->world, 1, (int)rf_config_int(config, "parallel.slices")));
    rf_status status = find(from, config, &grid, env->log);
    if (status == RF_OK && from->checkpoint)
        status = rf_agree(env->world, read_trained_config(from));
    rf_grid_destroy(&grid);
    RF_TRY(status);
    const char *path = from->checkpoint ? rf_checkpoint_path(from->checkpoint) : from->peft;
    rf_log_info(env->log, "adapter: %s", path ? path : "none, the base model");
    return RF_OK;
}

rf_status source_open_session(const source *from, rf_session *s, rf_config *config,
                              const rf_environment *env)
{
    RF_TRY(rf_session_open(s, config, from->trained ? from->trained : config, env->log, env->world,
                           env->threads));
    if (from->checkpoint) RF_TRY(rf_session_follow(s, from->checkpoint));
    const char *begun = from->trained ? rf_config_string(from->trained, "lora.start") : NULL;
    const char *folder = from->checkpoint ? begun : from->peft;
    return folder && !s->trains ? rf_session_start_from(s, folder) : RF_OK;
}

int source_has_weights(const source *from, const rf_session *s)
{
    return from->checkpoint || s->start;
}

rf_status source_read(const source *from, const rf_session *s)
{
    if (!from->checkpoint) return RF_OK;
    rf_field *fields = NULL;
    int64_t count = 0;
    RF_TRY_ALL(s->world, rf_state_fields(&s->decoder->params, 0, &fields, &count));
    const rf_status status = rf_checkpoint_read(from->checkpoint, &s->grid, fields, count);
    free(fields);
    return status;
}

void source_close(source *from)
{
    rf_checkpoint_close(&from->checkpoint);
    rf_config_destroy(&from->trained);
}
