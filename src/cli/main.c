#include "refract/cli/cli.h"

#include <mpi.h>
#include <stdio.h>
#include <string.h>

#include "rf_version.h"

int rf_cli_main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    if (argc > 1 && strcmp(argv[1], "--version") == 0)
        printf("refract %s (%s)\n", RF_VERSION, RF_GIT_COMMIT);
    MPI_Finalize();
    return 0;
}
