#include "refract/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* read() until `length` bytes are there; what ends earlier has changed under us. */
static rf_status read_all(int file, char *bytes, size_t length, const char *path)
{
    for (size_t at = 0; at < length;) {
        const ssize_t got = read(file, bytes + at, length - at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return rf_fail(RF_INPUT, "cannot read %s: %s", path, strerror(errno));
        if (got == 0) return rf_fail(RF_INPUT, "%s ended while it was read", path);
        at += (size_t)got;
    }
    bytes[length] = '\0';
    return RF_OK;
}

static rf_status read_open(int file, char **bytes, size_t *length, const char *path, size_t most)
{
    struct stat info;
    if (fstat(file, &info) != 0)
        return rf_fail(RF_INPUT, "cannot read %s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode)) return rf_fail(RF_INPUT, "%s is not a plain file", path);
    if ((uintmax_t)info.st_size > most)
        return rf_fail(RF_INPUT, "%s has %lld bytes, more than the %zu allowed here", path,
                       (long long)info.st_size, most);
    *length = (size_t)info.st_size;
    *bytes = malloc(*length + 1);
    if (!*bytes) return rf_fail(RF_RESOURCES, "no memory for the %zu bytes of %s", *length, path);
    return read_all(file, *bytes, *length, path);
}

rf_status rf_file_read(char **bytes, size_t *length, const char *path, size_t most)
{
    *bytes = NULL;
    *length = 0;
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return rf_fail(RF_INPUT, "cannot open %s: %s", path, strerror(errno));
    const rf_status status = read_open(file, bytes, length, path, most);
    close(file);
    if (status != RF_OK) {
        free(*bytes);
        *bytes = NULL;
    }
    return status;
}

static int sync_path(const char *path, int flags)
{
    const int file = open(path, flags | O_CLOEXEC);
    if (file < 0) return -1;
    const int result = fsync(file), reason = errno;
    close(file);
    errno = reason;
    return result;
}

/* The folder that holds `path`. A file system that cannot sync folders (EINVAL) keeps its own
 * order. */
static int sync_folder_of(const char *path)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (!slash)
        strcpy(folder, ".");
    else
        slash[slash == folder] = '\0';
    return sync_path(folder, O_RDONLY | O_DIRECTORY) != 0 && errno != EINVAL ? -1 : 0;
}

rf_status rf_file_publish(const char *temporary, const char *path)
{
    if (RF_FAULT_AT("file.publish")) {
        errno = EIO;
    } else if (sync_path(temporary, O_RDONLY) == 0 && rename(temporary, path) == 0) {
        if (sync_folder_of(path) == 0) return RF_OK;
        return rf_fail(RF_WRITE, "cannot sync the folder of %s: %s", path, strerror(errno));
    }
    const int reason = errno;
    unlink(temporary);
    return rf_fail(RF_WRITE, "cannot write %s: %s. See the space left and the folder's rights",
                   path, strerror(reason));
}

rf_status rf_file_temporary(char *temporary, size_t bytes, const char *path)
{
    const int length = snprintf(temporary, bytes, "%s.tmp", path);
    if (length >= 0 && (size_t)length < bytes) return RF_OK;
    return rf_fail(RF_WRITE, "the path %.200s... is too long", path);
}

static int write_all(int file, const char *bytes, size_t length)
{
    for (size_t at = 0; at < length;) {
        const ssize_t put = write(file, bytes + at, length - at);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return -1;
        at += (size_t)put;
    }
    return 0;
}

rf_status rf_file_write(const char *path, const void *bytes, size_t length)
{
    char temporary[PATH_MAX];
    RF_TRY(rf_file_temporary(temporary, sizeof temporary, path));
    const int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0) return rf_fail(RF_WRITE, "cannot write %s: %s", temporary, strerror(errno));
    const int failed = RF_FAULT_AT("file.write") || write_all(file, bytes, length) != 0;
    const int reason = RF_FAULT_AT("file.write") ? ENOSPC : errno;
    if (close(file) == 0 && !failed) return rf_file_publish(temporary, path);
    unlink(temporary);
    return rf_fail(RF_WRITE, "cannot write %s: %s. See the space left", path,
                   strerror(failed ? reason : errno));
}

static int make_one(const char *path)
{
    struct stat info;
    if (mkdir(path, 0777) == 0) return 0;
    return errno == EEXIST && stat(path, &info) == 0 && S_ISDIR(info.st_mode) ? 0 : -1;
}

rf_status rf_folder_make(const char *path)
{
    char part[PATH_MAX];
    const size_t length = strlen(path);
    if (length == 0 || length >= sizeof part)
        return rf_fail(RF_WRITE, "'%.200s' cannot be a folder", path);
    memcpy(part, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (part[i] != '/' && part[i] != '\0') continue;
        part[i] = '\0';
        if (make_one(part) != 0)
            return rf_fail(RF_WRITE, "cannot make the folder %s: %s", part, strerror(errno));
        part[i] = path[i];
    }
    return RF_OK;
}
