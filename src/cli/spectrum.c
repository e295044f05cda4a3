#include "refract/train/spectrum.h"
#include "cli_internal.h"

rf_status rf_cli_spectrum(rf_cli *cli, int argc, char **argv)
{
    const rf_cli_usage usage = {
        .name = "spectrum",
        .arguments = "INPUT|RUN [KEY=VALUE...]",
        .text =
            "Singular values of W0, dW and W0 + dW of every adapted module of a run, a checkpoint "
            "or a PEFT folder (eval.adapter=PATH), their effective ranks (exp of the entropy of "
            "sigma / sum sigma, and the number that holds 99 % of the energy) and intruder "
            "dimensions (of the 10 leading left singular vectors of W0 + dW, those with a cosine "
            "below 0.6 to all of W0's): a table, and spectrum.h5 in the run folder. Modules above "
            "linalg.distribute_above elements are factorised by all ranks together (ScaLAPACK).",
        .least = 1,
        .most = -1};
    rf_cli_arguments arguments;
    rf_config *config = NULL;
    RF_TRY(rf_cli_parse(cli, &usage, argc, argv, NULL, &arguments));
    if (arguments.is_help) return RF_OK;
    RF_TRY(rf_cli_load_run(cli, &arguments, &config));
    const rf_environment environment = rf_cli_environment(cli);
    const rf_status status = rf_spectrum(config, &environment);
    rf_config_destroy(&config);
    return status;
}
