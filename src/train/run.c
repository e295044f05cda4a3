#include "refract/train/run.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "refract/comm/agree.h"

static rf_status attach_log(const rf_run *run)
{
    char path[PATH_MAX];
    RF_TRY(rf_run_folder_file(run->folder, "run.log", path, sizeof path));
    return rf_log_attach(run->log, path);
}

static rf_status open_all(rf_run *run)
{
    RF_TRY_ALL(run->comm, rf_config_require(run->config, "output"));
    const char *output = rf_config_string(run->config, "output");
    RF_TRY(rf_run_folder_open(&run->folder, run->comm, run->log, output));
    return rf_agree(run->comm, attach_log(run));
}

/* The nearer of train.max_time and the end of the batch job. */
static void watch_time(rf_run *run)
{
    const char *limit = rf_config_string(run->config, "train.max_time");
    RF_ASSERT(!limit || rf_duration_parse(limit, &run->watch.limit), "train.max_time '%s'", limit);
    const long left = (long)rf_stop_watch_job(&run->watch);
    if (left > 0)
        rf_log_info(run->log, "the batch job ends in %ld:%02ld:%02ld", left / 3600, left / 60 % 60,
                    left % 60);
}

rf_status rf_run_open(rf_run *run, MPI_Comm comm, rf_config *config, rf_log *log, double start)
{
    *run = (rf_run){.comm = comm, .config = config, .log = log, .watch = {.start = start}};
    rf_stop_install(); /* before the folder says that the run has begun */
    const rf_status status = open_all(run);
    if (status != RF_OK) {
        rf_run_close(run);
        return status;
    }
    watch_time(run);
    run->watch.stop_file = rf_run_folder_stop_file(run->folder);
    return RF_OK;
}

void rf_run_close(rf_run *run)
{
    if (run->log) rf_log_stop(run->log);
    rf_run_folder_close(&run->folder);
    *run = (rf_run){0};
}

static void tell_resolved(const rf_run *run, char *resolved)
{
    char *rest = NULL;
    for (char *line = strtok_r(resolved, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        rf_log_info(run->log, "auto: %s", line);
}

rf_status rf_run_write_config(const rf_run *run)
{
    char *yaml = rf_config_yaml(run->config), *resolved = rf_config_resolved(run->config);
    rf_status status = RF_OK;
    if (!yaml || !resolved)
        status = rf_fail(RF_RESOURCES, "no memory for the configuration's text");
    status = rf_agree(run->comm, status);
    if (status == RF_OK) {
        RF_ASSERT(yaml && resolved, "agreed on success without a text");
        tell_resolved(run, resolved);
        status = rf_run_folder_write(run->folder, "config.yaml", yaml, strlen(yaml));
    }
    free(yaml);
    free(resolved);
    return status;
}

rf_stop_reason rf_run_should_stop(const rf_run *run)
{
    return rf_stop_agreed(run->comm, &run->watch);
}

rf_status rf_run_stopped(rf_stop_reason reason, int64_t steps)
{
    return rf_fail(RF_STOPPED,
                   "stopped by %s after step %" PRId64 ", all state saved. Run the same command "
                   "again to go on",
                   rf_stop_reason_name(reason), steps);
}
