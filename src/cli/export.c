/* refract export */
#include "refract/train/export.h"
#include "cli_internal.h"

static const struct argp_option options[] = {
    {"format", 'f', "FORMAT", 0, "peft, merged, pruned, gguf or gguf-adapter", 0},
    {"out", 'o', "DIR", 0, "the folder to make; it must not be there", 0},
    {"dtype", 'd', "TYPE", 0,
     "numbers of a model: f32, bf16, f16, in gguf also q8_0 (default: the base's own, f32 where it "
     "is quantised)",
     0},
    {"force", 'F', NULL, 0, "replace an earlier export of that name", 0},
    {0},
};

/* What was asked for. */
typedef struct wanted {
    rf_export_options options;
    int has_format;
} wanted;

static error_t take(int key, char *text, struct argp_state *state)
{
    wanted *w = state->input;
    switch (key) {
    case 'f':
        w->has_format = rf_export_format_named(&w->options.format, text);
        if (w->has_format) return 0;
        return (error_t)rf_fail(RF_USAGE,
                                "--format %s is unknown (refract export). Known are peft, merged, "
                                "pruned, gguf, gguf-adapter",
                                text);
    case 'o':
        w->options.out = text;
        return 0;
    case 'd':
        w->options.dtype = text;
        return 0;
    case 'F':
        w->options.force = 1;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

rf_status rf_cli_export(rf_cli *cli, int argc, char **argv)
{
    const rf_cli_usage usage = {
        .name = "export",
        .arguments = "INPUT|RUN|CHECKPOINT [KEY=VALUE...]",
        .text =
            "Writes what was trained as a folder that others read: the adapter for PEFT or "
            "llama.cpp, "
            "the whole model with the adapter merged in (HF or GGUF), or what a prune has left of "
            "it. The folder is "
            "loaded again and its logits are compared with those of the trained model, on the "
            "first rows of data.eval or a fixed sequence; the largest difference is printed and "
            "put into the folder's README.md.",
        .least = 1,
        .most = -1,
        .options = options,
        .take = take};
    rf_cli_arguments arguments;
    rf_config *config = NULL;
    wanted wish = {0};
    RF_TRY(rf_cli_parse(cli, &usage, argc, argv, &wish, &arguments));
    if (arguments.is_help) return RF_OK;
    if (!wish.has_format || !wish.options.out)
        return rf_fail(RF_USAGE,
                       "--format and --out are both needed (refract export). See refract export "
                       "--help");
    RF_TRY(rf_cli_load_run(cli, &arguments, &config));
    const rf_environment environment = rf_cli_environment(cli);
    const rf_status status = rf_export(config, &environment, &wish.options);
    rf_config_destroy(&config);
    return status;
}
