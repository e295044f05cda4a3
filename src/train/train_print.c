/* What a run of `train` prints. */
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "refract/train/export.h"
#include "rf_version.h"
#include "train_parts.h"

void training_print_banner(const training *t)
{
    int size = 1;
    MPI_Comm_size(t->env->world, &size);
    rf_log_info(t->log, "refract %s (%s), %s, %d rank%s x %d thread%s on %s", RF_VERSION,
                RF_GIT_COMMIT, RF_REAL_NAME, size, size == 1 ? "" : "s", t->env->threads,
                t->env->threads == 1 ? "" : "s", t->log->host);
}

void training_print_steps(const training *t)
{
    if (t->estimation > 0)
        rf_log_info(t->log, "light.steps: a prune follows step %lld", (long long)t->estimation);
    rf_log_info(t->log, "steps: %lld of %lld samples each, %lld in an epoch", (long long)t->steps,
                (long long)rf_config_int(t->config, "train.batch_size"),
                (long long)rf_batches_steps_per_epoch(t->batches));
}

/* On a terminal: the share done, drawn over itself until the next line. (mpirun gives its ranks a
 * terminal of its own as standard output, whatever its own output is; its standard error is not
 * one.) */
void training_print_progress(const training *t, const rf_step_report *r)
{
    enum { WIDTH = 40 };
    if (t->log->rank != 0 || t->log->quiet || !isatty(STDOUT_FILENO) || !isatty(STDERR_FILENO))
        return;
    const int done = (int)(WIDTH * r->step / t->steps);
    printf("\r[%.*s%*s] %lld/%lld  loss %.4f\033[K\r", done,
           "########################################", WIDTH - done, "", (long long)r->step,
           (long long)t->steps, r->loss);
    fflush(stdout);
}

void training_print_step(const training *t, const rf_step_report *r)
{
    const double left = t->step_seconds / (double)t->steps_here * (double)(t->steps - r->step);
    const long eta = (long)(left + 0.5);
    rf_log_info(t->log,
                "step %lld/%lld  loss %.4f  grad %.3f  lr %.2e  tok/s %.0f  eta %ld:%02ld:%02ld",
                (long long)r->step, (long long)t->steps, r->loss, r->grad_norm, r->learning_rate,
                (double)t->tokens_here / t->step_seconds, eta / 3600, eta / 60 % 60, eta % 60);
}

/* min, mean and max over ranks of one number; on root. */
static void print_phase(const training *t, const char *name, double seconds)
{
    double least = 0, most = 0, sum = 0;
    MPI_Reduce(&seconds, &least, 1, MPI_DOUBLE, MPI_MIN, 0, t->env->world);
    MPI_Reduce(&seconds, &most, 1, MPI_DOUBLE, MPI_MAX, 0, t->env->world);
    MPI_Reduce(&seconds, &sum, 1, MPI_DOUBLE, MPI_SUM, 0, t->env->world);
    rf_log_info(t->log, "  %-12s %10.2f %10.2f %10.2f", name, least,
                sum / (double)t->session.grid.size, most);
}

static double peak_memory(const training *t)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double mine = (double)usage.ru_maxrss / 1024.0, most = 0;
    MPI_Reduce(&mine, &most, 1, MPI_DOUBLE, MPI_MAX, 0, t->env->world);
    return most;
}

void training_print_end(const training *t)
{
    const char *output = rf_run_folder_path(t->run.folder);
    rf_log_info(t->log, "seconds, over ranks        min       mean        max");
    for (int i = 0; i < RF_STEP_PHASES; i++) print_phase(t, rf_step_phase_name(i), t->phase[i]);
    for (int i = 0; i < RF_PHASES; i++) {
        char name[32];
        snprintf(name, sizeof name, "- %s", rf_phase_name((rf_phase)i));
        print_phase(t, name, t->session.decoder->seconds[i]);
    }
    const double memory = peak_memory(t);
    if (t->steps_here > 0)
        rf_log_info(t->log,
                    "%lld tokens in %.2f s of steps: %.0f tok/s; peak memory %.0f MiB a rank",
                    (long long)t->tokens_here, t->step_seconds,
                    (double)t->tokens_here / t->step_seconds, memory);
    rf_methods_summarise(&t->trainer.methods, t->log);
    rf_log_info(t->log, "checkpoints: %s", rf_run_folder_checkpoints(t->run.folder));
    rf_log_info(t->log, "%s: %s/%s", t->session.trains ? "model" : "adapter", output,
                t->session.trains ? "model" : "adapter");
    if (t->session.pruning)
        rf_log_info(t->log,
                    rf_export_fits_pruned(&t->session)
                        ? "pruned model: %s/pruned; the adapter above is for the whole "
                          "base, with zeros where it was cut"
                        : "no folder of the pruned model, whose layers differ in size "
                          "(light.neuron_scope: layer makes them equal); the adapter in %s "
                          "is for the whole base, with zeros where it was cut",
                    output);
    rf_log_info(t->log, "done after %.1f s", rf_clock_seconds() - t->env->start);
}
