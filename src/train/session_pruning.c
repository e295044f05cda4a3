/* Sessions of a method with a prune: the stage that a checkpoint is of. */
#include <stdlib.h>

#include "refract/comm/agree.h"
#include "refract/method/light.h"
#include "session_parts.h"

static const char groups_path[] = "/pruning/groups", neurons_path[] = "/pruning/neurons",
                  ranks_path[] = "/pruning/ranks";

rf_status rf_session_pruning_fields(const rf_pruning *p, rf_fields *fields)
{
    RF_TRY(rf_fields_add(fields, rf_shape_replicated(p->layers, p->kv_heads), RF_U8, p->group_kept,
                         groups_path));
    RF_TRY(rf_fields_add(fields, rf_shape_replicated(p->layers, p->d_ff), RF_U8, p->neuron_kept,
                         neurons_path));
    return rf_fields_add(fields, rf_shape_replicated(p->layers, RF_LINEARS), RF_I64, p->rank,
                         ranks_path);
}

/* What the checkpoint says was kept, of a model of this shape. */
static rf_status read_pruning(rf_session *s, const rf_checkpoint *checkpoint)
{
    rf_fields fields = {0};
    rf_grid grid; /* any will do: the fields are replicated */
    rf_status status = rf_pruning_create(&s->pruning, &s->model);
    if (status == RF_OK) status = rf_session_pruning_fields(s->pruning, &fields);
    RF_TRY_ALL(s->world, status);
    status = rf_grid_create(&grid, s->world, 1, 1);
    if (status == RF_OK) {
        status = rf_checkpoint_read(checkpoint, &grid, fields.item, fields.count);
        rf_grid_destroy(&grid);
    }
    free(fields.item);
    return status;
}

rf_status rf_session_follow(rf_session *s, const rf_checkpoint *checkpoint)
{
    int64_t layers = 0, groups = 0;
    if (rf_light_steps(s->trained) == 0) return RF_OK;
    s->is_estimating = !rf_checkpoint_has(checkpoint, groups_path, &layers, &groups);
    rf_pruning_destroy(&s->pruning);
    if (s->is_estimating || layers != s->model.layers || groups != s->model.kv_heads) return RF_OK;
    return read_pruning(s, checkpoint);
}
