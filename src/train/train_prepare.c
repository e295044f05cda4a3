/* From configuration to a run that can take steps. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "refract/comm/agree.h"
#include "refract/data/prepare.h"
#include "refract/method/light.h"
#include "train_parts.h"

static int64_t at_least(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static rf_status read_data(training *t)
{
    const rf_session *s = &t->session;
    MPI_Comm world = t->env->world;
    RF_TRY_ALL(world, rf_config_require(t->config, "data.train"));
    RF_TRY(rf_data_load(&t->samples, world, t->config, "data.train", s->tokenizer, s->model.vocab,
                        t->log));
    if (!rf_data_is_set(t->config, "data.eval")) return RF_OK;
    return rf_data_load(&t->held_out, world, t->config, "data.eval", s->tokenizer, s->model.vocab,
                        t->log);
}

static rf_status lay_out_batches(training *t)
{
    const rf_config *c = t->config;
    const int64_t micro = rf_session_micro_tokens(&t->session);
    RF_TRY(rf_batches_create(&t->batches, t->samples, rf_config_int(c, "train.batch_size"), micro,
                             (uint64_t)rf_config_int(c, "train.seed"),
                             rf_config_bool(c, "data.shuffle")));
    if (t->held_out) RF_TRY(rf_evaluator_create(&t->evaluator, t->held_out, micro));
    const int64_t steps = rf_config_int(c, "train.steps");
    t->estimation = rf_light_steps(c);
    t->steps = t->estimation + (steps > 0 ? steps
                                          : rf_config_int(c, "train.epochs") *
                                                rf_batches_steps_per_epoch(t->batches));
    if (rf_config_is_auto(c, "telemetry.ranks_every"))
        rf_config_resolve_int(t->config, "telemetry.ranks_every", at_least(t->steps / 50, 1));
    return RF_OK;
}

/* Largest micro-batch: never more than micro_tokens, nor than all there is. */
static rf_bounds bounds_of(const training *t)
{
    const int64_t micro = rf_config_int(t->config, "train.micro_tokens");
    int64_t longest = t->samples->longest, samples = rf_config_int(t->config, "train.batch_size");
    if (t->held_out) {
        longest = at_least(longest, t->held_out->longest);
        samples = at_least(samples, t->evaluator.most_samples);
    }
    return (rf_bounds){.tokens = micro,
                       .samples = samples < micro ? samples : micro,
                       .length = longest,
                       .leaves = rf_batches_max_micro(t->batches)};
}

static int64_t stage_steps(const training *t)
{
    return t->session.is_estimating ? t->estimation : t->steps - t->estimation;
}

/* An estimation has no warm-up: train.warmup_* speak of the stage that follows. */
static rf_schedule schedule_of(const training *t)
{
    const rf_config *c = t->config;
    const double ratio = rf_config_number(c, "train.warmup_ratio");
    const int64_t warmup = rf_config_int(c, "train.warmup_steps");
    const int64_t steps = stage_steps(t);
    rf_schedule schedule = {.kind = rf_schedule_parse(rf_config_string(c, "train.schedule")),
                            .learning_rate = rf_config_number(c, "train.learning_rate"),
                            .warmup = warmup > 0 ? warmup : (int64_t)ceil(ratio * (double)steps),
                            .steps = steps};
    if (t->session.is_estimating) schedule.warmup = 0;
    return schedule;
}

static void make_trainer(training *t)
{
    const rf_config *c = t->config;
    t->trainer =
        (rf_trainer){.decoder = t->session.decoder,
                     .grid = &t->session.grid,
                     .batches = t->batches,
                     .adamw = {.beta1 = rf_config_number(c, "optimizer.beta1"),
                               .beta2 = rf_config_number(c, "optimizer.beta2"),
                               .epsilon = rf_config_number(c, "optimizer.epsilon"),
                               .weight_decay = rf_config_number(c, "train.weight_decay")},
                     .schedule = schedule_of(t),
                     .step = t->trainer.step,
                     .first = t->session.is_estimating ? 0 : t->estimation,
                     .max_grad_norm = rf_config_number(c, "train.max_grad_norm"),
                     .seed = (uint64_t)rf_config_int(c, "train.seed"),
                     .is_dropping = !t->session.trains && rf_config_number(c, "lora.dropout") > 0};
}

