/* refract prepare */
#include <errno.h>
#include <stdlib.h>

#include "cli_internal.h"
#include "refract/data/prepare.h"
#include "refract/io/model_files.h"

static const struct argp_option options[] = {
    {"show", 'n', "N", 0, "print the first N samples, what is given and what is learnt", 0},
    {0},
};

static error_t take(int key, char *argument, struct argp_state *state)
{
    if (key != 'n') return ARGP_ERR_UNKNOWN;
    char *end = NULL;
    errno = 0;
    const long long show = strtoll(argument, &end, 10);
    if (errno || end == argument || *end || show < 0)
        return (error_t)rf_fail(RF_USAGE,
                                "--show wants a number, not '%s' (refract prepare). See refract "
                                "prepare --help",
                                argument);
    *(int64_t *)state->input = show;
    return 0;
}

static const rf_cli_usage usage = {
    .name = "prepare",
    .arguments = "INPUT [KEY=VALUE...]",
    .text = "Turns the text of data.train and data.eval into token stores, OUTPUT/train.h5 and "
            "OUTPUT/eval.h5, all ranks together. Name them as data.train and data.eval to train "
            "on them.",
    .least = 1,
    .most = -1,
    .options = options,
    .take = take,
};

rf_status rf_cli_prepare(rf_cli *cli, int argc, char **argv)
{
    int64_t show = 0;
    rf_cli_arguments arguments = {0};
    RF_TRY(rf_cli_parse(cli, &usage, argc, argv, &show, &arguments));
    if (arguments.is_help) return RF_OK;
    rf_config *config = NULL;
    rf_tokenizer *tokenizer = NULL;
    RF_TRY(rf_cli_load_config(cli, &arguments, &config));
    rf_status status = rf_data_tokenizer(&tokenizer, cli->world, config, rf_model_files_tokenizer);
    if (status == RF_OK) status = rf_prepare_run(cli->world, config, tokenizer, show, &cli->log);
    rf_tokenizer_destroy(&tokenizer);
    rf_config_destroy(&config);
    return status;
}
