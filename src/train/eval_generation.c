/* eval.task other than loss: prompts are completed, completions judged, one line for each kept. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "eval_parts.h"
#include "eval_tasks.h"
#include "generate_prompts.h"
#include "refract/base/file.h"
#include "refract/comm/agree.h"
#include "refract/data/answers.h"
#include "refract/data/formatter.h"
#include "refract/data/rows.h"
#include "refract/train/generate.h"
#include "source.h"

/* One scoring. */
typedef struct scoring {
    const eval_task *task;
    rf_config *config;
    rf_log *log;
    source from;
    rf_session session;
    prompt_list list;
    rf_generator *generator;
    rf_prompt *prompts;         /* [count] */
    rf_completion *completions; /* [count] */
    int64_t correct, loose, told;
    char path[PATH_MAX], partial[PATH_MAX + 8]; /* of the lines; empty without an output folder */
    FILE *lines;                                /* on root; owned */
} scoring;

static rf_status no_memory(void)
{
    return rf_fail(RF_RESOURCES, "no memory for the samples of eval.task");
}

/* Takes the reference to `row`. */
static rf_status add(scoring *s, const rf_formatter *formatter, json_t *row)
{
    rf_status status = eval_task_check(s->task, row);
    json_t *asked = status == RF_OK && s->task->ask ? s->task->ask(row) : json_incref(row);
    if (status == RF_OK && !asked) status = no_memory();
    if (status == RF_OK)
        status = prompt_list_add(&s->list, formatter, &s->session, json_incref(row), asked);
    json_decref(asked);
    json_decref(row);
    return status;
}

static rf_status read_file(scoring *s, const rf_formatter *formatter, const char *path,
                           int64_t most)
{
    rf_rows *rows = NULL;
    json_t *row = NULL;
    rf_status status = rf_rows_open(&rows, path);
    while (status == RF_OK && (most == 0 || s->list.count < most) &&
           (status = rf_rows_next(rows, &row)) == RF_OK && row) {
        status = add(s, formatter, row);
        if (status == RF_INPUT || status == RF_USAGE)
            status = rf_rows_fail(rows, status, "See eval.task and data.template");
    }
    rf_rows_close(&rows);
    return status;
}

/* All ranks read all prompts. */
static rf_status read_prompts(scoring *s)
{
    const rf_config *c = s->config;
    const int64_t most = rf_config_int(c, "eval.max_samples");
    const char *template =
        rf_config_is_auto(c, "data.template") ? "auto" : rf_config_string(c, "data.template");
    rf_formatter *formatter = NULL;
    RF_TRY(rf_config_require(c, "data.eval"));
    s->list.rows = json_array();
    if (!s->list.rows) return no_memory();
    RF_TRY(rf_formatter_create(&formatter, "auto", template, s->session.tokenizer));
    rf_status status = RF_OK;
    for (int i = 0; i < rf_config_list_count(c, "data.eval") && status == RF_OK; i++)
        status = read_file(s, formatter, rf_config_list_item(c, "data.eval", i), most);
    rf_formatter_destroy(&formatter);
    RF_TRY(status);
    if (s->list.count == 0)
        return rf_fail(RF_INPUT,
                       "there are no samples to score (data.eval). Name a file with rows");
    s->prompts = calloc((size_t)s->list.count, sizeof *s->prompts);
    s->completions = calloc((size_t)s->list.count, sizeof *s->completions);
    if (!s->prompts || !s->completions) return no_memory();
    for (int64_t i = 0; i < s->list.count; i++) s->prompts[i] = prompt_list_at(&s->list, i);
    return RF_OK;
}

static rf_status make_model(scoring *e)
{
    rf_session *s = &e->session;
    const rf_generator_limits limits = {.prompts = e->list.count,
                                        .longest_prompt = e->list.longest,
                                        .max_new_tokens =
                                            rf_config_int(e->config, "eval.max_new_tokens")};
    rf_bounds bounds;
    RF_TRY_ALL(s->world, rf_generator_create(&e->generator, s, &limits, &bounds));
    RF_TRY(rf_session_plan(s, &bounds, 0, source_has_weights(&e->from, s)));
    rf_session_print_plan(s);
    RF_TRY(rf_session_allocate(s));
    RF_TRY_ALL(s->world, rf_generator_allocate(e->generator));
    RF_TRY(rf_session_weights(s));
    return source_read(&e->from, s);
}

static rf_status open_lines(scoring *s)
{
    const char *output = rf_config_string(s->config, "output");
    if (!output || s->session.grid.rank != 0) return RF_OK;
    RF_TRY(rf_folder_make(output));
    if (snprintf(s->path, sizeof s->path, "%s/eval-%s.jsonl", output, s->task->name) >=
        (int)sizeof s->path)
        return rf_fail(RF_USAGE, "the path of the output folder is too long (output)");
    snprintf(s->partial, sizeof s->partial, "%s.part", s->path);
    s->lines = fopen(s->partial, "w");
    return s->lines ? RF_OK : rf_fail(RF_WRITE, "cannot write %s. Check the disk", s->partial);
}

static rf_status close_lines(scoring *s)
{
    if (!s->lines) return RF_OK;
    int failed = fflush(s->lines) != 0 || fsync(fileno(s->lines)) != 0;
    failed |= fclose(s->lines) != 0;
    s->lines = NULL;
    failed |= !failed && rename(s->partial, s->path) != 0;
    return failed ? rf_fail(RF_WRITE, "cannot write %s. Check the disk", s->path) : RF_OK;
}

