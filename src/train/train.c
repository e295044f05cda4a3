#include "refract/train/train.h"

#include <stdlib.h>
#include <string.h>

#include "refract/comm/agree.h"
#include "refract/train/report.h"
#include "train_parts.h"

static int is_due(int64_t step, int64_t every)
{
    return every > 0 && step % every == 0;
}

/* Held-out loss of the present state, into the log and eval.json. */
static rf_status evaluate(training *t)
{
    RF_TRY(rf_evaluate(&t->evaluator, t->session.decoder, &t->run.watch, &t->evaluation));
    t->evaluated_step = t->trainer.step;
    rf_report_evaluation(t->log, &t->evaluation);
    RF_TRY(training_record_evaluation(t));
    return rf_report_write(t->env->world, rf_run_folder_path(t->run.folder), &t->evaluation,
                           "loss");
}

/* One step: gradients, clip, update. */
static rf_status take_step(training *t, rf_step_report *report)
{
    rf_real *gradient = NULL;
    memcpy(t->recorder.before, t->session.decoder->seconds, sizeof t->recorder.before);
    RF_TRY(rf_trainer_gradient(&t->trainer, report, &gradient));
    const char *path = rf_config_string(t->config, "train.gradients");
    if (path && t->trainer.step == 0) RF_TRY(training_write_gradients(t, path, gradient));
    rf_trainer_update(&t->trainer, report, gradient);
    training_record_ranks(t, report->step);
    rf_trainer_event(&t->trainer, report);
    t->steps_here++;
    t->tokens_here += report->tokens;
    t->step_seconds += report->seconds;
    for (int i = 0; i < RF_STEP_PHASES; i++) t->phase[i] += report->phase[i];
    t->run.watch.reserve = 2 * report->seconds + 2 * t->save_seconds + 1;
    return RF_OK;
}

/* checkpoint.every by steps; checkpoint.minutes by root's clock. Collective over world. */
static int save_is_due(const training *t)
{
    if (is_due(t->trainer.step, rf_config_int(t->config, "checkpoint.every"))) return 1;
    const double minutes = rf_config_number(t->config, "checkpoint.minutes");
    if (minutes <= 0) return 0;
    int due = rf_clock_seconds() - t->saved_at >= 60 * minutes;
    MPI_Bcast(&due, 1, MPI_INT, 0, t->env->world);
    return due;
}

/* Saves and leaves with code 75. */
static rf_status stop(training *t, rf_stop_reason reason)
{
    RF_TRY(training_save(t));
    return rf_run_stopped(reason, t->trainer.step);
}

/* An evaluation that a signal cuts short leaves the state saved and comes again after the resume.
 */
static rf_status evaluate_or_stop(training *t)
{
    const rf_status status = evaluate(t);
    return status == RF_STOPPED ? stop(t, rf_run_should_stop(&t->run)) : status;
}

static rf_status step_loop(training *t)
{
    const int64_t log_every = rf_config_int(t->config, "train.log_every");
    const int64_t eval_every = rf_config_int(t->config, "train.eval_every");
    while (t->trainer.step < t->steps) {
        const rf_stop_reason reason = rf_run_should_stop(&t->run);
        if (reason != RF_STOP_NONE) return stop(t, reason);
        const int64_t step = t->trainer.step;
        if (t->held_out && step > 0 && is_due(step, eval_every) && t->evaluated_step < step)
            RF_TRY(evaluate_or_stop(t));
        rf_step_report report;
        RF_TRY(take_step(t, &report));
        RF_TRY(training_record_step(t, &report));
        if (is_due(report.step, log_every) || report.step == t->steps)
            training_print_step(t, &report);
        else
            training_print_progress(t, &report);
        if (report.step == t->estimation) RF_TRY(training_prune(t, &report));
        RF_TRY(training_spectrum(t));
        if (t->held_out && is_due(report.step, eval_every) && report.step < t->steps)
            RF_TRY(evaluate_or_stop(t));
        if (save_is_due(t)) RF_TRY(training_save(t));
    }
    return RF_OK;
}

/* After the last step: state, held-out loss, export. */
static rf_status finish(training *t)
{
    RF_TRY(training_save(t));
    if (t->held_out) RF_TRY(evaluate_or_stop(t));
    RF_TRY(training_export(t));
    RF_TRY_ALL(t->env->world, training_record_close(t));
    training_print_end(t);
    return RF_OK;
}

static rf_status run(training *t, int is_dry)
{
    training_print_banner(t);
    if (!is_dry) RF_TRY(rf_run_open(&t->run, t->env->world, t->config, t->log, t->env->start));
    t->run.watch.stop_files = t->env->stop_files;
    RF_TRY(training_prepare(t));
    training_print_steps(t);
    rf_session_print_plan(&t->session);
    rf_log_info(t->log, "disk: %.1f MiB per checkpoint, %lld kept",
                training_checkpoint_bytes(t) / 1048576.0,
                (long long)rf_config_int(t->config, "checkpoint.keep"));
    if (is_dry) return RF_OK;
    RF_TRY(training_go_on_loading(t));
    RF_TRY(training_start(t));
    RF_TRY(step_loop(t));
    return finish(t);
}

rf_status rf_train(rf_config *config, const rf_environment *environment, int is_dry)
{
    training t = {.env = environment,
                  .config = config,
                  .log = environment->log,
                  .saved_step = -1,
                  .evaluated_step = -1};
    const rf_status status = run(&t, is_dry);
    training_record_close(&t);
    spectrum_list_destroy(&t.spectra);
    rf_checkpoint_close(&t.checkpoint);
    free(t.hosts);
    free(t.yaml);
    rf_methods_destroy(&t.trainer.methods);
    rf_modules_destroy(&t.modules);
    rf_evaluator_destroy(&t.evaluator);
    rf_batches_destroy(&t.batches);
    rf_session_close(&t.session);
    rf_samples_destroy(&t.samples);
    rf_samples_destroy(&t.held_out);
    rf_run_close(&t.run);
    return status;
}
