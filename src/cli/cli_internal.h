/** What the subcommands share. */
#ifndef RF_CLI_INTERNAL_H
#define RF_CLI_INTERNAL_H

#include <argp.h>
#include <mpi.h>

#include "refract/base/config.h"
#include "refract/base/log.h"
#include "refract/base/status.h"
#include "refract/train/train.h"

/** What every subcommand is given. */
typedef struct rf_cli {
    MPI_Comm world; /**< borrowed: MPI_COMM_WORLD */
    int rank, size;
    int threads;  /**< of this rank */
    double start; /**< rf_clock_seconds() when the program began */
    int is_mute;  /**< 1: another process of the same launch tells the failure */
    rf_log log;
    char blas[160];          /**< version and kernels, the same on all ranks */
    char program[65];        /**< SHA-256 of the executable, the same on all ranks */
    char command_line[4096]; /**< as it was typed, cut where it is longer */
} rf_cli;

/** A subcommand: argv[0] is its name. `run` is collective over world. */
typedef struct rf_command {
    const char *name;
    const char *summary; /**< one line, for refract --help */
    rf_status (*run)(rf_cli *cli, int argc, char **argv);
} rf_command;

/** What a command of layer train is told of this process; borrows cli. Local. */
rf_environment rf_cli_environment(rf_cli *cli);

rf_status rf_cli_config(rf_cli *cli, int argc, char **argv);
rf_status rf_cli_eval(rf_cli *cli, int argc, char **argv);
rf_status rf_cli_export(rf_cli *cli, int argc, char **argv);
rf_status rf_cli_generate(rf_cli *cli, int argc, char **argv);
rf_status rf_cli_inspect(rf_cli *cli, int argc, char **argv);
rf_status rf_cli_methods(rf_cli *cli, int argc, char **argv);
rf_status rf_cli_plan(rf_cli *cli, int argc, char **argv);
rf_status rf_cli_prepare(rf_cli *cli, int argc, char **argv);
rf_status rf_cli_spectrum(rf_cli *cli, int argc, char **argv);
rf_status rf_cli_sweep(rf_cli *cli, int argc, char **argv);
rf_status rf_cli_train(rf_cli *cli, int argc, char **argv);

/** Root prints version, commit, compiler, build and the libraries. Local. */
void rf_cli_version(const rf_cli *cli);

/**
 * Before any subcommand: threads are counted, the launcher's count of tasks is compared with MPI's,
 * and all ranks agree on program and BLAS kernels. Collective over world; RF_RESOURCES.
 */
rf_status rf_cli_start(rf_cli *cli);

/** How a subcommand is called. */
typedef struct rf_cli_usage {
    const char *name;
    const char *arguments; /**< e.g. "INPUT [KEY=VALUE...]" */
    const char *text;      /**< for --help */
    int least, most;       /**< number of arguments that are not options; most -1 = any */
    const struct argp_option *options; /**< NULL = only --help */
    /** Takes an option into `input`; returns RF_USAGE (as an error_t) after rf_fail. NULL without
     * options. */
    argp_parser_t take;
} rf_cli_usage;

/** What stood on the command line besides options. */
typedef struct rf_cli_arguments {
    int is_help; /**< 1: --help was asked for and printed; there is nothing else to do */
    int count;
    char **items; /**< borrowed from argv */
} rf_cli_arguments;

/**
 * Reads a subcommand's options into `input` and prints its help from root if asked for. Collective
 * over world; RF_USAGE.
 */
rf_status rf_cli_parse(rf_cli *cli, const rf_cli_usage *usage, int argc, char **argv, void *input,
                       rf_cli_arguments *arguments);

/**
 * Root reads the file items[0], every rank parses and checks it with the overrides items[1..count);
 * root warns of keys that no chosen method reads. The caller owns *config. Collective over world;
 * RF_INPUT, RF_USAGE, RF_RESOURCES.
 */
rf_status rf_cli_load_config(rf_cli *cli, const rf_cli_arguments *arguments, rf_config **config);

/**
 * As rf_cli_load_config; items[0] may be a run folder too: then its config.yaml is read, with
 * `output` set to the folder; or a checkpoint, whose configuration is read, with eval.adapter set
 * to it. Collective over world; the same failures.
 */
rf_status rf_cli_load_run(rf_cli *cli, const rf_cli_arguments *arguments, rf_config **config);

#endif
