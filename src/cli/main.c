#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli_internal.h"
#include "refract/base/nearest.h"
#include "refract/base/stop.h"
#include "refract/cli/cli.h"
#include "refract/comm/agree.h"

static const rf_command commands[] = {
    {"config", "check an input file and print the effective configuration", rf_cli_config},
    {"eval", "score a base model, a run, a checkpoint or a PEFT folder", rf_cli_eval},
    {"export", "an adapter or a model as a folder for others, compared with the trained one",
     rf_cli_export},
    {"generate", "text from prompts, greedy or sampled", rf_cli_generate},
    {"inspect", "what a checkpoint, telemetry, token or safetensors file holds", rf_cli_inspect},
    {"methods", "every method, its paper, its keys, what it combines with", rf_cli_methods},
    {"plan", "what a run will take, and a batch script, before it is queued", rf_cli_plan},
    {"prepare", "text or JSONL into a token store, by all ranks together", rf_cli_prepare},
    {"spectrum", "singular values of W0, dW and W0 + dW of every module, into HDF5",
     rf_cli_spectrum},
    {"sweep", "plan, run and collect many runs that differ in a few keys", rf_cli_sweep},
    {"train", "fine-tune a model, or go on with a run", rf_cli_train},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void print_help(const rf_cli *cli)
{
    if (cli->rank != 0) return;
    printf("Usage: refract COMMAND ...\n\n"
           "Fine-tunes transformer language models with LoRA-family adapters on MPI clusters:\n"
           "the same input gives the same bits on any number of ranks and threads.\n\n"
           "Commands:\n");
    for (int i = 0; i < COMMANDS; i++)
        printf("  %-12s %s\n", commands[i].name, commands[i].summary);
    printf("\nrefract COMMAND --help tells more about each; refract --version what it was built "
           "from.\n"
           "Runs alone (one rank) or under mpirun or srun --mpi=pmix.\n"
           "Exit codes: 0 done, 1 bug, 2 usage or configuration, 3 input file, 4 resources,\n"
           "5 non-finite numbers, 6 writing failed, 7 run folder in use or of another run,\n"
           "75 stopped with all state saved (run the same command again).\n");
}

/* argv with blanks between, for the record that files keep of where they come from. */
static void join_arguments(rf_cli *cli, int argc, char **argv)
{
    size_t at = 0;
    for (int i = 0; i < argc && at < sizeof cli->command_line; i++) {
        const size_t room = sizeof cli->command_line - at;
        at += (size_t)snprintf(cli->command_line + at, room, "%s%s", i ? " " : "", argv[i]);
    }
}

rf_environment rf_cli_environment(rf_cli *cli)
{
    return (rf_environment){.world = cli->world,
                            .log = &cli->log,
                            .threads = cli->threads,
                            .start = cli->start,
                            .command_line = cli->command_line,
                            .blas = cli->blas,
                            .program = cli->program};
}

static rf_status unknown_command(const char *name)
{
    rf_nearest search = rf_nearest_start(name);
    for (int i = 0; i < COMMANDS; i++) rf_nearest_offer(&search, commands[i].name);
    if (search.best)
        return rf_fail(RF_USAGE, "unknown command '%s' (command line). Did you mean '%s'?", name,
                       search.best);
    return rf_fail(RF_USAGE, "unknown command '%s' (command line). See refract --help", name);
}

static rf_status run(rf_cli *cli, int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;
    if (!name) return rf_fail(RF_USAGE, "no command (command line). See refract --help");
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        print_help(cli);
        return RF_OK;
    }
    if (strcmp(name, "--version") == 0) {
        rf_cli_version(cli);
        return RF_OK;
    }
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, name) != 0) continue;
        RF_TRY(rf_cli_start(cli));
        return commands[i].run(cli, argc - 1, argv + 1);
    }
    return unknown_command(name);
}

static void tell(const rf_cli *cli, rf_status status)
{
    fflush(stdout);
    if (status == RF_OK || cli->rank != 0 || cli->is_mute) return;
    const char *kind = status == RF_STOPPED ? "" : "error: ";
    fprintf(stderr, "refract: %s%s\n", kind, rf_status_message());
}

/* Commands that look for signals from their first collective step on: a batch system may send one
 * while MPI still starts, and it must be remembered then. The others die of it, as programs do. */
static int catches_signals(const char *name)
{
    static const char *const names[] = {"eval", "generate", "sweep", "train"};
    for (size_t i = 0; name && i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0) return 1;
    return 0;
}

int rf_cli_main(int argc, char **argv)
{
    if (catches_signals(argc > 1 ? argv[1] : NULL)) rf_stop_install();
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a failed write, not the end */
    rf_cli cli = {.world = MPI_COMM_WORLD, .start = rf_clock_seconds()};
    int level = 0;
    /* Started alone, Open MPI would start a daemon beside us, for calls never made here. */
    setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
    /* Shared file pointers, never used here: groups of ranks that write files of one name at a time
     * would meet in them. */
    setenv("OMPI_MCA_sharedfp", "^sm", 0);
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &level);
    MPI_Comm_rank(cli.world, &cli.rank);
    MPI_Comm_size(cli.world, &cli.size);
    cli.log = rf_log_start(cli.rank);
    join_arguments(&cli, argc, argv);
    const rf_status status = rf_agree(cli.world, run(&cli, argc, argv));
    rf_log_stop(&cli.log);
    tell(&cli, status);
    MPI_Finalize();
    return (int)status;
}
