/* Options of the subcommands, by argp kept from printing or ending the program by itself. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli_internal.h"
#include "refract/comm/agree.h"

enum { HELP_KEY = 'h', ARGP_FLAGS = ARGP_NO_ERRS | ARGP_NO_EXIT | ARGP_NO_HELP };

static const struct argp_option help_option[] = {
    {"help", HELP_KEY, NULL, 0, "tell how this command is called", -1},
    {0},
};

/* What the outermost parser works on. */
typedef struct parsing {
    void *input; /* of the subcommand's own parser */
    int is_help;
    const char *refused; /* the option that was not understood */
} parsing;

static error_t take_common(int key, char *argument, struct argp_state *state)
{
    (void)argument;
    parsing *now = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        if (state->root_argp->children) state->child_inputs[0] = now->input;
        return 0;
    case HELP_KEY:
        now->is_help = 1;
        return 0;
    case ARGP_KEY_ERROR:
        if (state->next > 0 && state->next <= state->argc)
            now->refused = state->argv[state->next - 1];
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static rf_status refuse(const rf_cli_usage *usage, const char *what, const char *which)
{
    return rf_fail(RF_USAGE, "%s%s%s%s (refract %s). See refract %s --help", what,
                   which ? " '" : "", which ? which : "", which ? "'" : "", usage->name,
                   usage->name);
}

static rf_status count_arguments(const rf_cli_usage *usage, const rf_cli_arguments *arguments)
{
    if (arguments->count < usage->least)
        return refuse(usage, "too few arguments: wanted", usage->arguments);
    if (usage->most >= 0 && arguments->count > usage->most)
        return refuse(usage, "unexpected argument", arguments->items[usage->most]);
    return RF_OK;
}

static rf_status parse(const rf_cli *cli, const rf_cli_usage *usage, int argc, char **argv,
                       void *input, rf_cli_arguments *arguments)
{
    const struct argp own = {.options = usage->options, .parser = usage->take};
    const struct argp_child children[] = {{&own, 0, NULL, 0}, {0}};
    const struct argp all = {
        help_option, take_common, usage->arguments, usage->text, usage->options ? children : NULL,
        NULL,        NULL};
    parsing now = {.input = input};
    int first = argc;
    const error_t error = argp_parse(&all, argc, argv, ARGP_FLAGS, &first, &now);
    if (error == (error_t)RF_USAGE) return RF_USAGE;
    if (error) return refuse(usage, "unknown or incomplete option", now.refused);
    *arguments = (rf_cli_arguments){now.is_help, argc - first, argv + first};
    if (!now.is_help) return count_arguments(usage, arguments);
    char name[64];
    snprintf(name, sizeof name, "refract %s", usage->name);
    if (cli->rank == 0)
        argp_help(&all, stdout, ARGP_HELP_USAGE | ARGP_HELP_DOC | ARGP_HELP_LONG, name);
    return RF_OK;
}

rf_status rf_cli_parse(rf_cli *cli, const rf_cli_usage *usage, int argc, char **argv, void *input,
                       rf_cli_arguments *arguments)
{
    return rf_agree(cli->world, parse(cli, usage, argc, argv, input, arguments));
}
