/* Checkpoints of a run. */
#include <stdlib.h>

#include "refract/comm/agree.h"
#include "refract/io/checkpoint.h"
#include "train_parts.h"

rf_origin training_origin(const training *t)
{
    return (rf_origin){.config = t->yaml,
                       .base_digest = t->session.base_digest,
                       .data_digest = t->samples->digest,
                       .command_line = t->env->command_line,
                       .hosts = t->hosts,
                       .blas = t->env->blas,
                       .program = t->env->program,
                       .ranks = t->session.grid.size,
                       .threads = t->env->threads};
}

double training_checkpoint_bytes(const training *t)
{
    return 3.0 * (double)rf_params_trained_global(&t->session.decoder->params) * sizeof(rf_real);
}

/* Everything that a checkpoint after `step` updates holds; fields->item is owned by the caller. */
static rf_status list_state(const training *t, int64_t step, rf_fields *fields)
{
    *fields = (rf_fields){0};
    RF_TRY(rf_state_fields(&t->session.decoder->params, 1, &fields->item, &fields->count));
    fields->capacity = fields->count;
    if (t->session.pruning) RF_TRY(rf_session_pruning_fields(t->session.pruning, fields));
    return rf_methods_fields(&t->trainer.methods, step - t->trainer.first, fields);
}

rf_status training_save(training *t)
{
    if (t->saved_step == t->trainer.step) return RF_OK;
    const double start = rf_clock_seconds();
    rf_fields fields;
    rf_status status = rf_agree(t->env->world, list_state(t, t->trainer.step, &fields));
    rf_attribute attributes[RF_ORIGIN_ATTRIBUTES + 1];
    const rf_origin origin = training_origin(t);
    int n = rf_origin_attributes(&origin, attributes);
    attributes[n++] = (rf_attribute){.name = "evaluated_step", .number = t->evaluated_step};
    if (status == RF_OK)
        status =
            rf_checkpoint_write(&t->session.grid, t->log, rf_run_folder_checkpoints(t->run.folder),
                                t->trainer.step, fields.item, fields.count, attributes, n,
                                (int)rf_config_int(t->config, "checkpoint.keep"));
    free(fields.item);
    RF_TRY(status);
    t->saved_step = t->trainer.step;
    t->saved_at = rf_clock_seconds();
    if (t->saved_at - start > t->save_seconds) t->save_seconds = t->saved_at - start;
    return RF_OK;
}

static rf_status read_state(training *t, const rf_checkpoint *checkpoint)
{
    rf_fields fields;
    const rf_origin origin = training_origin(t);
    RF_TRY_ALL(t->env->world, rf_state_check(checkpoint, t->config, &origin, t->log));
    rf_status status =
        rf_agree(t->env->world, list_state(t, rf_checkpoint_step(checkpoint), &fields));
    if (status == RF_OK)
        status = rf_checkpoint_read(checkpoint, &t->session.grid, fields.item, fields.count);
    free(fields.item);
    RF_TRY(status);
    t->trainer.step = t->saved_step = rf_checkpoint_step(checkpoint);
    t->evaluated_step = rf_checkpoint_number(checkpoint, "evaluated_step", -1);
    rf_log_info(t->log, "resuming after step %lld of %lld from %s", (long long)t->trainer.step,
                (long long)t->steps, rf_checkpoint_path(checkpoint));
    return RF_OK;
}

rf_status training_find_state(training *t)
{
    rf_session *s = &t->session;
    RF_TRY(rf_checkpoint_open_newest(&t->checkpoint, &s->grid, t->log,
                                     rf_run_folder_checkpoints(t->run.folder)));
    if (!t->checkpoint || t->estimation == 0) return RF_OK;
    RF_TRY(rf_session_follow(s, t->checkpoint));
    return s->pruning ? training_plan_stage(t) : RF_OK;
}

rf_status training_restore(training *t)
{
    if (!t->checkpoint) return RF_OK;
    const rf_status status = read_state(t, t->checkpoint);
    rf_checkpoint_close(&t->checkpoint);
    return status;
}
