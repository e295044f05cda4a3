#include "refract/train/eval.h"
#include "cli_internal.h"

rf_status rf_cli_eval(rf_cli *cli, int argc, char **argv)
{
    const rf_cli_usage usage = {
        .name = "eval",
        .arguments = "INPUT [KEY=VALUE...]",
        .text =
            "Scores a base model, a run, a checkpoint or a PEFT folder (eval.adapter=PATH) on "
            "data.eval; prints `name = value` lines and writes eval.json into the output folder.",
        .least = 1,
        .most = -1};
    rf_cli_arguments arguments;
    rf_config *config = NULL;
    RF_TRY(rf_cli_parse(cli, &usage, argc, argv, NULL, &arguments));
    if (arguments.is_help) return RF_OK;
    RF_TRY(rf_cli_load_config(cli, &arguments, &config));
    const rf_environment environment = rf_cli_environment(cli);
    const rf_status status = rf_eval(config, &environment);
    rf_config_destroy(&config);
    return status;
}