/* The methods of the configuration, on the model's adapted modules. */
static rf_status make_methods(training *t)
{
    rf_session *s = &t->session;
    RF_TRY(rf_modules_of(&t->modules, s->decoder));
    t->method = (rf_method_context){.config = t->config,
                                    .grid = &s->grid,
                                    .params = &s->decoder->params,
                                    .modules = &t->modules,
                                    .decoder = s->decoder,
                                    .adamw = &t->trainer.adamw,
                                    .log = t->log,
                                    .steps = stage_steps(t),
                                    .is_estimation = s->is_estimating,
                                    .threads = t->env->threads};
    return rf_methods_create(&t->trainer.methods, &t->method);
}

/* Trainer and methods on the session's decoder, counted in its plan. */
static rf_status plan_trainer(training *t)
{
    make_trainer(t);
    RF_TRY_ALL(t->env->world, make_methods(t));
    rf_trainer_layout(&t->trainer, &t->session.run, &t->session.scratch);
    return RF_OK;
}

rf_status training_read(training *t)
{
    rf_session *s = &t->session;
    RF_TRY(rf_session_open(s, t->config, t->config, t->log, t->env->world, t->env->threads));
    RF_TRY(rf_session_take_start(s));
    s->resident = t->env->resident;
    RF_TRY(read_data(t));
    return rf_agree(t->env->world, lay_out_batches(t));
}

rf_status training_plan(training *t)
{
    t->bounds = bounds_of(t);
    t->session.is_estimating = 0;
    RF_TRY(rf_session_plan(&t->session, &t->bounds, 1, 1));
    RF_TRY(plan_trainer(t));
    if (t->estimation == 0) return RF_OK;
    t->session.is_estimating =
        1; /* the stage that follows has been checked, its keys are settled */
    return training_plan_stage(t);
}

rf_status training_plan_stage(training *t)
{
    rf_methods_destroy(&t->trainer.methods);
    rf_modules_destroy(&t->modules);
    RF_TRY(rf_session_replan(&t->session, &t->bounds, 1));
    return plan_trainer(t);
}

rf_status training_take_memory(training *t)
{
    rf_session *s = &t->session;
    RF_TRY(rf_session_allocate(s));
    rf_trainer_layout(&t->trainer, &s->run, &s->scratch);
    RF_TRY(rf_session_weights(s));
    return training_spectrum_start(t);
}

void training_unplan(training *t)
{
    rf_methods_destroy(&t->trainer.methods);
    rf_modules_destroy(&t->modules);
    rf_session_unplan(&t->session);
}

rf_status training_prepare(training *t)
{
    RF_TRY(training_read(t));
    return training_plan(t);
}

/* Names of the hosts of all ranks, each once, in rank order. */
static rf_status list_hosts(training *t)
{
    enum { NAME = sizeof t->log->host };
    const int size = t->session.grid.size;
    char *all = calloc((size_t)size, NAME);
    t->hosts = calloc((size_t)size, NAME + 1);
    rf_status status = all && t->hosts ? RF_OK : rf_fail(RF_RESOURCES, "no memory for host names");
    status = rf_agree(t->env->world, status);
    if (status == RF_OK) {
        MPI_Allgather(t->log->host, NAME, MPI_CHAR, all, NAME, MPI_CHAR, t->env->world);
        for (int i = 0; i < size; i++) {
            if (i > 0 && strcmp(all + i * NAME, all + (i - 1) * NAME) == 0) continue;
            if (i > 0) strcat(t->hosts, " ");
            strcat(t->hosts, all + i * NAME);
        }
    }
    free(all);
    return status;
}

rf_status training_go_on_loading(const training *t)
{
    const rf_stop_reason reason = rf_run_should_stop(&t->run);
    if (reason == RF_STOP_NONE) return RF_OK;
    return rf_fail(RF_STOPPED,
                   "stopped by %s while loading; saved state is as it was. Run the same command "
                   "again to go on",
                   rf_stop_reason_name(reason));
}

rf_status training_start(training *t)
{
    rf_session *s = &t->session;
    RF_TRY_ALL(t->env->world, training_record_modules(t));
    RF_TRY(training_find_state(t));
    RF_TRY(training_take_memory(t));
    if (t->held_out) RF_TRY_ALL(t->env->world, rf_evaluator_allocate(&t->evaluator, &s->grid));
    RF_TRY(training_go_on_loading(t));
    RF_TRY(list_hosts(t));
    t->yaml = rf_config_yaml(t->config);
    RF_TRY_ALL(t->env->world, t->yaml ? RF_OK : rf_fail(RF_RESOURCES, "no memory"));
    RF_TRY(training_restore(t));
    if (t->trainer.step == 0) rf_methods_start(&t->trainer.methods);
    RF_TRY(rf_run_write_config(&t->run));
    RF_TRY(training_record_open(t));
    t->saved_at = rf_clock_seconds();
    return RF_OK;
}
