#include "refract/io/run_folder.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "refract/base/file.h"
#include "refract/comm/agree.h"
#include "refract/io/run_lock.h"

struct rf_run_folder {
    MPI_Comm comm; /* borrowed */
    int is_root;
    int is_locked; /* root only */
    rf_lock_holder self;
    char output[PATH_MAX], checkpoints[PATH_MAX], stop_file[PATH_MAX], lock[PATH_MAX];
};

rf_status rf_run_folder_file(const rf_run_folder *folder, const char *name, char *path,
                             size_t bytes)
{
    const int length = snprintf(path, bytes, "%s/%s", folder->output, name);
    if (length >= 0 && (size_t)length < bytes) return RF_OK;
    return rf_fail(RF_USAGE, "the path %.200s.../%s is too long. Choose a shorter output",
                   folder->output, name);
}

static rf_status name_files(rf_run_folder *folder, const char *output)
{
    if (strlen(output) >= sizeof folder->output)
        return rf_fail(RF_USAGE, "the output path %.200s... is too long. Choose a shorter one",
                       output);
    strcpy(folder->output, output);
    RF_TRY(rf_run_folder_file(folder, "checkpoints", folder->checkpoints, PATH_MAX));
    RF_TRY(rf_run_folder_file(folder, "STOP", folder->stop_file, PATH_MAX));
    return rf_run_folder_file(folder, ".lock", folder->lock, PATH_MAX);
}

/* A start by hand means to run; a restart by the batch system does not overrule the user's STOP. */
static void remove_stop_file(const rf_run_folder *folder, rf_log *log)
{
    if (folder->self.restart > 0) return;
    if (unlink(folder->stop_file) == 0) rf_log_info(log, "removed %s", folder->stop_file);
}

static rf_status make(rf_run_folder *folder, rf_log *log)
{
    RF_TRY(rf_folder_make(folder->output));
    RF_TRY(rf_folder_make(folder->checkpoints));
    RF_TRY(rf_run_lock_take(folder->lock, folder->output, &folder->self, log));
    folder->is_locked = 1;
    remove_stop_file(folder, log);
    return RF_OK;
}

static rf_status look(const rf_run_folder *folder, const rf_log *log)
{
    if (access(folder->checkpoints, W_OK | X_OK) == 0) return RF_OK;
    return rf_fail(
        RF_RESOURCES,
        "run folder '%s' cannot be used on %s: %s. Put it on a file system that all nodes "
        "share",
        folder->output, log->host, strerror(errno));
}

static rf_status open_all(rf_run_folder *folder, rf_log *log, const char *output)
{
    RF_TRY_ALL(folder->comm, name_files(folder, output));
    RF_TRY_ALL(folder->comm, folder->is_root ? make(folder, log) : RF_OK);
    return rf_agree(folder->comm, look(folder, log));
}

rf_status rf_run_folder_open(rf_run_folder **folder, MPI_Comm comm, rf_log *log, const char *output)
{
    *folder = calloc(1, sizeof **folder);
    rf_status status = *folder ? RF_OK : rf_fail(RF_RESOURCES, "no memory for the run folder");
    status = rf_agree(comm, status);
    if (status == RF_OK) {
        int rank = 0;
        RF_ASSERT(*folder, "agreed on success without a run folder");
        MPI_Comm_rank(comm, &rank);
        (*folder)->comm = comm;
        (*folder)->is_root = rank == 0;
        (*folder)->self = rf_lock_holder_self();
        status = open_all(*folder, log, output);
    }
    if (status != RF_OK) rf_run_folder_close(folder);
    return status;
}

void rf_run_folder_close(rf_run_folder **folder)
{
    if (!*folder) return;
    if ((*folder)->is_locked) rf_run_lock_release((*folder)->lock, &(*folder)->self);
    free(*folder);
    *folder = NULL;
}

const char *rf_run_folder_path(const rf_run_folder *folder)
{
    return folder->output;
}

const char *rf_run_folder_checkpoints(const rf_run_folder *folder)
{
    return folder->checkpoints;
}

const char *rf_run_folder_stop_file(const rf_run_folder *folder)
{
    return folder->is_root ? folder->stop_file : NULL;
}

rf_status rf_run_folder_write(const rf_run_folder *folder, const char *name, const void *bytes,
                              size_t length)
{
    rf_status status = RF_OK;
    if (folder->is_root) {
        char path[PATH_MAX];
        status = rf_run_folder_file(folder, name, path, sizeof path);
        if (status == RF_OK) status = rf_file_write(path, bytes, length);
    }
    return rf_agree(folder->comm, status);
}
