#include "refract/train/plan.h"

#include <stdio.h>
#include <stdlib.h>

#include "plan_parts.h"
#include "refract/comm/agree.h"

static double mib(double bytes)
{
    return bytes / 1048576.0;
}

static void close_all(training *t)
{
    training_unplan(t);
    rf_evaluator_destroy(&t->evaluator);
    rf_batches_destroy(&t->batches);
    rf_session_close(&t->session);
    rf_samples_destroy(&t->samples);
    rf_samples_destroy(&t->held_out);
}

/* A probe file says what it was measured on. */
static rf_status check_probe(const training *t, const rf_probe *probe, const char *path)
{
    const rf_params *params = &t->session.decoder->params;
    if (probe->parameters != rf_params_total_global(params) ||
        probe->trained != rf_params_trained_global(params))
        return rf_fail(RF_INPUT,
                       "the probe '%s' is of another model or adapter: %lld parameters, %lld "
                       "trained (--probe). Name another file to measure anew",
                       path, (long long)probe->parameters, (long long)probe->trained);
    if (probe->threads != t->env->threads)
        return rf_fail(RF_INPUT,
                       "the probe '%s' was measured with %lld threads a rank, the plan is for %d "
                       "(--probe). Set OMP_NUM_THREADS, or name another file to measure anew",
                       path, (long long)probe->threads, t->env->threads);
    return RF_OK;
}

/* parallel.tensor as far as the ranks at hand allow it; 0 leaves it to the session. */
static int tensor_here(const training *t)
{
    int size = 1, tensor = 1;
    if (rf_config_is_auto(t->config, "parallel.tensor")) return 0;
    MPI_Comm_size(t->env->world, &size);
    const int wanted = (int)rf_config_int(t->config, "parallel.tensor");
    while (2 * tensor <= wanted && size % (2 * tensor) == 0) tensor *= 2;
    return tensor;
}

static rf_status measure(rf_probe *probe, const training *t, rf_config *config)
{
    rf_log quiet = *t->log; /* what it would say has been said */
    quiet.quiet = 1;
    training fresh = {.env = t->env, .config = config, .log = &quiet};
    rf_status status = training_read(&fresh);
    fresh.session.imagined_tensor = tensor_here(&fresh);
    if (status == RF_OK) status = probe_measure(probe, &fresh);
    close_all(&fresh);
    return status;
}

static rf_status get_probe(rf_probe *probe, const training *t, rf_config *config, const char *path)
{
    MPI_Comm world = t->env->world;
    const int is_root = t->log->rank == 0;
    int found = 0;
    if (path) {
        RF_TRY_ALL(world, is_root ? probe_read(probe, path, &found) : RF_OK);
        MPI_Bcast(&found, 1, MPI_INT, 0, world);
    }
    if (!found) {
        RF_TRY(measure(probe, t, config));
        return rf_agree(world, is_root && path ? probe_write(probe, path) : RF_OK);
    }
    MPI_Bcast(probe, (int)sizeof *probe, MPI_BYTE, 0, world);
    return rf_agree(world, check_probe(t, probe, path));
}

static void print_memory(const training *t, const plan_layout *layout)
{
    rf_log_info(t->log, "plan: %d rank%s x %d thread%s, dp %d x tp %d", layout->ranks,
                layout->ranks == 1 ? "" : "s", t->env->threads, t->env->threads == 1 ? "" : "s",
                layout->ranks / layout->tensor, layout->tensor);
    rf_log_info(t->log,
                "memory per rank, at most: run %.1f MiB, step %.1f MiB, scratch %.1f MiB, "
                "evaluation %.1f MiB, program and data %.1f MiB, together %.1f MiB",
                mib((double)layout->run), mib((double)layout->step), mib((double)layout->scratch),
                mib((double)layout->evaluation), mib((double)layout->base), mib(layout->total));
    if (layout->shared > 0)
        rf_log_info(t->log,
                    "among that: base %.1f MiB, which the replicas on a node hold once together",
                    mib((double)layout->shared));
}

static void print_disk(const training *t)
{
    const double one = training_checkpoint_bytes(t);
    const double keep = (double)rf_config_int(t->config, "checkpoint.keep");
    /* the newest is verified before an older one goes; the final folder holds no moments */
    rf_log_info(t->log, "disk: %.1f MiB per checkpoint, %.0f kept; the whole run %.1f MiB",
                mib(one), keep, mib((keep + 1) * one + one / 3));
}

static void print_time(const training *t, const rf_probe *probe, const plan_time *time)
{
    char clock[32];
    if (probe->alpha >= 0)
        rf_log_info(t->log, "reductions: alpha %.1f us, beta %.3f ns a byte (%lld ranks measured)",
                    1e6 * probe->alpha, 1e9 * probe->beta, (long long)probe->ranks);
    rf_log_info(t->log,
                "step: %.4f s = model %.4f + tensor reductions %.4f + gradient reduction %.4f + "
                "update %.4f",
                time->step, time->compute, time->tensor, time->reduce, time->update);
    rf_log_info(t->log, "run: %s for %lld steps, %lld evaluations of %.2f s, %lld saves of %.2f s",
                plan_clock(clock, time->whole), (long long)t->steps, (long long)time->evaluations,
                time->evaluation, (long long)time->saves, time->save);
    if (!time->knows_reductions)
        rf_log_info(
            t->log,
            "note: without the reductions, which one rank cannot measure. Start the plan on "
            "two or more ranks, on nodes like those of the run");
}

/* The job's time: the run with a margin, or what was given, if at least one step fits. */
static rf_status choose_time(const training *t, const rf_probe *probe, const plan_time *time,
                             double given, double *ask)
{
    const double margin = 60, least = probe->load + 2 * time->step + 2 * time->save + margin;
    const double whole = 1.2 * time->whole + margin;
    char have[32], want[32];
    *ask = given > 0 && given < whole ? given : whole;
    if (given > 0 && given < least)
        return rf_fail(RF_RESOURCES,
                       "a job of %s cannot load, take a step and save (--time). It takes at least "
                       "%s",
                       plan_clock(have, given), plan_clock(want, least));
    if (given > 0 && given < whole)
        rf_log_info(t->log, "jobs: %.0f of %s each, one after another",
                    1 + (whole - margin) / (given - least + 1), plan_clock(have, given));
    else
        rf_log_info(t->log, "jobs: one of %s", plan_clock(have, *ask));
    return RF_OK;
}

static rf_status plan(training *t, rf_config *measured, const rf_plan_options *options)
{
    rf_probe probe = {0};
    plan_layout layout = {0};
    plan_time time;
    double ask = 0;
    RF_TRY(training_read(t));
    RF_TRY(plan_choose(t, options, &layout));
    print_memory(t, &layout);
    print_disk(t);
    /* the plan is that of the layout tried last: count the chosen one again */
    RF_TRY(plan_memory(t, layout.ranks, layout.tensor, &layout));
    RF_TRY(get_probe(&probe, t, measured, options->probe));
    plan_times(t, &probe, &layout, &time);
    print_time(t, &probe, &time);
    RF_TRY(choose_time(t, &probe, &time, options->time, &ask));
    return rf_agree(t->env->world,
                    t->log->rank == 0 ? plan_script(t, options, &layout, ask) : RF_OK);
}

rf_status rf_plan(rf_config *config, rf_config *measured, const rf_environment *environment,
                  const rf_plan_options *options)
{
    training t = {.env = environment, .config = config, .log = environment->log};
    const rf_status status = plan(&t, measured, options);
    close_all(&t);
    return status;
}
