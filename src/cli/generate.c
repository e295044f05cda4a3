/* refract generate */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli_internal.h"
#include "refract/train/generate_command.h"

enum { MAX_NEW = 'n', TEMPERATURE = 't', TOP_P = 'p', TOP_K = 'k', SEED = 's', STOP = 'e' };
enum { PROMPT = 'q', PROMPTS = 'f', CHAT = 'c', OUT = 'o', BATCH = 'b', MOST_STOPS = 32 };

static const struct argp_option options[] = {
    {"prompt", PROMPT, "TEXT", 0, "one prompt; its text goes to standard output as it comes", 0},
    {"prompts", PROMPTS, "FILE", 0,
     "JSONL of {\"prompt\": TEXT}, {\"messages\": [...]} or {\"input_ids\": [...]}; one line of "
     "JSON for each: index, prompt, text, tokens, finish (length, eos or stop)",
     0},
    {"chat", CHAT, NULL, 0, "put prompts into the model's chat template, as what a user says", 0},
    {"max-new-tokens", MAX_NEW, "N", 0, "tokens of a completion (eval.max_new_tokens: 256)", 0},
    {"temperature", TEMPERATURE, "T", 0, "logits are divided by it; 0 = greedy (default)", 0},
    {"top-k", TOP_K, "N", 0, "only the N most likely tokens; 0 = all (default)", 0},
    {"top-p", TOP_P, "P", 0, "only the likeliest tokens that reach P together; 1 = all (default)",
     0},
    {"seed", SEED, "N", 0, "of sampling (default 42)", 0},
    {"stop", STOP, "TEXT", 0, "ends a completion before this text; may be repeated", 0},
    {"out", OUT, "FILE", 0,
     "write JSONL there instead; the same command goes on where it was stopped", 0},
    {"batch", BATCH, "N", 0, "sequences decoded together (default 8); no text depends on it", 0},
    {0}};

typedef struct taken {
    rf_generate_options generate;
    const char *stop[MOST_STOPS];
} taken;

static error_t wrong(const char *option, const char *text, const char *wanted)
{
    return (error_t)rf_fail(
        RF_USAGE, "--%s wants %s, not '%s' (refract generate). See refract generate --help", option,
        wanted, text);
}

static int read_count(const char *text, int64_t least, int64_t most, int64_t *value)
{
    char *end = NULL;
    errno = 0;
    const long long number = strtoll(text, &end, 10);
    if (errno || end == text || *end || number < least || number > most) return 0;
    *value = number;
    return 1;
}

static int read_number(const char *text, double *value)
{
    char *end = NULL;
    *value = strtod(text, &end);
    return end != text && !*end && isfinite(*value);
}

static error_t take_stop(taken *t, const char *text)
{
    rf_sampling *s = &t->generate.sampling;
    if (!*text) return wrong("stop", text, "a text that is not empty");
    if (s->stop_count == MOST_STOPS) return wrong("stop", text, "no more than 32 texts");
    t->stop[s->stop_count++] = text;
    return 0;
}

static error_t take_sampling(int key, char *text, taken *t)
{
    rf_sampling *s = &t->generate.sampling;
    int64_t seed = 0;
    switch (key) {
    case MAX_NEW:
        if (read_count(text, 1, INT32_MAX, &s->max_new_tokens)) return 0;
        return wrong("max-new-tokens", text, "a number of at least 1");
    case TEMPERATURE:
        if (read_number(text, &s->temperature) && s->temperature >= 0) return 0;
        return wrong("temperature", text, "a number of at least 0");
    case TOP_P:
        if (read_number(text, &s->top_p) && s->top_p > 0 && s->top_p <= 1) return 0;
        return wrong("top-p", text, "a number above 0 and up to 1");
    case TOP_K:
        if (read_count(text, 0, INT32_MAX, &s->top_k)) return 0;
        return wrong("top-k", text, "a number of at least 0");
    case SEED:
        if (!read_count(text, 0, INT64_MAX, &seed)) return wrong("seed", text, "a whole number");
        s->seed = (uint64_t)seed;
        return 0;
    case STOP:
        return take_stop(t, text);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t take(int key, char *text, struct argp_state *state)
{
    taken *t = state->input;
    rf_generate_options *o = &t->generate;
    switch (key) {
    case PROMPT:
        o->prompt = text;
        return 0;
    case PROMPTS:
        o->prompts = text;
        return 0;
    case CHAT:
        o->is_chat = 1;
        return 0;
    case OUT:
        o->out = text;
        return 0;
    case BATCH:
        if (read_count(text, 1, RF_GENERATE_MOST_BATCH, &o->batch)) return 0;
        return wrong("batch", text, "a number from 1 to 256");
    default:
        return take_sampling(key, text, t);
    }
}

static rf_status check(const rf_generate_options *o)
{
    if (!o->prompt == !o->prompts)
        return rf_fail(RF_USAGE, "%s (refract generate). See refract generate --help",
                       o->prompt ? "both --prompt and --prompts are given"
                                 : "neither --prompt nor --prompts is given");
    return RF_OK;
}

rf_status rf_cli_generate(rf_cli *cli, int argc, char **argv)
{
    const rf_cli_usage usage = {
        .name = "generate",
        .arguments = "INPUT [KEY=VALUE...]",
        .text =
            "Text from prompts, by a base model, a run, a checkpoint or a PEFT folder "
            "(eval.adapter=PATH, as eval): greedy unless --temperature is above 0. A prompt's text "
            "depends on the model, the options, the prompt and its place in the file, not on ranks "
            "and threads. Everything but the text goes to standard error.",
        .least = 1,
        .most = -1,
        .options = options,
        .take = take};
    rf_cli_arguments arguments;
    rf_config *config = NULL;
    taken t = {.generate.sampling = {.top_p = 1, .seed = 42}};
    t.generate.sampling.stop = t.stop;
    RF_TRY(rf_cli_parse(cli, &usage, argc, argv, &t, &arguments));
    if (arguments.is_help) return RF_OK;
    RF_TRY(check(&t.generate));
    cli->log.to_errors = 1;
    RF_TRY(rf_cli_load_config(cli, &arguments, &config));
    const rf_environment environment = rf_cli_environment(cli);
    const rf_status status = rf_generate_command(config, &environment, &t.generate);
    rf_config_destroy(&config);
    return status;
}
