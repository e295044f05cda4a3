/* Memory of ranks that are not there, and the fewest that fit. */
#include <stdio.h>
#include <unistd.h>

#include "plan_parts.h"
#include "refract/comm/agree.h"

enum { MOST_RANKS = 4096 };

/* What this process holds by now: program, libraries, MPI, the data's tokens. */
static size_t resident_bytes(void)
{
    long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file) return 0;
    if (fscanf(file, "%*s %lld", &pages) != 1) pages = 0;
    fclose(file);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Ranks of the first replica differ by their slices; other replicas are like it. */
rf_status plan_memory(training *t, int ranks, int tensor, plan_layout *layout)
{
    rf_session *s = &t->session;
    *layout = (plan_layout){.ranks = ranks, .base = resident_bytes()};
    s->imagined_size = ranks;
    s->imagined_tensor = tensor;
    int most = 1;
    for (int rank = 0; rank < most; rank++) {
        s->imagined_rank = rank;
        training_unplan(t);
        RF_TRY(training_plan(t));
        most = layout->tensor = s->grid.tp_size;
        const size_t evaluation = t->held_out ? rf_evaluator_bytes(&t->evaluator, &s->grid) : 0;
        const double total = (double)s->run.peak + (double)s->step.peak + (double)s->scratch.peak +
                             (double)evaluation + (double)layout->base + (double)s->shared.size;
        if (total <= layout->total) continue;
        layout->run = s->run.peak;
        layout->step = s->step.peak;
        layout->scratch = s->scratch.peak;
        layout->shared = s->shared.size;
        layout->evaluation = evaluation;
        layout->total = total;
    }
    return RF_OK;
}

/* The next larger number of ranks among tensor x replicas, both powers of two. */
static int next_ranks(const training *t, int ranks)
{
    const int slices = (int)rf_config_int(t->config, "parallel.slices");
    const int64_t leaves = rf_batches_max_micro(t->batches);
    ranks *= 2;
    return ranks <= MOST_RANKS && ranks < 2 * slices * leaves ? ranks : 0;
}

/* Under `parallel.tensor: auto`, the smallest cut of this many ranks that fits. *fits = 0: none
 * does, and *layout is the one that takes least. */
static rf_status fit(training *t, int ranks, double memory, plan_layout *layout, int *fits)
{
    const int slices = (int)rf_config_int(t->config, "parallel.slices");
    const int own = !rf_config_is_auto(t->config, "parallel.tensor")
                        ? (int)rf_config_int(t->config, "parallel.tensor")
                        : 0;
    RF_TRY(plan_memory(t, ranks, own, layout));
    *fits = memory <= 0 || layout->total <= memory;
    for (int tp = 2 * layout->tensor; !own && !*fits && tp <= slices && ranks % tp == 0; tp *= 2) {
        plan_layout other;
        RF_TRY(plan_memory(t, ranks, tp, &other));
        if (other.total < layout->total) *layout = other;
        *fits = layout->total <= memory;
    }
    return RF_OK;
}

/* From `first` ranks on, doubling. */
static rf_status fewest(training *t, int first, double memory, plan_layout *layout, int *fits)
{
    *fits = 0;
    for (int ranks = first; ranks > 0 && !*fits; ranks = next_ranks(t, ranks)) {
        plan_layout one;
        RF_TRY(fit(t, ranks, memory, &one, fits));
        if (ranks == first || one.total < layout->total) *layout = one;
    }
    return RF_OK;
}

static double mib(double bytes)
{
    return bytes / 1048576.0;
}

static rf_status refuse(const plan_layout *asked, const plan_layout *best, int fits, double memory)
{
    if (fits)
        return rf_fail(RF_RESOURCES,
                       "a rank of %d needs %.0f MiB, more than the %.0f MiB that it may take "
                       "(--ranks, --memory). %d ranks with parallel.tensor=%d fit: %.0f MiB each",
                       asked->ranks, mib(asked->total), mib(memory), best->ranks, best->tensor,
                       mib(best->total));
    return rf_fail(RF_RESOURCES,
                   "no layout fits into %.0f MiB a rank (--memory). The least is %.0f MiB, on %d "
                   "ranks with parallel.tensor=%d; a smaller train.micro_tokens, more "
                   "parallel.slices or a smaller model.storage would take less",
                   mib(memory), mib(best->total), best->ranks, best->tensor);
}

rf_status plan_choose(training *t, const rf_plan_options *options, plan_layout *layout)
{
    int fits = 0;
    plan_layout best = {0};
    if (options->ranks > 0) {
        RF_TRY(fit(t, options->ranks, options->memory, layout, &fits));
        if (fits) return RF_OK;
    }
    const int tensor = !rf_config_is_auto(t->config, "parallel.tensor")
                           ? (int)rf_config_int(t->config, "parallel.tensor")
                           : 1;
    RF_TRY(fewest(t, tensor, options->memory, &best, &fits));
    if (!fits || options->ranks > 0) return refuse(layout, &best, fits, options->memory);
    *layout = best;
    return RF_OK;
}
