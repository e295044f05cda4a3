#include "refract/train/train.h"
#include "cli_internal.h"

static const struct argp_option options[] = {
    {"dry-run", 'n', NULL, 0, "print layout, memory plan and disk need; leave no trace", 0}, {0}};

static error_t take(int key, char *value, struct argp_state *state)
{
    (void)value;
    if (key != 'n') return ARGP_ERR_UNKNOWN;
    *(int *)state->input = 1;
    return 0;
}

rf_status rf_cli_train(rf_cli *cli, int argc, char **argv)
{
    const rf_cli_usage usage = {
        .name = "train",
        .arguments = "INPUT [KEY=VALUE...]",
        .text =
            "Fine-tunes (or trains in full) as the YAML file INPUT says; KEY=VALUE overrides any "
            "key by its dotted path. Goes on by itself where the output folder holds a "
            "checkpoint: the same command every time.",
        .least = 1,
        .most = -1,
        .options = options,
        .take = take};
    rf_cli_arguments arguments;
    rf_config *config = NULL;
    int is_dry = 0;
    RF_TRY(rf_cli_parse(cli, &usage, argc, argv, &is_dry, &arguments));
    if (arguments.is_help) return RF_OK;
    RF_TRY(rf_cli_load_config(cli, &arguments, &config));
    const rf_environment environment = rf_cli_environment(cli);
    const rf_status status = rf_train(config, &environment, is_dry);
    rf_config_destroy(&config);
    return status;
}
