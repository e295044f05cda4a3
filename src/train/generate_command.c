#include "refract/train/generate_command.h"

#include <stdlib.h>
#include <string.h>

#include "generate_output.h"
#include "refract/comm/agree.h"
#include "source.h"

/* What lives through the command. */
typedef struct command {
    const rf_generate_options *options;
    rf_sampling sampling;
    source from;
    rf_session session;
    prompt_list list;
    output out;
    rf_generator *generator;
    rf_prompt *prompts;         /* [count] that are left */
    rf_completion *completions; /* [count] */
    int64_t count;
} command;

static void add_text(rf_digest *digest, const char *text)
{
    rf_digest_add(digest, text, strlen(text) + 1);
}

/* Of all that the completions depend on: weights beside the base by the name of where they are. */
static rf_status digest_all(const command *c, char hex[RF_DIGEST_BYTES])
{
    const rf_sampling *s = &c->sampling;
    const source *from = &c->from;
    rf_digest digest;
    RF_TRY(rf_digest_start(&digest));
    const double numbers[] = {s->temperature, s->top_p};
    const int64_t counts[] = {s->top_k, (int64_t)s->seed, s->max_new_tokens, s->stop_count,
                              c->list.count};
    rf_digest_add(&digest, numbers, sizeof numbers);
    rf_digest_add(&digest, counts, sizeof counts);
    for (int64_t i = 0; i < s->stop_count; i++) add_text(&digest, s->stop[i]);
    rf_digest_add(&digest, c->list.ids.ids, (size_t)c->list.ids.count * sizeof *c->list.ids.ids);
    rf_digest_add(&digest, c->list.end, (size_t)c->list.count * sizeof *c->list.end);
    add_text(&digest, c->session.base_digest);
    add_text(&digest, rf_config_string(c->session.config, "compute.precision"));
    if (from->checkpoint) add_text(&digest, rf_checkpoint_path(from->checkpoint));
    if (from->peft) add_text(&digest, from->peft);
    rf_digest_finish(&digest, hex);
    return RF_OK;
}

static rf_status read_prompts(command *c)
{
    RF_TRY(prompt_list_read(&c->list, c->options, &c->session));
    c->prompts = calloc((size_t)c->list.count, sizeof *c->prompts);
    c->completions = calloc((size_t)c->list.count, sizeof *c->completions);
    return c->prompts && c->completions ? RF_OK
                                        : rf_fail(RF_RESOURCES, "no memory for the prompts");
}

/* Memory and weights. */
static rf_status make_model(command *c)
{
    rf_session *s = &c->session;
    const rf_generator_limits limits = {.prompts = c->list.count,
                                        .longest_prompt = c->list.longest,
                                        .max_new_tokens = c->sampling.max_new_tokens,
                                        .batch = c->options->batch};
    rf_bounds bounds;
    RF_TRY_ALL(s->world, rf_generator_create(&c->generator, s, &limits, &bounds));
    RF_TRY(rf_session_plan(s, &bounds, 0, source_has_weights(&c->from, s)));
    rf_session_print_plan(s);
    rf_log_info(s->log, "keys, values and sampling: %.1f MiB per rank",
                (double)rf_generator_bytes(c->generator) / 1048576.0);
    RF_TRY(rf_session_allocate(s));
    RF_TRY_ALL(s->world, rf_generator_allocate(c->generator));
    RF_TRY(rf_session_weights(s));
    return source_read(&c->from, s);
}

/* Opens the output; prompts that an earlier start has completed are passed over. */
static rf_status open_output(command *c)
{
    const rf_session *s = &c->session;
    char digest[RF_DIGEST_BYTES];
    c->out = (output){.list = &c->list,
                      .path = c->options->out,
                      .is_root = s->grid.rank == 0,
                      .is_stream = c->options->prompt && !c->options->out};
    RF_TRY_ALL(s->world, digest_all(c, digest));
    RF_TRY_ALL(s->world, output_open(&c->out, digest));
    MPI_Bcast(&c->out.done, 1, MPI_INT64_T, 0, s->world);
    if (c->out.done > 0)
        rf_log_info(s->log, "%s: %lld of %lld prompts are done", c->out.partial,
                    (long long)c->out.done, (long long)c->list.count);
    c->count = c->list.count - c->out.done;
    for (int64_t i = 0; i < c->count; i++)
        c->prompts[i] = prompt_list_at(&c->list, c->out.done + i);
    return RF_OK;
}

static double rate(int64_t tokens, double seconds)
{
    return seconds > 0 ? (double)tokens / seconds : 0;
}

static void print_figures(rf_log *log, const rf_generate_figures *f)
{
    rf_log_info(log,
                "read %lld prompt tokens in %.2f s (%.1f tokens/s); decoded %lld tokens in %.2f s "
                "(%.1f tokens/s)",
                (long long)f->prompt_tokens, f->prompt_seconds,
                rate(f->prompt_tokens, f->prompt_seconds), (long long)f->decoded_tokens,
                f->decode_seconds, rate(f->decoded_tokens, f->decode_seconds));
}

static rf_status run(command *c, rf_config *config, const rf_environment *env)
{
    rf_stop_watch watch = {.start = env->start};
    rf_generate_figures figures = {0};
    const rf_listener listener = {&c->out, output_text, output_done};
    c->sampling = c->options->sampling;
    if (c->sampling.max_new_tokens == 0)
        c->sampling.max_new_tokens = rf_config_int(config, "eval.max_new_tokens");
    rf_stop_install();
    rf_stop_watch_job(&watch);
    RF_TRY(source_find(&c->from, config, env));
    RF_TRY(source_open_session(&c->from, &c->session, config, env));
    RF_TRY_ALL(env->world, read_prompts(c));
    RF_TRY(make_model(c));
    RF_TRY(open_output(c));
    RF_TRY(rf_generate(c->generator, c->prompts, c->count, &c->sampling, &watch, &listener,
                       c->completions, &figures));
    RF_TRY_ALL(env->world, output_finish(&c->out));
    print_figures(env->log, &figures);
    return RF_OK;
}

rf_status rf_generate_command(rf_config *config, const rf_environment *environment,
                              const rf_generate_options *options)
{
    command c = {.options = options};
    const rf_status status = run(&c, config, environment);
    for (int64_t i = 0; c.completions && i < c.count; i++) rf_completion_free(&c.completions[i]);
    free(c.completions);
    free(c.prompts);
    output_close(&c.out);
    rf_generator_destroy(&c.generator);
    rf_session_close(&c.session);
    prompt_list_free(&c.list);
    source_close(&c.from);
    return status;
}
