/* Measures the machine, then training steps, and prints their ratio: benchmarks/run.sh compares
 * layouts. */
#include "bench.h"

#include <cblas.h>
#include <getopt.h>
#include <mpi.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STEPS = 100 };

static const char usage[] =
    "usage: bench [--tensor N] [--slices N] [--threads N] [--micro N] [--tokens N] [--steps N]\n"
    "             [--layers N] [--r N] [--dropout P] [--storage f32|bf16] [--adapter KIND]\n"
    "             [--precision f32|bf16] [--light] [--generate]\n"
    "             [--methods NAME,NAME...]\n"
    "Steps of a SmolLM2-135M-shaped model with LoRA (or dora, ...), as a share of this machine's "
    "sgemm (or bf16 product) rate;\n"
    "--light: beside it the same model as method light leaves it at its default shares; "
    "--methods: beside\nit the same model with each of these methods, such as "
    "reflora,beamlora,dora.\n"
    "--generate: reads a prompt of 128 tokens and makes 64 instead, weights held as Q4_1;\n"
    "alone or under mpirun. Default: 4 micro-batches of 512 tokens, 5 steps, 4 slices, r 16.\n";

static int parse_option(bench_options *o, int option, const char *value)
{
    switch (option) {
    case 't':
        o->tensor = atoi(value);
        return 1;
    case 's':
        o->slices = atoi(value);
        return 1;
    case 'n':
        o->threads = atoi(value);
        return 1;
    case 'm':
        o->micro = atoll(value);
        return 1;
    case 'k':
        o->tokens = atoll(value);
        return 1;
    case 'c':
        o->steps = atoi(value);
        return 1;
    case 'l':
        o->layers = atoll(value);
        return 1;
    case 'r':
        o->rank_r = atoll(value);
        return 1;
    case 'd':
        o->dropout = atof(value);
        return 1;
    case 'w':
        o->storage = strcmp(value, "bf16") == 0 ? RF_BF16 : RF_DTYPE_REAL;
        return 1;
    case 'p':
        o->is_bf16 = strcmp(value, "bf16") == 0;
        return o->is_bf16 || strcmp(value, "f32") == 0;
    case 'x':
        o->methods = value;
        return 1;
    case 'b':
        o->beside = 1;
        return 1;
    case 'g':
        o->generates = 1;
        return 1;
    case 'a':
        o->adapter = rf_adapter_find(value);
        return o->adapter != NULL;
    default:
        return 0;
    }
}

static int parse(bench_options *o, int argc, char **argv)
{
    static const struct option options[] = {
        {"tensor", 1, NULL, 't'},  {"slices", 1, NULL, 's'},   {"threads", 1, NULL, 'n'},
        {"micro", 1, NULL, 'm'},   {"tokens", 1, NULL, 'k'},   {"steps", 1, NULL, 'c'},
        {"layers", 1, NULL, 'l'},  {"r", 1, NULL, 'r'},        {"dropout", 1, NULL, 'd'},
        {"storage", 1, NULL, 'w'}, {"adapter", 1, NULL, 'a'},  {"precision", 1, NULL, 'p'},
        {"light", 0, NULL, 'b'},   {"generate", 0, NULL, 'g'}, {"methods", 1, NULL, 'x'},
        {NULL, 0, NULL, 0}};
    int option = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (!parse_option(o, option, optarg)) return 0;
    return optind == argc && o->tensor > 0 && o->slices > 0 && o->threads > 0 && o->micro > 0 &&
           o->tokens > 1 && o->steps > 0 && o->steps <= MAX_STEPS && o->layers > 0 && o->rank_r > 0;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, compare);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

/* Peak memory of this process, bytes. */
static double peak_memory(void)
{
    char line[256];
    double kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "VmHWM:", 6) == 0) kib = atof(line + 6);
    if (file) fclose(file);
    return 1024 * kib;
}

/* One step and the time of an sgemm operation around it. */
typedef struct sample {
    bench_time step, gemm;
    double phase[BENCH_PHASES];
} sample;

static bench_time smaller(bench_time a, bench_time b)
{
    return (bench_time){a.seconds < b.seconds ? a.seconds : b.seconds,
                        a.cpu < b.cpu ? a.cpu : b.cpu};
}

static sample measure(bench_model *model, const bench_options *o)
{
    sample s = {.gemm = bench_product_time(o->threads, o->is_bf16, 3)};
    const bench_time start = bench_start();
    bench_model_step(model);
    s.step = bench_stop(start);
    s.gemm = smaller(s.gemm, bench_product_time(o->threads, o->is_bf16, 3));
    for (int i = 0; i < BENCH_PHASES; i++) s.phase[i] = bench_model_seconds(model, i);
    return s;
}

/* Medians over the steps. The work of a phase is its mandatory operations or, where it has none,
 * the bytes it must move; the share is its rate over the machine's: of products around the step, or
 * of copies. */
static void print_phases(const bench_model *model, const sample *samples, int count, double copy)
{
    double all[MAX_STEPS], middle[BENCH_PHASES], rest = 0;
    for (int k = 0; k < count; k++) all[k] = samples[k].step.seconds;
    const double step = bench_median(all, count);
    rest = step;
    printf("\n%-14s %9s %8s %12s %7s\n", "phase", "seconds", "of step", "work", "share");
    for (int i = 0; i < BENCH_PHASES; i++) {
        const double flops = bench_model_phase_flops(model, i);
        const double bytes = bench_model_phase_bytes(model, i);
        double seconds[MAX_STEPS], share[MAX_STEPS];
        for (int k = 0; k < count; k++) {
            seconds[k] = samples[k].phase[i];
            share[k] = (flops > 0 ? flops * samples[k].gemm.seconds : bytes / copy) / seconds[k];
        }
        middle[i] = bench_median(seconds, count);
        if (i != BENCH_PHASE_TP) rest -= middle[i];
        printf("%-14s %9.3f %6.1f%%", bench_phase_name(i), middle[i], 100 * middle[i] / step);
        if (flops > 0 || bytes > 0)
            printf(" %7.1f %-4s %7.3f", 1e-9 * (flops > 0 ? flops : bytes),
                   flops > 0 ? "Gop" : "GB", bench_median(share, count));
        printf("\n");
    }
    printf("%-14s %9.3f %6.1f%%\n", "rest", rest, 100 * rest / step);
}

