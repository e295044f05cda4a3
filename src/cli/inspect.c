/* refract inspect */
#include <stdio.h>

#include "cli_internal.h"
#include "refract/comm/agree.h"
#include "refract/io/inspect.h"

static const struct argp_option options[] = {
    {"verify", 'v', NULL, 0, "recompute every checksum; code 3 when one does not hold", 0},
    {0},
};

static error_t take(int key, char *argument, struct argp_state *state)
{
    (void)argument;
    if (key != 'v') return ARGP_ERR_UNKNOWN;
    *(int *)state->input = 1;
    return 0;
}

static const rf_cli_usage usage = {
    .name = "inspect",
    .arguments = "FILE",
    .text =
        "Prints what a file holds: a checkpoint, telemetry (run.h5, also while the job runs), a "
        "token store, safetensors (file, index or folder), a GGUF file or a PEFT folder.",
    .least = 1,
    .most = 1,
    .options = options,
    .take = take,
};

rf_status rf_cli_inspect(rf_cli *cli, int argc, char **argv)
{
    int verify = 0;
    rf_cli_arguments arguments = {0};
    RF_TRY(rf_cli_parse(cli, &usage, argc, argv, &verify, &arguments));
    if (arguments.is_help) return RF_OK;
    return rf_agree(cli->world,
                    cli->rank == 0 ? rf_inspect(stdout, arguments.items[0], verify) : RF_OK);
}
