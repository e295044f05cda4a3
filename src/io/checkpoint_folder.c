#include "checkpoint_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

rf_status rf_checkpoint_name(char path[RF_PATH_BYTES], const char *folder, int64_t step)
{
    const int length = snprintf(path, RF_PATH_BYTES, "%s/step-%08lld.h5", folder, (long long)step);
    if (length > 0 && length < RF_PATH_BYTES) return RF_OK;
    return rf_fail(RF_WRITE, "the path of folder '%s' is too long. Choose a shorter output",
                   folder);
}

/* The step of "step-00000100.h5" + suffix, -1 for other names. */
static int64_t step_of(const char *name, const char *suffix)
{
    char wanted[64];
    if (strncmp(name, "step-", 5) != 0) return -1;
    const long long step = strtoll(name + 5, NULL, 10);
    snprintf(wanted, sizeof wanted, "step-%08lld.h5%s", step, suffix);
    return strcmp(name, wanted) == 0 && step >= 0 ? step : -1;
}

static int newest_first(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* Lists the steps of all names that end in suffix. */
static rf_status list_steps(const char *folder, const char *suffix, int64_t **steps, int64_t *count)
{
    *steps = calloc(1, sizeof **steps);
    *count = 0;
    if (!*steps) return rf_fail(RF_RESOURCES, "no memory to list '%s'. Free some memory", folder);
    DIR *entries = opendir(folder);
    if (!entries && errno == ENOENT) return RF_OK;
    if (!entries)
        return rf_fail(RF_INPUT, "cannot list the folder '%s': %s. Check its permissions", folder,
                       strerror(errno));
    rf_status status = RF_OK;
    for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
        const int64_t step = step_of(entry->d_name, suffix);
        if (step < 0) continue;
        int64_t *more = realloc(*steps, (size_t)(*count + 1) * sizeof **steps);
        if (!more) {
            status = rf_fail(RF_RESOURCES, "no memory to list '%s'. Free some memory", folder);
            break;
        }
        *steps = more;
        more[(*count)++] = step;
    }
    closedir(entries);
    if (*count > 0) qsort(*steps, (size_t)*count, sizeof **steps, newest_first);
    return status;
}

rf_status rf_checkpoint_steps(const char *folder, int64_t **steps, int64_t *count)
{
    return list_steps(folder, "", steps, count);
}

void rf_checkpoint_prune(rf_log *log, const char *folder, int64_t step, int keep)
{
    int64_t *steps = NULL, count = 0;
    char path[RF_PATH_BYTES];
    int kept = 1;
    if (keep < 1) return;
    if (list_steps(folder, "", &steps, &count) != RF_OK)
        rf_log_warning(log, "old checkpoints stay: %s", rf_status_message());
    for (int64_t i = 0; i < count; i++) {
        if (steps[i] >= step || kept++ < keep) continue; /* later ones belong to a run given up */
        if (rf_checkpoint_name(path, folder, steps[i]) != RF_OK) continue;
        if (RF_FAULT_AT("checkpoint.prune") || unlink(path) != 0)
            rf_log_warning(log, "cannot remove the old checkpoint '%s': %s. Remove it by hand",
                           path, strerror(errno));
    }
    free(steps);
}

void rf_checkpoint_sweep(rf_log *log, const char *folder)
{
    int64_t *steps = NULL, count = 0;
    char path[RF_PATH_BYTES], temporary[RF_PATH_BYTES + 8];
    if (list_steps(folder, ".tmp", &steps, &count) != RF_OK) count = 0;
    for (int64_t i = 0; i < count; i++) {
        if (rf_checkpoint_name(path, folder, steps[i]) != RF_OK) continue;
        snprintf(temporary, sizeof temporary, "%s.tmp", path);
        if (unlink(temporary) == 0)
            rf_log_warning(log, "removed '%s', which an earlier job left half-written", temporary);
    }
    free(steps);
}

static rf_status no_space(const char *path, int64_t bytes, const char *cause)
{
    return rf_fail(RF_WRITE,
                   "no space for '%s', which needs %.1f MiB: %s. Free some space or lower "
                   "checkpoint.keep",
                   path, (double)bytes / 1048576.0, cause);
}

/* mode: of fallocate; 0 also tells of limits on the size of files. */
static rf_status allocate(const char *path, int64_t bytes, int mode)
{
    const int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0)
        return rf_fail(RF_WRITE, "cannot write '%s': %s. Check the permissions", path,
                       strerror(errno));
    const int full = fallocate(file, mode, 0, (off_t)bytes) != 0 &&
                     (errno == ENOSPC || errno == EDQUOT || errno == EFBIG);
    const int cause = errno;
    close(file);
    return full ? no_space(path, bytes, strerror(cause)) : RF_OK;
}

rf_status rf_checkpoint_reserve(const char *path, int64_t bytes)
{
    return allocate(path, bytes, FALLOC_FL_KEEP_SIZE);
}

rf_status rf_checkpoint_space(const char *folder, const char *path, int64_t bytes)
{
    struct statvfs system;
    char left[64];
    if (statvfs(folder, &system) == 0 &&
        (double)system.f_bavail * (double)system.f_frsize < (double)bytes) {
        snprintf(left, sizeof left, "%.1f MiB are free",
                 (double)system.f_bavail * (double)system.f_frsize / 1048576.0);
        return no_space(path, bytes, left);
    }
    const rf_status status = allocate(path, bytes, 0);
    unlink(path);
    return status;
}
