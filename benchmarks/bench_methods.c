/* Methods beside lora: steps of both in turn, and what each costs. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "refract/method/method.h"
#include "refract/method/registry.h"

enum { STEPS_OF_RUN = 1000, NAME_BYTES = 64, MOST_STEPS = 100 };

struct bench_method {
    rf_config *config;
    rf_log log;
    rf_modules modules;
    rf_method_context context;
    rf_methods methods;
};

/* The run whose first steps are measured: refactoring from step 2 on, no event within them. */
rf_status bench_method_config(rf_config **config, const bench_options *o)
{
    char yaml[256];
    const int length =
        snprintf(yaml, sizeof yaml,
                 "method: %s\nlora: {r: %lld, alpha: %lld, dropout: %g}\n"
                 "reflora: {warmup: 1}\n",
                 o->method, (long long)o->rank_r, 2 * (long long)o->rank_r, o->dropout);
    RF_TRY(rf_config_parse(config, yaml, (size_t)length, "bench", NULL, 0));
    RF_TRY(rf_methods_check(*config));
    return rf_config_check(*config);
}

rf_status bench_method_create(bench_method **method, rf_config *config, rf_decoder *decoder,
                              const rf_grid *grid, const rf_adamw *adamw, int threads)
{
    bench_method *m = calloc(1, sizeof *m);
    *method = m;
    if (!m) return rf_fail(RF_RESOURCES, "no memory for a method");
    m->config = config;
    m->log = rf_log_start(grid->rank);
    m->log.quiet = 1;
    RF_TRY(rf_modules_of(&m->modules, decoder));
    m->context = (rf_method_context){.config = config,
                                     .grid = grid,
                                     .params = &decoder->params,
                                     .modules = &m->modules,
                                     .adamw = adamw,
                                     .log = &m->log,
                                     .steps = STEPS_OF_RUN,
                                     .threads = threads};
    return rf_methods_create(&m->methods, &m->context);
}

void bench_method_destroy(bench_method **method)
{
    bench_method *m = *method;
    if (!m) return;
    rf_methods_destroy(&m->methods);
    rf_modules_destroy(&m->modules);
    free(m);
    *method = NULL;
}

void bench_method_layout(bench_method *m, rf_arena *run, rf_arena *scratch)
{
    rf_methods_layout(&m->methods, run, scratch);
}

void bench_method_update(bench_method *m, rf_real *gradient, double scale, double rate,
                         int64_t number)
{
    const rf_method_step step = {.number = number, .scale = scale, .rate = rate};
    if (number == 1) rf_methods_start(&m->methods);
    rf_methods_update(&m->methods, &step, gradient);
    rf_methods_event(&m->methods, &step);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, ascending);
    return n % 2 ? x[n / 2] : (x[n / 2 - 1] + x[n / 2]) / 2;
}

static bench_time timed_step(bench_model *model)
{
    const bench_time start = bench_start();
    bench_model_step(model);
    return bench_stop(start);
}

static rf_status compare(const bench_options *o, bench_model *lora, const char *name, int rank)
{
    bench_options options = *o;
    bench_model *other = NULL;
    double wall[MOST_STEPS], cpu[MOST_STEPS];
    options.method = name;
    RF_TRY(bench_model_create(&other, &options));
    for (int k = 0; k < 2; k++) bench_model_step(other); /* the second one has warmed up */
    for (int k = 0; k < o->steps; k++) {
        bench_time both[2]; /* lora, the method: each goes first every second time */
        both[k % 2] = timed_step(k % 2 ? other : lora);
        both[1 - k % 2] = timed_step(k % 2 ? lora : other);
        wall[k] = both[0].seconds / both[1].seconds;
        cpu[k] = both[0].cpu / both[1].cpu;
    }
    if (rank == 0)
        printf("%-24s %10.3f %10.3f %12.2f\n", name, median(wall, o->steps), median(cpu, o->steps),
               (bench_model_bytes(other) - bench_model_bytes(lora)) / 1048576);
    bench_model_destroy(&other);
    return RF_OK;
}

rf_status bench_methods(const bench_options *o, bench_model *lora, const char *names, int rank)
{
    if (rank == 0) printf("\n%-24s %10s %10s %12s\n", "method", "tokens/s", "by cpu", "memory MiB");
    while (*names) {
        char name[NAME_BYTES];
        const size_t length = strcspn(names, ",");
        snprintf(name, sizeof name, "%.*s", (int)length, names);
        RF_TRY(compare(o, lora, name, rank));
        names += length + (names[length] != '\0');
    }
    if (rank == 0)
        printf("tokens/s over lora's, steps of both in turn; memory planned per rank beyond "
               "lora's\n");
    return RF_OK;
}