static void report(const bench_options *o, const sample *samples, const bench_model *model,
                   double memory, double copy)
{
    const double flops = bench_model_flops(model);
    double share[MAX_STEPS], busy[MAX_STEPS], speed[MAX_STEPS], rate[MAX_STEPS];
    const double tokens = (double)(o->micro * o->tokens);
    printf("\n%4s %9s %9s %9s %9s %7s %7s\n", "step", "seconds", "cpu s", "tokens/s", "GFLOP/s",
           "share", "of cpu");
    for (int k = 0; k < o->steps; k++) {
        const sample *s = &samples[k];
        speed[k] = tokens / s->step.seconds;
        rate[k] = 1e-9 / s->gemm.seconds;
        share[k] = flops * s->gemm.seconds / s->step.seconds;
        busy[k] = flops * s->gemm.cpu / s->step.cpu;
        printf("%4d %9.3f %9.3f %9.1f %9.1f %7.3f %7.3f\n", k + 1, s->step.seconds, s->step.cpu,
               speed[k], rate[k], share[k], busy[k]);
    }
    print_phases(model, samples, o->steps, copy);
    printf("\nresult share %.3f of-cpu %.3f tokens/s %.1f rate %.1f memory %.2f loss %.9g\n",
           bench_median(share, o->steps), bench_median(busy, o->steps),
           bench_median(speed, o->steps), bench_median(rate, o->steps), memory * 1e-9,
           bench_model_loss(model));
}

/* Steps of the model and of the pruned one in turn: the medians of their ratios. */
static rf_status compare_pruned(const bench_options *o, bench_model *model, int rank)
{
    bench_options pruned = *o;
    bench_model *other = NULL;
    double wall[MAX_STEPS], cpu[MAX_STEPS];
    pruned.is_pruned = 1;
    RF_TRY(bench_model_create(&other, &pruned));
    bench_model_step(other);
    for (int k = 0; k < o->steps; k++) {
        const sample whole = measure(model, o), less = measure(other, o);
        wall[k] = whole.step.seconds / less.step.seconds;
        cpu[k] = whole.step.cpu / less.step.cpu;
    }
    if (rank == 0)
        printf("light: %.3f times the tokens/s (%.3f by cpu time), memory planned per rank %.1f "
               "of %.1f MiB, mandatory operations %.3f of them\n",
               bench_median(wall, o->steps), bench_median(cpu, o->steps),
               bench_model_bytes(other) / 1048576, bench_model_bytes(model) / 1048576,
               bench_model_flops(other) / bench_model_flops(model));
    bench_model_destroy(&other);
    return RF_OK;
}

static rf_status run(const bench_options *o, int rank, int ranks)
{
    static sample samples[MAX_STEPS];
    bench_model *model = NULL;
    if (o->generates) return bench_generate(o, rank);
    const double copy = bench_copy_rate(o->threads);
    RF_TRY(bench_model_create(&model, o));
    if (rank == 0)
        printf("%d ranks x %d threads, tp %d, %d slices; %lld layers, r %lld, %lld x %lld tokens, "
               "dropout %g, %s base, products in %s\nBLAS kernels %s, bf16 %s; copy %.1f GB/s\n",
               ranks, o->threads, o->tensor, o->slices, (long long)o->layers, (long long)o->rank_r,
               (long long)o->micro, (long long)o->tokens, o->dropout, rf_dtype_name(o->storage),
               o->is_bf16 ? "bf16" : "f32", openblas_get_corename(), rf_bf16_kernels(),
               copy * 1e-9);
    bench_model_step(model);
    for (int k = 0; k < o->steps; k++) samples[k] = measure(model, o);
    double memory = peak_memory();
    MPI_Allreduce(MPI_IN_PLACE, &memory, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    if (rank == 0) report(o, samples, model, memory, copy);
    rf_status status = o->beside ? compare_pruned(o, model, rank) : RF_OK;
    if (status == RF_OK && o->methods) status = bench_methods(o, model, o->methods, rank);
    bench_model_destroy(&model);
    return status;
}

int main(int argc, char **argv)
{
    int provided = 0, rank = 0, ranks = 1;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    bench_options o = {.adapter = &rf_adapter_lora,
                       .tensor = 1,
                       .slices = 4,
                       .threads = ranks > 1 ? 1 : omp_get_num_procs(),
                       .steps = 5,
                       .micro = 4,
                       .tokens = 512,
                       .layers = 30,
                       .rank_r = 16,
                       .storage = RF_DTYPE_REAL};
    if (!parse(&o, argc, argv)) {
        if (rank == 0) fputs(usage, stderr);
        MPI_Finalize();
        return 2;
    }
    rf_blas_single_thread();
    omp_set_num_threads(o.threads);
    const rf_status status = run(&o, rank, ranks);
    if (status != RF_OK) fprintf(stderr, "bench: %s\n", rf_status_message());
    MPI_Finalize();
    return status == RF_OK ? 0 : 1;
}
