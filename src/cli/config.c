/* refract config */
#include <stdio.h>
#include <stdlib.h>

#include "cli_internal.h"

static const struct argp_option options[] = {
    {"schema", 's', NULL, 0, "print every key with default, meaning and range", 0},
    {0},
};

static error_t take(int key, char *argument, struct argp_state *state)
{
    (void)argument;
    if (key != 's') return ARGP_ERR_UNKNOWN;
    *(int *)state->input = 1;
    return 0;
}

static const rf_cli_usage usage = {
    .name = "config",
    .arguments = "INPUT [KEY=VALUE...]",
    .text = "Checks an input file and prints the effective configuration, every key. What is "
            "printed is an input file that means the same.",
    .least = 0,
    .most = -1,
    .options = options,
    .take = take,
};

static rf_status print(const rf_cli *cli, const rf_config *config)
{
    if (cli->rank != 0) return RF_OK;
    char *yaml = rf_config_yaml(config);
    if (!yaml) return rf_fail(RF_RESOURCES, "no memory for the configuration's text");
    fputs(yaml, stdout);
    free(yaml);
    return RF_OK;
}

rf_status rf_cli_config(rf_cli *cli, int argc, char **argv)
{
    int schema = 0;
    rf_cli_arguments arguments = {0};
    RF_TRY(rf_cli_parse(cli, &usage, argc, argv, &schema, &arguments));
    if (arguments.is_help) return RF_OK;
    if (schema && cli->rank == 0) rf_config_print_schema(stdout);
    if (schema) return RF_OK;
    if (arguments.count == 0)
        return rf_fail(RF_USAGE, "no INPUT (refract config). See refract config --help");
    rf_config *config = NULL;
    RF_TRY(rf_cli_load_config(cli, &arguments, &config));
    const rf_status status = print(cli, config);
    rf_config_destroy(&config);
    return status;
}
