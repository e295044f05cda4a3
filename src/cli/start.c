/* What has to hold before a subcommand runs: threads, the launch, the same program everywhere. */
#include <cblas.h>
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli_internal.h"
#include "refract/comm/agree.h"
#include "refract/linalg/bf16.h"
#include "refract/store/digest.h"

/* How many ranks of this node run on exactly the CPUs this one does. */
static int ranks_on_these_cpus(MPI_Comm world, const cpu_set_t *cpus)
{
    MPI_Comm node = MPI_COMM_NULL;
    MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    int size = 1, sharing = 0;
    MPI_Comm_size(node, &size);
    cpu_set_t *all = calloc((size_t)size, sizeof *all);
    RF_ASSERT(all, "no memory for %d CPU sets", size);
    MPI_Allgather(cpus, (int)sizeof *cpus, MPI_BYTE, all, (int)sizeof *cpus, MPI_BYTE, node);
    for (int i = 0; i < size; i++) sharing += CPU_EQUAL(cpus, &all[i]) != 0;
    free(all);
    MPI_Comm_free(&node);
    return sharing;
}

/* OMP_NUM_THREADS if set; else the CPUs this rank is bound to, shared out over the ranks bound
 * alike. */
static int count_threads(MPI_Comm world)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    const int known = sched_getaffinity(0, sizeof cpus, &cpus) == 0;
    const int sharing = ranks_on_these_cpus(world, &cpus);
    const int wished = omp_get_max_threads();
    if (getenv("OMP_NUM_THREADS") || !known) return wished;
    return CPU_COUNT(&cpus) > sharing && sharing > 0 ? CPU_COUNT(&cpus) / sharing : 1;
}

/* BLAS first: setting its threads sets OpenMP's too. Threads beyond one are ours, over fixed tiles.
 */
static void set_threads(rf_cli *cli)
{
    cli->threads = count_threads(cli->world);
    openblas_set_num_threads(1);
    omp_set_num_threads(cli->threads);
}

static int number_in(const char *variable)
{
    const char *text = getenv(variable);
    return text ? (int)strtol(text, NULL, 10) : 0;
}

/* How many tasks the launcher started, and which of them this is; 1 where nothing tells. An sbatch
 * or salloc shell has SLURM_NTASKS too, so only the variables of a job step count. */
static int launched_tasks(int *which)
{
    if (getenv("OMPI_COMM_WORLD_SIZE")) {
        *which = number_in("OMPI_COMM_WORLD_RANK");
        return number_in("OMPI_COMM_WORLD_SIZE");
    }
    if (getenv("PMI_SIZE")) {
        *which = number_in("PMI_RANK");
        return number_in("PMI_SIZE");
    }
    if (!getenv("SLURM_STEP_ID") || !getenv("SLURM_PROCID")) return 1;
    *which = number_in("SLURM_PROCID");
    const int tasks = number_in("SLURM_STEP_NUM_TASKS");
    return tasks > 0 ? tasks : number_in("SLURM_NTASKS");
}

static rf_status check_launch(rf_cli *cli)
{
    int which = 0;
    const int tasks = launched_tasks(&which);
    if (cli->size > 1 || tasks <= 1) return RF_OK;
    cli->is_mute = which != 0;
    return rf_fail(RF_RESOURCES,
                   "%d tasks were started, but MPI knows only one: each would run the whole job by "
                   "itself (%s). Start with `srun --mpi=pmix`, or with the mpirun of the MPI that "
                   "refract was built with",
                   tasks, cli->log.host);
}

typedef struct identity {
    char blas[160]; /* version and kernels, and those of bf16 */
    char program[RF_DIGEST_BYTES];
    char host[64];
} identity;

static rf_status digest_program(char hex[RF_DIGEST_BYTES])
{
    enum { PIECE = 1 << 16 };
    static const char *const path = "/proc/self/exe";
    FILE *file = fopen(path, "rb");
    char *piece = malloc(PIECE);
    rf_digest digest = {0};
    rf_status status = file && piece ? rf_digest_start(&digest)
                                     : rf_fail(RF_INPUT, "cannot read the program (%s)", path);
    if (status == RF_OK) {
        for (size_t got; (got = fread(piece, 1, PIECE, file)) > 0;)
            rf_digest_add(&digest, piece, got);
        rf_digest_finish(&digest, hex);
    }
    free(piece);
    if (file) fclose(file);
    return status;
}

static rf_status identify(const rf_cli *cli, identity *mine)
{
    *mine = (identity){.host = ""};
    snprintf(mine->blas, sizeof mine->blas, "%.90s core %.30s, bf16 %.12s", openblas_get_config(),
             RF_FAULT_AT("start.blas") ? "another" : openblas_get_corename(), rf_bf16_kernels());
    snprintf(mine->host, sizeof mine->host, "%s", cli->log.host);
    RF_TRY(digest_program(mine->program));
    if (RF_FAULT_AT("start.program")) memset(mine->program, '0', RF_DIGEST_BYTES - 1);
    return RF_OK;
}

static rf_status compare(const identity *all, int size)
{
    for (int i = 1; i < size; i++) {
        if (strcmp(all[i].program, all[0].program) != 0)
            return rf_fail(RF_RESOURCES,
                           "rank %d on %s runs another refract than rank 0 on %s (SHA-256 %.12s, "
                           "%.12s). Install one build on all nodes",
                           i, all[i].host, all[0].host, all[i].program, all[0].program);
        if (strcmp(all[i].blas, all[0].blas) != 0)
            return rf_fail(
                RF_RESOURCES,
                "rank %d on %s has other BLAS kernels than rank 0 on %s (%s; %s). Use "
                "nodes of one kind, or set OPENBLAS_CORETYPE and ONEDNN_MAX_CPU_ISA to the "
                "older one's",
                i, all[i].host, all[0].host, all[i].blas, all[0].blas);
    }
    return RF_OK;
}

/* Kernels for different CPUs round differently: ranks that mix them would drift apart. */
static rf_status check_same_program(rf_cli *cli)
{
    identity mine;
    identity *all = calloc((size_t)cli->size, sizeof *all);
    rf_status status = all ? identify(cli, &mine)
                           : rf_fail(RF_RESOURCES, "no memory for %d identities", cli->size);
    status = rf_agree(cli->world, status);
    if (status == RF_OK) {
        MPI_Allgather(&mine, (int)sizeof mine, MPI_BYTE, all, (int)sizeof mine, MPI_BYTE,
                      cli->world);
        status = compare(all, cli->size);
        snprintf(cli->blas, sizeof cli->blas, "%s", mine.blas);
        snprintf(cli->program, sizeof cli->program, "%s", mine.program);
    }
    free(all);
    return status;
}

rf_status rf_cli_start(rf_cli *cli)
{
    RF_TRY_ALL(cli->world, check_launch(cli));
    set_threads(cli);
    return check_same_program(cli);
}
