/* The model that a prune has left, as a folder of its own. */
#include <stdio.h>

#include "export_parts.h"
#include "refract/comm/agree.h"

int rf_export_fits_pruned(const rf_session *s)
{
    return s->pruning && rf_pruning_is_uniform(s->pruning);
}

/* The sizes that are left. */
static rf_model_config model_left(const rf_session *s, rf_dtype dtype)
{
    rf_model_config model = s->model;
    model.kv_heads = rf_layer_kv_heads(&s->model, s->pruning, 0);
    model.heads = model.kv_heads * s->pruning->group;
    model.d_ff = rf_layer_d_ff(&s->model, s->pruning, 0);
    export_name_dtype(&model, dtype);
    return model;
}

rf_status rf_export_pruned(const rf_session *s, const char *folder, rf_dtype dtype)
{
    if (!s->pruning)
        return rf_fail(RF_USAGE,
                       "there is no pruned model to write to '%s': nothing was pruned. "
                       "Train with method light first",
                       folder);
    if (!rf_pruning_is_uniform(s->pruning))
        return rf_fail(
            RF_USAGE,
            "the pruned layers differ in size, which a model folder cannot say (%s). "
            "Use light.neuron_scope: layer, or --format peft: the adapter for the whole model",
            folder);
    const rf_model_config model = model_left(s, dtype);
    rf_decoder_prepare(s->decoder);
    RF_TRY_ALL(s->world, s->grid.rank == 0 ? rf_export_side_files(s, &model, folder) : RF_OK);
    return export_write_merged(s, folder, dtype);
}
