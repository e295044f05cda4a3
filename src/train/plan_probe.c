/* The probe of `plan`: a few micro-batches, an update, a save and reductions, with the clock in
 * hand. */
#include "plan_probe.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "refract/base/file.h"
#include "refract/comm/agree.h"

enum { REPEATS = 3, LONGEST_FILE = 1 << 16, SAVED_BYTES = 8 << 20 };

static double middle(double a, double b, double c)
{
    const double low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

/* Seconds of the slowest rank. */
static double slowest(MPI_Comm world, double seconds)
{
    double most = 0;
    MPI_Allreduce(&seconds, &most, 1, MPI_DOUBLE, MPI_MAX, world);
    return most;
}

/* One micro-batch without its reductions; gradient NULL: forward alone. */
static double time_micro(training *t, const rf_micro *micro, rf_real *gradient)
{
    rf_trainer *trainer = &t->trainer;
    rf_decoder *decoder = trainer->decoder;
    rf_head_result result = {0};
    const rf_tokens *tokens =
        rf_micro_view_fill(&trainer->view, micro, trainer->seed, trainer->is_dropping);
    const double reductions = decoder->context.reduce_seconds, start = rf_clock_seconds();
    rf_decoder_loss(decoder, tokens, (rf_real)1, &result, gradient);
    const double seconds = rf_clock_seconds() - start;
    return slowest(t->env->world, seconds - (decoder->context.reduce_seconds - reductions));
}

/* The largest micro-batch of a step. */
static const rf_micro *largest(const rf_step_batches *batch)
{
    const rf_micro *most = &batch->micro[0];
    for (int64_t i = 1; i < batch->micro_count; i++)
        if (batch->micro[i].tokens > most->tokens) most = &batch->micro[i];
    return most;
}

/* A micro-batch of the first step, once to warm up. */
static void time_model(rf_probe *probe, training *t)
{
    rf_trainer *trainer = &t->trainer;
    const rf_micro *micro = largest(rf_batches_step(t->batches, 0));
    double both[REPEATS], forward[REPEATS];
    rf_decoder_prepare(trainer->decoder);
    rf_tree_start(&trainer->tree, 1, 0);
    rf_real *gradient = rf_tree_leaf(&trainer->tree);
    time_micro(t, micro, gradient);
    for (int i = 0; i < REPEATS; i++) {
        both[i] = time_micro(t, micro, gradient);
        forward[i] = time_micro(t, micro, NULL);
    }
    const double share = (double)t->session.grid.tp_size / (double)micro->tokens;
    probe->tokens = micro->tokens;
    probe->token = middle(both[0], both[1], both[2]) * share;
    probe->forward = middle(forward[0], forward[1], forward[2]) * share;
    rf_step_report report = {.step = 1, .grad_norm = 1};
    rf_trainer_update(trainer, &report, gradient);
    probe->update =
        slowest(t->env->world, report.phase[RF_STEP_UPDATE]) * (double)t->session.grid.tp_size;
}

/* Seconds of a sum of n numbers over all ranks: the mean of some, waits for one another included.
 */
static double time_sum(rf_collector *c, MPI_Comm world, rf_real *numbers, rf_real *scratch,
                       int64_t n)
{
    enum { TRIES = 16 };
    rf_collect_sum(c, numbers, &numbers, n, c->size, NULL, scratch);
    MPI_Barrier(world);
    const double start = rf_clock_seconds();
    for (int i = 0; i < TRIES; i++) rf_collect_sum(c, numbers, &numbers, n, c->size, NULL, scratch);
    return slowest(world, (rf_clock_seconds() - start) / TRIES);
}

/* alpha from a sum of few numbers, beta from one of many. */
static rf_status time_reductions(rf_probe *probe, MPI_Comm world)
{
    enum { FEW = 64, MANY = 1 << 20 };
    int rank = 0, size = 1;
    MPI_Comm_rank(world, &rank);
    MPI_Comm_size(world, &size);
    probe->alpha = -1;
    probe->beta = 0;
    if (size == 1) return RF_OK;
    rf_arena plan = rf_arena_counting("probe"), arena = {0};
    rf_status status = RF_OK;
    for (int pass = 0; pass < 2 && status == RF_OK; pass++) {
        rf_arena *from = pass ? &arena : &plan;
        rf_collector collector;
        rf_collector_layout(&collector, from, world, size);
        rf_real *numbers = RF_TAKE(from, rf_real, MANY);
        rf_real *scratch = RF_TAKE(from, rf_real, rf_collect_scratch(&collector, MANY, size));
        if (pass == 0) {
            status = rf_agree(world, rf_arena_create(&arena, "probe", plan.peak));
            continue;
        }
        const double few = time_sum(&collector, world, numbers, scratch, FEW);
        const double many = time_sum(&collector, world, numbers, scratch, MANY);
        const double bytes = (double)(MANY - FEW) * sizeof(rf_real);
        probe->alpha = few / (2.0 * (size - 1));
        probe->beta = many > few ? (many - few) * size / (2.0 * (size - 1) * bytes) : 0;
    }
    rf_arena_destroy(&arena);
    return status;
}

/* The folder nearest to the run's that is there. */
static void folder_there(const char *output, char folder[PATH_MAX])
{
    snprintf(folder, PATH_MAX, "%s", output ? output : ".");
    while (access(folder, W_OK) != 0) {
        char *slash = strrchr(folder, '/');
        if (!slash || slash == folder) {
            snprintf(folder, PATH_MAX, slash ? "/" : ".");
            return;
        }
        *slash = '\0';
    }
}

/* Writes, syncs and reads back a file that has no name any more, where the run would save. */
static rf_status time_save(rf_probe *probe, const char *output)
{
    char folder[PATH_MAX], path[PATH_MAX + 32];
    folder_there(output, folder);
    snprintf(path, sizeof path, "%s/.refract-probe-XXXXXX", folder);
    char *bytes = calloc(1, SAVED_BYTES);
    if (!bytes) return rf_fail(RF_RESOURCES, "no memory for the probe");
    const double start = rf_clock_seconds();
    const int file = mkstemp(path);
    if (file >= 0) unlink(path);
    const int failed = file < 0 || write(file, bytes, SAVED_BYTES) != SAVED_BYTES ||
                       fsync(file) != 0 || pread(file, bytes, SAVED_BYTES, 0) != SAVED_BYTES;
    if (file >= 0) close(file);
    free(bytes);
    probe->save = (rf_clock_seconds() - start) / SAVED_BYTES;
    if (failed) return rf_fail(RF_WRITE, "cannot write in '%s', where the run would save", folder);
    return RF_OK;
}

rf_status probe_measure(rf_probe *probe, training *t)
{
    rf_session *s = &t->session;
    MPI_Comm world = t->env->world;
    *probe = (rf_probe){.threads = t->env->threads};
    RF_TRY(training_plan(t));
    RF_TRY(rf_session_allocate(s));
    rf_trainer_layout(&t->trainer, &s->run, &s->scratch);
    const double start = rf_clock_seconds();
    RF_TRY(rf_session_weights(s));
    probe->load = slowest(world, rf_clock_seconds() - start);
    rf_methods_start(&t->trainer.methods);
    probe->ranks = s->grid.size;
    probe->parameters = rf_params_total_global(&s->decoder->params);
    probe->trained = rf_params_trained_global(&s->decoder->params);
    time_model(probe, t);
    RF_TRY(time_reductions(probe, world));
    RF_TRY_ALL(world,
               s->grid.rank == 0 ? time_save(probe, rf_config_string(t->config, "output")) : RF_OK);
    MPI_Bcast(probe, (int)sizeof *probe, MPI_BYTE, 0, world);
    return RF_OK;
}

static const char head[] = "# refract probe, version 1\n";
static const char format[] = "ranks: %lld\nthreads: %lld\nparameters: %lld\ntrained: %lld\n"
                             "micro_tokens: %lld\ntoken_seconds: %lf\nforward_seconds: %lf\n"
                             "update_seconds: %lf\nload_seconds: %lf\nsave_seconds_per_byte: %lf\n"
                             "alpha_seconds: %lf\nbeta_seconds_per_byte: %lf\n";

rf_status probe_read(rf_probe *probe, const char *path, int *found)
{
    char *text = NULL;
    size_t length = 0;
    long long whole[5];
    *found = access(path, F_OK) == 0;
    if (!*found) return RF_OK;
    RF_TRY(rf_file_read(&text, &length, path, LONGEST_FILE));
    const size_t skip = sizeof head - 1;
    const int count = strncmp(text, head, skip) != 0
                          ? 0
                          : sscanf(text + skip, format, &whole[0], &whole[1], &whole[2], &whole[3],
                                   &whole[4], &probe->token, &probe->forward, &probe->update,
                                   &probe->load, &probe->save, &probe->alpha, &probe->beta);
    free(text);
    if (count != 12 || whole[0] < 1 || whole[1] < 1 || probe->token <= 0)
        return rf_fail(RF_INPUT,
                       "'%s' is no probe file that this program reads (--probe). Remove it to "
                       "measure anew",
                       path);
    probe->ranks = whole[0];
    probe->threads = whole[1];
    probe->parameters = whole[2];
    probe->trained = whole[3];
    probe->tokens = whole[4];
    return RF_OK;
}

rf_status probe_write(const rf_probe *probe, const char *path)
{
    char text[2048];
    const int length = snprintf(
        text, sizeof text,
        "%sranks: %lld\nthreads: %lld\nparameters: %lld\ntrained: %lld\nmicro_tokens: %lld\n"
        "token_seconds: %.6e\nforward_seconds: %.6e\nupdate_seconds: %.6e\nload_seconds: %.6e\n"
        "save_seconds_per_byte: %.6e\nalpha_seconds: %.6e\nbeta_seconds_per_byte: %.6e\n",
        head, (long long)probe->ranks, (long long)probe->threads, (long long)probe->parameters,
        (long long)probe->trained, (long long)probe->tokens, probe->token, probe->forward,
        probe->update, probe->load, probe->save, probe->alpha, probe->beta);
    return rf_file_write(path, text, (size_t)length);
}
