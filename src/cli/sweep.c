/* refract sweep plan | run | status | collect */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli_internal.h"
#include "refract/base/file.h"
#include "refract/base/nearest.h"
#include "refract/comm/agree.h"
#include "refract/sweep/run.h"
#include "refract/sweep/status.h"

enum { LONGEST_INPUT = 1 << 28 };

/* Options of all four. */
typedef struct sweep_options {
    int64_t index, workers;
    int json, all;
} sweep_options;

static error_t take_whole(const char *option, const char *text, int64_t least, int64_t *value)
{
    char *end = NULL;
    errno = 0;
    *value = strtoll(text, &end, 10);
    if (!errno && end != text && !*end && *value >= least) return 0;
    return (error_t)rf_fail(RF_USAGE,
                            "--%s wants a number, not '%s' (refract sweep run). See refract "
                            "sweep run --help",
                            option, text);
}

static error_t take(int key, char *argument, struct argp_state *state)
{
    sweep_options *options = state->input;
    switch (key) {
    case 'i':
        return take_whole("index", argument, 0, &options->index);
    case 'w':
        return take_whole("workers", argument, 1, &options->workers);
    case 'j':
        options->json = 1;
        return 0;
    case 'a':
        options->all = 1;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option run_options[] = {
    {"index", 'i', "I", 0, "only run number I, from 0, with all ranks: one task of a job array", 0},
    {"workers", 'w', "W", 0, "split the ranks into W groups that take runs as they get free", 0},
    {0}};
static const struct argp_option status_options[] = {
    {"json", 'j', NULL, 0, "one JSON object instead of a table", 0},
    {"all", 'a', NULL, 0, "a line for every run, also those that are done or left", 0},
    {0}};

/* Root reads the file, all ranks get its text. */
static rf_status read_text(const rf_cli *cli, const char *path, char **text, size_t *length)
{
    RF_TRY_ALL(cli->world,
               cli->rank == 0 ? rf_file_read(text, length, path, LONGEST_INPUT) : RF_OK);
    return rf_broadcast_bytes(cli->world, 0, text, length);
}

static rf_status load(const rf_cli *cli, const char *path, rf_sweep *sweep)
{
    char *text = NULL;
    size_t length = 0;
    RF_TRY(read_text(cli, path, &text, &length));
    const rf_status status = rf_agree(cli->world, rf_sweep_read(sweep, text, length, path));
    free(text);
    return status;
}

static rf_status plan_on_root(rf_cli *cli, const rf_cli_arguments *arguments, rf_sweep *sweep)
{
    char *text = NULL, path[PATH_MAX];
    size_t length = 0;
    if (cli->rank != 0) return RF_OK;
    RF_TRY(rf_file_read(&text, &length, arguments->items[0], LONGEST_INPUT));
    const rf_status status =
        rf_sweep_plan(sweep, text, length, arguments->items[0],
                      (const char *const *)(arguments->items + 1), arguments->count - 1);
    free(text);
    RF_TRY(status);
    RF_TRY(rf_sweep_write(sweep, path));
    rf_log_info(&cli->log, "manifest: %s, %lld run%s", path, (long long)sweep->count,
                sweep->count == 1 ? "" : "s");
    return RF_OK;
}

static rf_status plan(rf_cli *cli, const rf_cli_arguments *arguments, const sweep_options *options)
{
    rf_sweep sweep = {.count = 0};
    (void)options;
    const rf_status status = rf_agree(cli->world, plan_on_root(cli, arguments, &sweep));
    rf_sweep_free(&sweep);
    return status;
}

static rf_status run(rf_cli *cli, const rf_cli_arguments *arguments, const sweep_options *options)
{
    rf_sweep sweep = {.count = 0};
    if (options->index >= 0 && options->workers > 0)
        return rf_fail(RF_USAGE, "--index and --workers exclude each other (refract sweep run). "
                                 "Choose one");
    rf_status status = load(cli, arguments->items[0], &sweep);
    const rf_environment environment = rf_cli_environment(cli);
    if (status == RF_OK && options->index >= 0)
        status = rf_sweep_run_one(&sweep, &environment, options->index);
    else if (status == RF_OK)
        status = rf_sweep_run_all(&sweep, &environment,
                                  options->workers > 0 ? (int)options->workers : 1);
    rf_sweep_free(&sweep);
    return status;
}

/* status and collect: root alone works. */
static rf_status look(rf_cli *cli, const rf_cli_arguments *arguments, const sweep_options *options,
                      int collects)
{
    rf_sweep sweep = {.count = 0};
    rf_sweep_survey survey = {.mean = 0};
    char path[PATH_MAX];
    rf_status status = load(cli, arguments->items[0], &sweep);
    if (status == RF_OK && cli->rank == 0) {
        status = rf_sweep_survey_take(&survey, &sweep);
        if (status == RF_OK && collects)
            status = rf_sweep_collect(&sweep, &survey, &cli->log, path);
        if (status == RF_OK && collects)
            rf_log_info(&cli->log, "results: %s, %lld of %lld runs done", path,
                        (long long)survey.count[RF_SWEEP_DONE], (long long)sweep.count);
        else if (status == RF_OK && options->json)
            status = rf_sweep_print_json(stdout, &sweep, &survey);
        else if (status == RF_OK)
            rf_sweep_print(stdout, &sweep, &survey, options->all);
    }
    rf_sweep_survey_free(&survey);
    rf_sweep_free(&sweep);
    return rf_agree(cli->world, status);
}

static rf_status show(rf_cli *cli, const rf_cli_arguments *arguments, const sweep_options *options)
{
    return look(cli, arguments, options, 0);
}

static rf_status collect(rf_cli *cli, const rf_cli_arguments *arguments,
                         const sweep_options *options)
{
    return look(cli, arguments, options, 1);
}

typedef struct verb {
    const char *name;
    rf_cli_usage usage;
    rf_status (*run)(rf_cli *, const rf_cli_arguments *, const sweep_options *);
} verb;

static const verb verbs[] = {
    {"plan",
     {.name = "sweep plan",
      .arguments = "SWEEP.yaml [KEY=VALUE...]",
      .text =
          "Turns a sweep into OUTPUT/manifest.jsonl, one line a run. SWEEP.yaml has base (the "
          "input file of all runs), output (the sweep's folder), and what differs: grid (every "
          "combination of lists), list (runs one by one), random (samples, seed, keys with "
          "{choice: [..]}, {uniform: [low, high]}, {log: [..]} or {integer: [..]}), seeds (N or "
          "a list); set and KEY=VALUE hold for all runs. Planning again keeps what is done.",
      .least = 1,
      .most = -1},
     plan},
    {"run",
     {.name = "sweep run",
      .arguments = "MANIFEST",
      .text =
          "Trains the runs of a manifest that are not done: one (--index), or all that are left. "
          "The same command goes on after a stop; runs that are done are never repeated, and "
          "several jobs may work on one manifest.",
      .least = 1,
      .most = 1,
      .options = run_options,
      .take = take},
     run},
    {"status",
     {.name = "sweep status",
      .arguments = "MANIFEST",
      .text = "Prints how many runs are done, running, failed, stopped and left, how long the rest "
              "will take, and a line for each that is running, failed or stopped.",
      .least = 1,
      .most = 1,
      .options = status_options,
      .take = take},
     show},
    {"collect",
     {.name = "sweep collect",
      .arguments = "MANIFEST",
      .text =
          "Writes sweep.h5 beside the manifest: a row a run, with what it sets and what came of "
          "it, and links to the runs' run.h5. refract-analysis sweep reads it.",
      .least = 1,
      .most = 1},
     collect},
};
enum { VERBS = sizeof verbs / sizeof verbs[0] };

static void print_help(const rf_cli *cli)
{
    if (cli->rank != 0) return;
    puts("Usage: refract sweep plan SWEEP.yaml [KEY=VALUE...]\n"
         "       refract sweep run MANIFEST [--index I | --workers W]\n"
         "       refract sweep status MANIFEST [--json] [--all]\n"
         "       refract sweep collect MANIFEST\n\n"
         "Many runs of one input that differ in a few keys. refract sweep VERB --help tells more\n"
         "about each; inputs/sweep-quickstart.yaml is an example.");
}

rf_status rf_cli_sweep(rf_cli *cli, int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        print_help(cli);
        return RF_OK;
    }
    rf_nearest search = rf_nearest_start(name);
    for (int i = 0; i < VERBS; i++) {
        rf_cli_arguments arguments = {0};
        sweep_options options = {.index = -1};
        rf_nearest_offer(&search, verbs[i].name);
        if (strcmp(verbs[i].name, name) != 0) continue;
        RF_TRY(rf_cli_parse(cli, &verbs[i].usage, argc - 1, argv + 1, &options, &arguments));
        return arguments.is_help ? RF_OK : verbs[i].run(cli, &arguments, &options);
    }
    if (!name[0]) return rf_fail(RF_USAGE, "refract sweep what? See refract sweep --help");
    return rf_fail(RF_USAGE, "unknown verb '%s' (refract sweep). %s%s%s", name,
                   search.best ? "Did you mean '" : "See refract sweep --help",
                   search.best ? search.best : "", search.best ? "'?" : "");
}
