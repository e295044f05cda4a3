#include "task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "refract/base/file.h"
#include "refract/base/stop.h"
#include "refract/comm/agree.h"

static rf_status make_records(const rf_sweep *sweep)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/records", sweep->folder) >= PATH_MAX)
        return rf_fail(RF_USAGE, "the path %.200s... is too long", sweep->folder);
    return rf_folder_make(path);
}

rf_status sweep_begin(const rf_sweep *sweep, const rf_environment *whole,
                      char start[RF_SWEEP_START_BYTES])
{
    const rf_lock_holder self = rf_lock_holder_self();
    RF_TRY_ALL(whole->world, whole->log->rank == 0 ? make_records(sweep) : RF_OK);
    snprintf(start, RF_SWEEP_START_BYTES, "%s-%ld-%lld", self.host, self.pid,
             (long long)time(NULL));
    MPI_Bcast(start, RF_SWEEP_START_BYTES, MPI_CHAR, 0, whole->world);
    return RF_OK;
}

static sweep_claim judge(const sweep_worker *worker, const rf_sweep_record *record, int again)
{
    const int had = strcmp(record->start, worker->start) == 0;
    const int requeued = record->state == RF_SWEEP_FAILED && worker->self.restart > 0;
    if (record->state == RF_SWEEP_DONE) return CLAIM_DONE;
    if (record->state == RF_SWEEP_RUNNING) return CLAIM_ELSEWHERE;
    return !again && (had || requeued) ? CLAIM_PASSED : CLAIM_TAKEN;
}

rf_status sweep_take(sweep_worker *worker, int64_t index, int again, sweep_claim *claim)
{
    char lock[PATH_MAX], run[PATH_MAX];
    rf_sweep_record record;
    RF_TRY(rf_sweep_path(worker->sweep, index, "records", ".lock", lock));
    RF_TRY(rf_sweep_path(worker->sweep, index, "runs", "", run));
    RF_TRY(rf_sweep_look(worker->sweep, index, &worker->self, &record));
    *claim = judge(worker, &record, again);
    if (*claim != CLAIM_TAKEN) return RF_OK;
    const rf_status status = rf_run_lock_take(lock, run, &worker->self, &worker->talk);
    if (status == RF_CONFLICT) *claim = CLAIM_ELSEWHERE;
    if (status != RF_OK) return status == RF_CONFLICT ? RF_OK : status;
    /* It may have ended in other hands between the look and the lock. */
    RF_TRY(rf_sweep_recorded(worker->sweep, index, &record));
    *claim = judge(worker, &record, again);
    if (*claim != CLAIM_TAKEN) rf_run_lock_release(lock, &worker->self);
    return RF_OK;
}

/* The run itself; its failure is the group's alone. */
static rf_status train(sweep_worker *worker, int64_t index)
{
    rf_config *config = NULL;
    rf_environment env = worker->env;
    env.start = rf_clock_seconds();
    rf_status status = rf_agree(env.world, rf_sweep_config(worker->sweep, index, &config));
    if (status == RF_OK) status = rf_train(config, &env, 0);
    rf_config_destroy(&config);
    return status;
}

static rf_status write_record(const sweep_worker *worker, int64_t index, rf_status outcome,
                              double seconds, rf_sweep_record *record)
{
    char message[RF_MESSAGE_BYTES], lock[PATH_MAX];
    snprintf(message, sizeof message, "%s", outcome == RF_OK ? "" : rf_status_message());
    RF_TRY(rf_sweep_path(worker->sweep, index, "records", ".lock", lock));
    rf_status status = rf_sweep_recorded(worker->sweep, index, record);
    if (record->state == RF_SWEEP_VANISHED) record->seconds = 0;
    record->state = outcome == RF_OK        ? RF_SWEEP_DONE
                    : outcome == RF_STOPPED ? RF_SWEEP_STOPPED
                                            : RF_SWEEP_FAILED;
    record->code = (int)outcome;
    record->seconds += seconds;
    record->tries++;
    record->threads = worker->env.threads;
    MPI_Comm_size(worker->env.world, &record->ranks);
    strcpy(record->message, message);
    strcpy(record->start, worker->start);
    if (status == RF_OK) status = rf_sweep_note(worker->sweep, index, record);
    rf_run_lock_release(lock, &worker->self);
    return status;
}

rf_status sweep_train(sweep_worker *worker, int64_t index, rf_status *outcome,
                      rf_sweep_record *record)
{
    const double begin = rf_clock_seconds();
    *record = (rf_sweep_record){.state = RF_SWEEP_LEFT};
    *outcome = train(worker, index);
    return rf_agree(worker->env.world,
                    worker->rank == 0
                        ? write_record(worker, index, *outcome, rf_clock_seconds() - begin, record)
                        : RF_OK);
}
