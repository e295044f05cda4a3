/* What this machine reaches: products and copies in all threads of all ranks at once. */
#include <mpi.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "refract/linalg/bf16.h"
#include "refract/linalg/vecmath.h"

enum { SIDE = 1024, COPY_REALS = 8 << 20 };

static bench_time now(void)
{
    struct timespec cpu;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    return (bench_time){MPI_Wtime(), (double)cpu.tv_sec + 1e-9 * (double)cpu.tv_nsec};
}

bench_time bench_start(void)
{
    MPI_Barrier(MPI_COMM_WORLD);
    return now();
}

bench_time bench_stop(bench_time start)
{
    const bench_time end = now();
    bench_time spent = {end.seconds - start.seconds, end.cpu - start.cpu};
    MPI_Allreduce(MPI_IN_PLACE, &spent.seconds, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    MPI_Allreduce(MPI_IN_PLACE, &spent.cpu, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    return spent;
}

/* One thread's work, on its own memory. */
typedef void bench_work(const rf_bf16 *bf16, rf_real *memory);

static bench_time timed(int threads, bench_work *work, const rf_bf16 *bf16, rf_real *memory,
                        int64_t items)
{
    const bench_time start = bench_start();
#pragma omp parallel num_threads(threads)
    work(bf16, memory + omp_get_thread_num() * items);
    return bench_stop(start);
}

static void multiply(const rf_bf16 *bf16, rf_real *x)
{
    const int64_t square = (int64_t)SIDE * SIDE;
    (void)bf16;
    for (int i = 0; i < 2; i++)
        rf_gemm(RF_N, RF_N, SIDE, SIDE, SIDE, 1, x, SIDE, x + square, SIDE, 0, x + 2 * square,
                SIDE);
}

/* The same of bf16: a zero weight takes as long as any. */
static void multiply_bf16(const rf_bf16 *bf16, rf_real *x)
{
    const int64_t square = (int64_t)SIDE * SIDE;
    const rf_weight weight = {.dtype = RF_BF16, .data = x, .rows = SIDE, .cols = SIDE};
    for (int i = 0; i < 2; i++)
        rf_bf16_nt(bf16, x + square, SIDE, (const uint16_t *)(const void *)x, SIDE, &weight, 0,
                   SIDE, 0, x + 2 * square);
}

static void copy(const rf_bf16 *bf16, rf_real *x)
{
    (void)bf16;
    memcpy(x + COPY_REALS, x, COPY_REALS * sizeof *x);
}

static void read_all(const rf_bf16 *bf16, rf_real *x)
{
    (void)bf16;
    x[0] = rf_max(x, 2 * (int64_t)COPY_REALS);
}

/* Least time of a unit, `units` of which each thread does in one round of work. */
static bench_time best(int threads, int rounds, bench_work *work, const rf_bf16 *bf16,
                       int64_t items, double units)
{
    int ranks = 1;
    bench_time least = {0};
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    rf_real *memory = malloc((size_t)(threads * items) * sizeof *memory);
    RF_ASSERT(memory, "no memory to measure the machine with (%lld reals)", (long long)items);
    for (int64_t i = 0; i < threads * items; i++) memory[i] = (rf_real)(i % 7 - 3);
    for (int i = 0; i < rounds; i++) {
        const bench_time spent = timed(threads, work, bf16, memory, items);
        if (i == 0 || spent.seconds < least.seconds) least.seconds = spent.seconds;
        if (i == 0 || spent.cpu < least.cpu) least.cpu = spent.cpu;
    }
    free(memory);
    const double all = units * ranks * threads;
    return (bench_time){least.seconds / all, least.cpu / all};
}

bench_time bench_product_time(int threads, int is_bf16, int rounds)
{
    const double flops = 2.0 * 2.0 * SIDE * SIDE * SIDE;
    const rf_weight weight = {.dtype = RF_BF16, .rows = SIDE, .cols = SIDE};
    int64_t items = 3 * (int64_t)SIDE * SIDE;
    if (!is_bf16) return best(threads, rounds, multiply, NULL, items, flops);
    rf_bf16 *bf16 = NULL;
    const rf_status status = rf_bf16_create(&bf16, threads);
    RF_ASSERT(status == RF_OK, "%s", rf_status_message());
    items += rf_bf16_scratch(&weight, SIDE, SIDE);
    const bench_time time = best(threads, rounds, multiply_bf16, bf16, items, flops);
    rf_bf16_destroy(&bf16);
    return time;
}

double bench_copy_rate(int threads)
{
    const double bytes = 2.0 * COPY_REALS * sizeof(rf_real);
    return 1 / best(threads, 5, copy, NULL, 2 * (int64_t)COPY_REALS, bytes).seconds;
}

double bench_read_rate(int threads)
{
    const double bytes = 2.0 * COPY_REALS * sizeof(rf_real);
    return 1 / best(threads, 5, read_all, NULL, 2 * (int64_t)COPY_REALS, bytes).seconds;
}
