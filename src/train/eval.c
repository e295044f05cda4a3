#include "refract/train/eval.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "eval_parts.h"
#include "refract/comm/agree.h"
#include "refract/data/prepare.h"
#include "refract/io/checkpoint.h"
#include "refract/train/report.h"
#include "refract/train/state.h"

/* Where the weights beside the base come from. */
typedef struct source {
    rf_checkpoint *checkpoint; /* owned */
    rf_config *trained;        /* owned: the checkpoint's configuration */
    const char *peft;          /* borrowed */
} source;

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
static rf_status find_source(source *from, const rf_config *config, const rf_grid *grid,
                             rf_log *log)
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
    int kind = is_folder_with(adapter, "adapter_config.json") ? 1
               : is_folder_with(adapter, "checkpoints")       ? 2
                                                              : 3;
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

static rf_status read_checkpoint(const source *from, const rf_session *s)
{
    rf_field *fields = NULL;
    int64_t count = 0;
    RF_TRY_ALL(s->world, rf_state_fields(&s->decoder->params, 0, &fields, &count));
    const rf_status status = rf_checkpoint_read(from->checkpoint, &s->grid, fields, count);
    free(fields);
    return status;
}

static rf_status load(const source *from, rf_session *s)
{
    RF_TRY(rf_session_weights(s));
    return from->checkpoint ? read_checkpoint(from, s) : RF_OK;
}

static rf_status check_task(const rf_config *config)
{
    if (strcmp(rf_config_string(config, "eval.task"), "loss") != 0)
        return rf_fail(RF_USAGE, "eval.task: %s is not built in (%s). Use loss",
                       rf_config_string(config, "eval.task"), rf_config_where(config, "eval.task"));
    return rf_config_require(config, "data.eval");
}

/* Memory, weights, figures. */
static rf_status evaluate(const source *from, rf_session *s, const rf_samples *samples,
                          rf_evaluator *evaluator, const rf_stop_watch *watch)
{
    const char *output = rf_config_string(s->config, "output");
    const char *logits = rf_config_string(s->config, "eval.logits");
    rf_evaluation evaluation;
    RF_TRY_ALL(s->world, rf_evaluator_create(evaluator, samples, rf_session_micro_tokens(s)));
    const rf_bounds bounds = {.tokens = evaluator->most_tokens,
                              .samples = evaluator->most_samples,
                              .length = samples->longest,
                              .leaves = evaluator->micro_count};
    RF_TRY(rf_session_plan(s, &bounds, 0, from->checkpoint || s->start));
    rf_session_print_plan(s);
    RF_TRY(rf_session_allocate(s));
    RF_TRY_ALL(s->world, rf_evaluator_allocate(evaluator, &s->grid));
    RF_TRY(load(from, s));
    RF_TRY(rf_evaluate(evaluator, s->decoder, watch, &evaluation));
    if (logits) RF_TRY(eval_write_logits(s, evaluator, logits, watch));
    rf_report_evaluation(s->log, &evaluation);
    return output ? rf_report_write(s->world, output, &evaluation, "loss") : RF_OK;
}

static rf_status run(rf_config *config, const rf_environment *env, source *from, rf_session *s,
                     rf_samples **samples, rf_evaluator *evaluator)
{
    rf_stop_watch watch = {.start = env->start};
    rf_grid grid; /* any grid will do to look at a checkpoint */
    RF_TRY_ALL(env->world, check_task(config));
    rf_stop_install();
    rf_stop_watch_job(&watch);
    RF_TRY(rf_grid_create(&grid, env->world, 1, (int)rf_config_int(config, "parallel.slices")));
    rf_status status = find_source(from, config, &grid, env->log);
    if (status == RF_OK && from->checkpoint)
        status = rf_agree(env->world, read_trained_config(from));
    rf_grid_destroy(&grid);
    RF_TRY(status);
    const char *path = from->checkpoint ? rf_checkpoint_path(from->checkpoint) : from->peft;
    rf_log_info(env->log, "adapter: %s", path ? path : "none, the base model");
    RF_TRY(rf_session_open(s, config, from->trained ? from->trained : config, env->log, env->world,
                           env->threads));
    if (from->checkpoint) RF_TRY(rf_session_follow(s, from->checkpoint));
    if (from->peft) RF_TRY(rf_session_start_from(s, from->peft));
    RF_TRY(rf_data_load(samples, env->world, config, "data.eval", s->tokenizer, s->model.vocab,
                        env->log));
    return evaluate(from, s, *samples, evaluator, &watch);
}

rf_status rf_eval(rf_config *config, const rf_environment *environment)
{
    source from = {0};
    rf_session session = {0};
    rf_samples *samples = NULL;
    rf_evaluator evaluator = {0};
    const rf_status status = run(config, environment, &from, &session, &samples, &evaluator);
    rf_evaluator_destroy(&evaluator);
    rf_session_close(&session);
    rf_samples_destroy(&samples);
    rf_checkpoint_close(&from.checkpoint);
    rf_config_destroy(&from.trained);
    return status;
}
