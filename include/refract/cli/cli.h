/** The program: one entry, one exit code. */
#ifndef RF_CLI_CLI_H
#define RF_CLI_CLI_H

/**
 * Starts MPI, runs the subcommand that argv names, prints a failure once from root, ends MPI and
 * returns the exit code, the same on all ranks.
 */
int rf_cli_main(int argc, char **argv);

#endif
