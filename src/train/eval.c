#include "refract/train/eval.h"

#include <string.h>

#include "eval_parts.h"
#include "eval_tasks.h"
#include "refract/comm/agree.h"
#include "refract/data/prepare.h"
#include "refract/train/report.h"
#include "source.h"

static rf_status check_task(const rf_config *config)
{
    if (strcmp(rf_config_string(config, "eval.task"), "loss") != 0)
        return rf_fail(RF_USAGE,
                       "eval.task: %s is not built in (%s). Use loss on a file in classification "
                       "format, whose `correct` counts right classes",
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
    RF_TRY(rf_session_plan(s, &bounds, 0, source_has_weights(from, s)));
    rf_session_print_plan(s);
    RF_TRY(rf_session_allocate(s));
    RF_TRY_ALL(s->world, rf_evaluator_allocate(evaluator, &s->grid));
    RF_TRY(rf_session_weights(s));
    RF_TRY(source_read(from, s));
    RF_TRY(rf_evaluate(evaluator, s->decoder, watch, &evaluation));
    if (logits) RF_TRY(eval_write_logits(s, evaluator, logits, watch));
    rf_report_evaluation(s->log, &evaluation);
    return output ? rf_report_write(s->world, output, &evaluation, "loss") : RF_OK;
}

static rf_status run(rf_config *config, const rf_environment *env, source *from, rf_session *s,
                     rf_samples **samples, rf_evaluator *evaluator)
{
    rf_stop_watch watch = {.start = env->start};
    RF_TRY_ALL(env->world, check_task(config));
    rf_stop_install();
    rf_stop_watch_job(&watch);
    RF_TRY(source_find(from, config, env));
    RF_TRY(source_open_session(from, s, config, env));
    RF_TRY(rf_data_load(samples, env->world, config, "data.eval", s->tokenizer, s->model.vocab,
                        env->log));
    return evaluate(from, s, *samples, evaluator, &watch);
}

rf_status rf_eval(rf_config *config, const rf_environment *environment)
{
    if (eval_task_find(rf_config_string(config, "eval.task")))
        return eval_by_generation(config, environment);
    source from = {0};
    rf_session session = {0};
    rf_samples *samples = NULL;
    rf_evaluator evaluator = {0};
    const rf_status status = run(config, environment, &from, &session, &samples, &evaluator);
    rf_evaluator_destroy(&evaluator);
    rf_session_close(&session);
    rf_samples_destroy(&samples);
    source_close(&from);
    return status;
}
