#include <cblas.h>
#include <hdf5.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <string.h>

#include "cli_internal.h"
#include "refract/base/real.h"
#include "refract/linalg/bf16.h"
#include "rf_version.h"

void rf_cli_version(const rf_cli *cli)
{
    if (cli->rank != 0) return;
    unsigned major = 0, minor = 0, release = 0;
    H5get_libversion(&major, &minor, &release);
    char mpi[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length = 0;
    MPI_Get_library_version(mpi, &length);
    mpi[strcspn(mpi, ",\n")] = '\0'; /* what follows tells who packaged it */
    printf("refract %s\n", RF_VERSION);
    printf("commit    %s\n", RF_GIT_COMMIT);
    printf("compiler  %s\n", RF_COMPILER);
    printf("build     %s\n", RF_BUILD_TYPE);
    printf("numbers   %s\n", RF_REAL_NAME);
    printf("BLAS      %s (core %s)\n", openblas_get_config(), openblas_get_corename());
    printf("bf16      oneDNN %d.%d.%d (%s)\n", dnnl_version()->major, dnnl_version()->minor,
           dnnl_version()->patch, rf_bf16_kernels());
    printf("MPI       %s\n", mpi);
    printf("HDF5      %u.%u.%u\n", major, minor, release);
}
