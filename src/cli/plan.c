/* refract plan */
#include "refract/train/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli_internal.h"
#include "refract/base/stop.h"

static const struct argp_option options[] = {
    {"ranks", 'n', "N", 0, "plan for N ranks; else the fewest that fit --memory", 0},
    {"memory", 'm', "SIZE", 0, "what a rank may take, e.g. 900M or 4G", 0},
    {"time", 't', "HH:MM:SS", 0, "what a job may take", 0},
    {"probe", 'p', "FILE", 0, "measurements: read if FILE is there, else made and written", 0},
    {"script", 's', "FILE", 0, "write the batch script there instead of printing it", 0},
    {0}};

static error_t wrong(const char *option, const char *text, const char *wanted)
{
    return (error_t)rf_fail(RF_USAGE,
                            "--%s wants %s, not '%s' (refract plan). See refract plan --help",
                            option, wanted, text);
}

/* 900M, 4G, 1.5T or bytes. */
static int read_size(const char *text, double *bytes)
{
    static const char units[] = "KMGT";
    char *end = NULL;
    *bytes = strtod(text, &end);
    if (end == text || !(*bytes > 0)) return 0;
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (*end && !unit) return 0;
    for (const char *u = units; unit && u <= unit; u++) *bytes *= 1024;
    return !*end || !end[1];
}

static error_t take(int key, char *text, struct argp_state *state)
{
    rf_plan_options *plan = state->input;
    char *end = NULL;
    long ranks = 0;
    switch (key) {
    case 'n':
        errno = 0;
        ranks = strtol(text, &end, 10);
        if (errno || end == text || *end || ranks < 1 || ranks > 1 << 20)
            return wrong("ranks", text, "a number of ranks");
        plan->ranks = (int)ranks;
        return 0;
    case 'm':
        return read_size(text, &plan->memory) ? 0 : wrong("memory", text, "a size like 900M or 4G");
    case 't':
        return rf_duration_parse(text, &plan->time) ? 0 : wrong("time", text, "HH:MM:SS");
    case 'p':
        plan->probe = text;
        return 0;
    case 's':
        plan->script = text;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

rf_status rf_cli_plan(rf_cli *cli, int argc, char **argv)
{
    const rf_cli_usage usage = {
        .name = "plan",
        .arguments = "INPUT [KEY=VALUE...]",
        .text =
            "Tells what a run would take before it is queued: memory per rank, disk, time of a "
            "step "
            "and of the whole run, and a batch script that fits. Time is measured by a few "
            "micro-batches here; started on two or more ranks, the reductions are measured, too. "
            "--ranks, --memory or both are needed; what cannot fit is refused with what would.",
        .least = 1,
        .most = -1,
        .options = options,
        .take = take};
    rf_cli_arguments arguments;
    rf_config *config = NULL, *measured = NULL;
    rf_plan_options plan = {0};
    RF_TRY(rf_cli_parse(cli, &usage, argc, argv, &plan, &arguments));
    if (arguments.is_help) return RF_OK;
    if (plan.ranks == 0 && plan.memory <= 0)
        return rf_fail(RF_USAGE,
                       "neither --ranks nor --memory is given (refract plan). See refract "
                       "plan --help");
    plan.words = arguments.count;
    plan.argument = arguments.items;
    rf_status status = rf_cli_load_config(cli, &arguments, &config);
    if (status == RF_OK) status = rf_cli_load_config(cli, &arguments, &measured);
    const rf_environment environment = rf_cli_environment(cli);
    if (status == RF_OK) status = rf_plan(config, measured, &environment, &plan);
    rf_config_destroy(&config);
    rf_config_destroy(&measured);
    return status;
}
