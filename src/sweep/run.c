/* All ranks on one run; groups of ranks on all of them. */
#include "refract/sweep/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "refract/base/stop.h"
#include "refract/comm/agree.h"
#include "refract/comm/stop.h"
#include "task.h"

rf_status rf_sweep_run_one(const rf_sweep *sweep, const rf_environment *environment, int64_t index)
{
    rf_log *log = environment->log;
    sweep_worker worker = {.sweep = sweep,
                           .whole = environment,
                           .env = *environment,
                           .talk = rf_log_start(log->rank),
                           .self = rf_lock_holder_self(),
                           .rank = log->rank};
    if (index < 0 || index >= sweep->count)
        return rf_fail(
            RF_USAGE, "there is no run %" PRId64 " (%s/manifest.jsonl). Its runs are 0 to %" PRId64,
            index, sweep->folder, sweep->count - 1);
    RF_TRY(sweep_begin(sweep, environment, worker.start));
    sweep_claim claim = CLAIM_ELSEWHERE;
    RF_TRY_ALL(environment->world,
               worker.rank == 0 ? sweep_take(&worker, index, 1, &claim) : RF_OK);
    MPI_Bcast(&claim, sizeof claim, MPI_BYTE, 0, environment->world);
    if (claim == CLAIM_DONE) {
        rf_log_info(log, "run %" PRId64 " (%s) is done already", index, sweep->run[index].id);
        return RF_OK;
    }
    if (claim != CLAIM_TAKEN)
        return rf_fail(RF_CONFLICT,
                       "run %" PRId64 " is in other hands (%s/records/%s.lock). Wait for it, or "
                       "remove that file if the process it names is gone",
                       index, sweep->folder, sweep->run[index].id);
    rf_status outcome = RF_OK;
    rf_sweep_record record;
    RF_TRY(sweep_train(&worker, index, &outcome, &record));
    return outcome;
}

/* A farm: what one group knows of it. */
typedef struct farm {
    sweep_worker worker;
    int workers;
    int64_t cursor; /* the next run to look at */
    char stop[PATH_MAX],
        signalled[PATH_MAX]; /* FOLDER/STOP; what a group that caught a signal makes */
    const char *stop_files[3];
    int is_stopping; /* no further runs */
} farm;

static rf_status name_stop_files(farm *f)
{
    const char *folder = f->worker.sweep->folder;
    const int a = snprintf(f->stop, PATH_MAX, "%s/STOP", folder);
    const int b = snprintf(f->signalled, PATH_MAX, "%s/.stop-%s", folder, f->worker.start);
    if (a >= PATH_MAX || b >= PATH_MAX)
        return rf_fail(RF_USAGE, "the path %.200s... is too long", folder);
    f->stop_files[0] = f->stop;
    f->stop_files[1] = f->signalled;
    return RF_OK;
}

/* Groups of neighbours, as even as can be. */
static rf_status open_farm(farm *f, const rf_sweep *sweep, const rf_environment *whole, int workers)
{
    int size = 1;
    MPI_Comm_size(whole->world, &size);
    if (workers < 1 || workers > size)
        return rf_fail(RF_USAGE,
                       "%d workers cannot share %d rank%s (--workers). Start more ranks "
                       "or ask for fewer workers",
                       workers, size, size == 1 ? "" : "s");
    sweep_worker *worker = &f->worker;
    *f = (farm){.workers = workers, .worker = {.sweep = sweep, .whole = whole, .env = *whole}};
    worker->self = rf_lock_holder_self();
    RF_TRY(sweep_begin(sweep, whole, worker->start));
    worker->number = (int)((int64_t)whole->log->rank * workers / size);
    MPI_Comm_split(whole->world, worker->number, whole->log->rank, &worker->env.world);
    MPI_Comm_rank(worker->env.world, &worker->rank);
    worker->log = rf_log_start(worker->rank);
    worker->log.quiet = 1;
    worker->talk = rf_log_start(worker->rank);
    worker->env.log = &worker->log;
    RF_TRY_ALL(whole->world, name_stop_files(f));
    worker->env.stop_files = worker->rank == 0 ? f->stop_files : NULL;
    rf_stop_install();
    if (whole->log->rank == 0 && worker->self.restart == 0) unlink(f->stop);
    MPI_Barrier(whole->world); /* before any group looks for that file */
    return RF_OK;
}