static rf_status put_line(scoring *s, const json_t *row, int64_t at, const char *text,
                          const eval_verdict *verdict)
{
    if (!s->lines) return RF_OK;
    json_t *line = eval_task_line(s->task, row, at, text, verdict);
    if (!line) return no_memory();
    const int failed = json_dumpf(line, s->lines, JSON_COMPACT) != 0 || putc('\n', s->lines) == EOF;
    json_decref(line);
    return failed ? rf_fail(RF_WRITE, "cannot write %s. Check the disk", s->partial) : RF_OK;
}

/* A completion has come: on every rank, in the order of the samples. */
static rf_status judge(void *context, int64_t at, const rf_completion *completion)
{
    scoring *s = context;
    const json_t *row = json_array_get(s->list.rows, (size_t)at);
    eval_verdict verdict = {0};
    if (s->task->judge)
        s->task->judge(&verdict, row, (rf_bytes){completion->text, strlen(completion->text)});
    s->correct += verdict.is_correct;
    s->loose += verdict.is_correct_loosely;
    s->told++;
    return put_line(s, row, at, completion->text, &verdict);
}

static double share(int64_t correct, int64_t total)
{
    return (double)correct / (double)total;
}

static void print_score(rf_log *log, const char *prefix, int64_t correct, int64_t total)
{
    const rf_interval bounds = rf_wilson(correct, total);
    rf_log_info(log, "%scorrect = %lld", prefix, (long long)correct);
    rf_log_info(log, "%sscore = %.4f (95 %% interval %.4f to %.4f)", prefix, share(correct, total),
                bounds.low, bounds.high);
}

/* `name = value` lines; with an output folder eval.json too. */
static rf_status report(scoring *s, const rf_generate_figures *figures)
{
    const int64_t total = s->told;
    const double seconds = figures->prompt_seconds + figures->decode_seconds;
    const rf_interval bounds = rf_wilson(s->correct, total);
    const char *output = rf_config_string(s->config, "output");
    char path[PATH_MAX + 16], prefix[32] = "";
    rf_log_info(s->log, "task = %s", s->task->name);
    rf_log_info(s->log, "total = %lld", (long long)total);
    if (s->task->judge) print_score(s->log, "", s->correct, total);
    if (s->task->loose) snprintf(prefix, sizeof prefix, "%s_", s->task->loose);
    if (s->task->loose) print_score(s->log, prefix, s->loose, total);
    rf_log_info(s->log, "seconds = %.2f", seconds);
    if (!output || s->session.grid.rank != 0) return RF_OK;
    rf_log_info(s->log, "samples: %s", s->path);
    json_t *object = json_pack("{s:s, s:I, s:I, s:f, s:I, s:I}", "task", s->task->name, "samples",
                               (json_int_t)total, "total", (json_int_t)total, "seconds", seconds,
                               "prompt_tokens", (json_int_t)figures->prompt_tokens,
                               "decoded_tokens", (json_int_t)figures->decoded_tokens);
    if (object && s->task->judge)
        json_object_update_new(
            object, json_pack("{s:I, s:f, s:f, s:f}", "correct", (json_int_t)s->correct, "score",
                              share(s->correct, total), "low", bounds.low, "high", bounds.high));
    if (object && s->task->loose) {
        char name[64];
        snprintf(name, sizeof name, "%scorrect", prefix);
        json_object_set_new(object, name, json_integer((json_int_t)s->loose));
        snprintf(name, sizeof name, "%sscore", prefix);
        json_object_set_new(object, name, json_real(share(s->loose, total)));
    }
    char *text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
    json_decref(object);
    if (!text) return no_memory();
    snprintf(path, sizeof path, "%s/eval.json", output);
    const rf_status status = rf_file_write(path, text, strlen(text));
    free(text);
    return status;
}

static rf_status run(scoring *s, const rf_environment *env)
{
    rf_stop_watch watch = {.start = env->start};
    rf_generate_figures figures = {0};
    const rf_listener listener = {.context = s, .done = judge};
    rf_sampling sampling = rf_sampling_greedy(rf_config_int(s->config, "eval.max_new_tokens"));
    sampling.stop = s->task->stop;
    while (sampling.stop_count < EVAL_STOPS && s->task->stop[sampling.stop_count])
        sampling.stop_count++;
    rf_stop_install();
    rf_stop_watch_job(&watch);
    RF_TRY(source_find(&s->from, s->config, env));
    RF_TRY(source_open_session(&s->from, &s->session, s->config, env));
    RF_TRY_ALL(env->world, read_prompts(s));
    RF_TRY(make_model(s));
    RF_TRY_ALL(env->world, open_lines(s));
    RF_TRY(rf_generate(s->generator, s->prompts, s->list.count, &sampling, &watch, &listener,
                       s->completions, &figures));
    RF_TRY_ALL(env->world, close_lines(s));
    return rf_agree(env->world, report(s, &figures));
}

rf_status eval_by_generation(rf_config *config, const rf_environment *env)
{
    scoring s = {.task = eval_task_find(rf_config_string(config, "eval.task")),
                 .config = config,
                 .log = env->log};
    const rf_status status = run(&s, env);
    for (int64_t i = 0; s.completions && i < s.list.count; i++)
        rf_completion_free(&s.completions[i]);
    free(s.completions);
    free(s.prompts);
    if (s.lines) fclose(s.lines);
    rf_generator_destroy(&s.generator);
    rf_session_close(&s.session);
    prompt_list_free(&s.list);
    source_close(&s.from);
    return status;
}