/* Does the program have to stop, rather than one run of it? Collective over the group. */
static rf_stop_reason should_stop(const farm *f)
{
    rf_stop_watch watch = {.start = f->worker.whole->start, .stop_files = f->worker.env.stop_files};
    rf_stop_watch_job(&watch);
    return rf_stop_agreed(f->worker.env.world, &watch);
}

/* A run has stopped at a time limit: was it the batch job's, and not its own train.max_time? */
static int job_is_ending(const farm *f, int64_t index, double begin)
{
    rf_config *config = NULL;
    rf_stop_watch job = {.start = f->worker.whole->start};
    double limit = 0;
    if (rf_stop_watch_job(&job) <= 0) return 0;
    if (rf_sweep_config(f->worker.sweep, index, &config) != RF_OK) return 1;
    const char *own = rf_config_string(config, "train.max_time");
    const int has_own = own && rf_duration_parse(own, &limit);
    rf_config_destroy(&config);
    return !has_own || job.start + job.limit < begin + limit;
}

/* The next run for this group, -1 when there is none. On the group's root. */
static rf_status take_next(farm *f, int64_t *index)
{
    const rf_sweep *sweep = f->worker.sweep;
    for (; f->cursor < sweep->count; f->cursor++) {
        sweep_claim claim = CLAIM_DONE;
        RF_TRY(sweep_take(&f->worker, f->cursor, 0, &claim));
        if (claim != CLAIM_TAKEN) continue;
        *index = f->cursor++;
        return RF_OK;
    }
    *index = -1;
    return RF_OK;
}

static void tell_start(farm *f, int64_t index)
{
    char what[512];
    rf_sweep_describe(&f->worker.sweep->run[index], what, sizeof what);
    rf_log_info(&f->worker.talk, "group %d: run %" PRId64 " begins: %s", f->worker.number, index,
                what);
}

static void tell_end(farm *f, int64_t index, const rf_sweep_record *record)
{
    rf_log_info(&f->worker.talk, "group %d: run %" PRId64 " %s after %.1f s%s%s", f->worker.number,
                index, rf_sweep_state_word(record->state), record->seconds,
                record->message[0] ? ": " : "", record->message);
}

/* Says to the other groups what this one was told by a signal. */
static void pass_on(const farm *f)
{
    FILE *file = f->worker.rank == 0 ? fopen(f->signalled, "w") : NULL;
    if (file) fclose(file);
}

static rf_status do_run(farm *f, int64_t index)
{
    rf_status outcome = RF_OK;
    rf_sweep_record record;
    const double begin = rf_clock_seconds();
    tell_start(f, index);
    RF_TRY(sweep_train(&f->worker, index, &outcome, &record));
    tell_end(f, index, &record);
    if (outcome != RF_STOPPED) return RF_OK;
    int ending = f->worker.rank == 0 && job_is_ending(f, index, begin);
    MPI_Bcast(&ending, 1, MPI_INT, 0, f->worker.env.world);
    f->is_stopping = ending;
    return RF_OK;
}

/* Runs until there is none; a failure here is one of the farm, not of a run. Collective over the
 * group. */
static rf_status work(farm *f)
{
    MPI_Comm group = f->worker.env.world;
    while (!f->is_stopping) {
        int64_t index = -1;
        const rf_stop_reason reason = should_stop(f);
        f->is_stopping = reason != RF_STOP_NONE;
        if (reason == RF_STOP_SIGNAL) pass_on(f);
        if (f->is_stopping) break;
        RF_TRY_ALL(group, f->worker.rank == 0 ? take_next(f, &index) : RF_OK);
        MPI_Bcast(&index, 1, MPI_INT64_T, 0, group);
        if (index < 0) break;
        RF_TRY(do_run(f, index));
    }
    return RF_OK;
}

/* Groups that have nothing left to do leave their cores to those that have. */
static void wait_for_all(MPI_Comm world)
{
    enum { PAUSE_MICROSECONDS = 10000 };
    MPI_Request request;
    int done = 0;
    MPI_Ibarrier(world, &request);
    for (MPI_Test(&request, &done, MPI_STATUS_IGNORE); !done;
         MPI_Test(&request, &done, MPI_STATUS_IGNORE))
        usleep(PAUSE_MICROSECONDS);
}

/* The base of the first run that is not done, for all runs that have the same; without it each run
 * loads its own. Collective over world. */
static void share_base(farm *f, rf_resident **resident)
{
    const rf_sweep *sweep = f->worker.sweep;
    const rf_environment *whole = f->worker.whole;
    rf_config *config = NULL;
    rf_sweep_record record;
    int64_t first = 0;
    while (whole->log->rank == 0 && first < sweep->count &&
           rf_sweep_recorded(sweep, first, &record) == RF_OK && record.state == RF_SWEEP_DONE)
        first++;
    MPI_Bcast(&first, 1, MPI_INT64_T, 0, whole->world);
    if (first == sweep->count) return;
    rf_status status = rf_agree(whole->world, rf_sweep_config(sweep, first, &config));
    if (status == RF_OK)
        status = rf_resident_create(resident, config, whole->world, &f->worker.log);
    rf_config_destroy(&config);
    if (status != RF_OK && whole->log->rank == 0)
        rf_log_warning(whole->log, "every run will load its own base model: %s",
                       rf_status_message());
    if (*resident)
        rf_log_info(whole->log, "base: %.1f MiB on each node, shared by all runs",
                    (double)rf_resident_bytes(*resident) / 1048576.0);
}

/* What has become of the sweep, as the program's own status; on root. */
static rf_status conclude(farm *f, int is_stopping)
{
    const rf_sweep *sweep = f->worker.sweep;
    int64_t count[RF_SWEEP_STATES] = {0}, first = -1;
    rf_sweep_record record, failed = {.code = 0};
    for (int64_t i = 0; i < sweep->count; i++) {
        RF_TRY(rf_sweep_look(sweep, i, &f->worker.self, &record));
        count[record.state]++;
        if (record.state != RF_SWEEP_FAILED || first >= 0) continue;
        first = i;
        failed = record;
    }
    rf_log_info(f->worker.whole->log,
                "sweep: %" PRId64 " of %" PRId64 " runs done, %" PRId64 " failed, %" PRId64
                " stopped, %" PRId64 " left, %" PRId64 " in other hands",
                count[RF_SWEEP_DONE], sweep->count, count[RF_SWEEP_FAILED], count[RF_SWEEP_STOPPED],
                count[RF_SWEEP_LEFT] + count[RF_SWEEP_VANISHED], count[RF_SWEEP_RUNNING]);
    const int64_t rest = sweep->count - count[RF_SWEEP_DONE] - count[RF_SWEEP_FAILED];
    if ((is_stopping && rest > 0) || count[RF_SWEEP_STOPPED] > 0)
        return rf_fail(RF_STOPPED,
                       "%s with all state saved, %" PRId64 " of %" PRId64 " runs are not done. Run "
                       "the same command again to go on",
                       is_stopping ? "the sweep was stopped" : "runs were stopped", rest,
                       sweep->count);
    if (first < 0) return RF_OK;
    return rf_fail(
        (rf_status)failed.code, "%" PRId64 " of %" PRId64 " runs failed; run %" PRId64 " (%s): %s",
        count[RF_SWEEP_FAILED], sweep->count, first, sweep->run[first].id, failed.message);
}

rf_status rf_sweep_run_all(const rf_sweep *sweep, const rf_environment *environment, int workers)
{
    farm f;
    MPI_Comm world = environment->world;
    RF_TRY(open_farm(&f, sweep, environment, workers));
    rf_log_info(environment->log, "sweep: %" PRId64 " runs, %d group%s (%s)", sweep->count, workers,
                workers == 1 ? "" : "s", sweep->folder);
    rf_resident *resident = NULL;
    share_base(&f, &resident);
    f.worker.env.resident = resident;
    rf_status status = work(&f);
    wait_for_all(world);
    rf_resident_destroy(&resident);
    status = rf_agree(world, status);
    int stopping = 0;
    MPI_Allreduce(&f.is_stopping, &stopping, 1, MPI_INT, MPI_MAX, world);
    if (environment->log->rank == 0) unlink(f.signalled);
    MPI_Comm_free(&f.worker.env.world);
    if (status != RF_OK) return status;
    return rf_agree(world, environment->log->rank == 0 ? conclude(&f, stopping) : RF_OK);
}
