#include "refract/io/run_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_BYTES = 512, TRIES = 10, PAUSE_MICROSECONDS = 10000 };

typedef struct process {
    unsigned long long start; /* tells it from a later one with the same number; 0 = unknown */
    int is_ending;            /* no code of the program runs in it any more */
} process;

/* Reads the head of /proc/PID/NAME into text; 0 when there is none. */
static int read_proc(long pid, const char *name, char *text, size_t bytes)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/%s", pid, name);
    FILE *file = fopen(path, "r");
    text[0] = '\0';
    if (!file) return 0;
    text[fread(text, 1, bytes - 1, file)] = '\0';
    fclose(file);
    return 1;
}

/* A process that was killed stays for a moment: with the signal pending, or on its way out. */
static int is_being_killed(long pid)
{
    char text[4096];
    unsigned long long pending = 0;
    read_proc(pid, "status", text, sizeof text);
    const char *at = strstr(text, "\nSigPnd:");
    return at && sscanf(at, " SigPnd: %llx", &pending) == 1 && (pending >> (SIGKILL - 1) & 1);
}

static process look_at(long pid)
{
    enum { EXITING = 4 }; /* PF_EXITING of the kernel's linux/sched.h */
    char line[1024], state = '?';
    unsigned flags = 0;
    process found = {0};
    read_proc(pid, "stat", line, sizeof line);
    const char *at = strrchr(line, ')'); /* ends the name, which may hold anything */
    if (!at || sscanf(at,
                      ") %c %*d %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
                      "%*d %llu",
                      &state, &flags, &found.start) != 3)
        return found;
    found.is_ending = state == 'Z' || state == 'X' || (flags & EXITING) || is_being_killed(pid);
    return found;
}

rf_lock_holder rf_lock_holder_self(void)
{
    rf_lock_holder self = {.pid = (long)getpid(), .start = look_at((long)getpid()).start};
    const char *job = getenv("SLURM_JOB_ID"), *restart = getenv("SLURM_RESTART_COUNT");
    if (gethostname(self.host, sizeof self.host - 1) != 0) strcpy(self.host, "unknown");
    snprintf(self.job, sizeof self.job, "%s", job && job[0] ? job : "-");
    self.restart = restart ? strtol(restart, NULL, 10) : 0;
    return self;
}

static void write_line(const rf_lock_holder *holder, char line[LINE_BYTES])
{
    snprintf(line, LINE_BYTES, "host=%s pid=%ld start=%llu job=%s restart=%ld\n", holder->host,
             holder->pid, holder->start, holder->job, holder->restart);
}

static int read_holder(int file, rf_lock_holder *holder)
{
    char line[LINE_BYTES];
    const ssize_t length = pread(file, line, sizeof line - 1, 0);
    if (length <= 0) return 0;
    line[length] = '\0';
    return sscanf(line, "host=%255s pid=%ld start=%llu job=%63s restart=%ld", holder->host,
                  &holder->pid, &holder->start, holder->job, &holder->restart) == 5;
}

/* Why the holder is certainly gone; NULL when it may be alive. */
static const char *gone(const rf_lock_holder *holder, const rf_lock_holder *self)
{
    if (strcmp(holder->job, "-") != 0 && strcmp(holder->job, self->job) == 0 &&
        holder->restart < self->restart)
        return "an earlier start of this batch job";
    if (strcmp(holder->host, self->host) != 0 || holder->pid <= 0) return NULL;
    if (kill((pid_t)holder->pid, 0) != 0 && errno == ESRCH) return "it has ended";
    const process now = look_at(holder->pid);
    const int other = now.start && holder->start && now.start != holder->start;
    return other || now.is_ending ? "it has ended" : NULL;
}

static int write_holder(int file, const rf_lock_holder *self)
{
    char line[LINE_BYTES];
    write_line(self, line);
    const ssize_t length = (ssize_t)strlen(line);
    errno = ENOSPC; /* what a short write means */
    return !RF_FAULT_AT("run_folder.lock") && ftruncate(file, 0) == 0 &&
           pwrite(file, line, (size_t)length, 0) == length && fsync(file) == 0;
}

static rf_status fill(int file, const char *path, const rf_lock_holder *self)
{
    if (write_holder(file, self)) return RF_OK;
    const int reason = errno;
    unlink(path);
    return rf_fail(RF_WRITE, "cannot write '%s': %s. See the space left", path, strerror(reason));
}

static rf_status conflict(const char *path, const char *output, const rf_lock_holder *holder)
{
    return rf_fail(
        RF_CONFLICT,
        "run folder '%s' is in use by process %ld on %s, batch job %s (%s). Wait for it, "
        "choose another output, or remove that file if the process is gone",
        output, holder->pid, holder->host, strcmp(holder->job, "-") == 0 ? "none" : holder->job,
        path);
}

/* Judges an existing lock that `file` holds open under flock, so that only one process takes it
 * over. */
static rf_status take_over(int file, const char *path, const char *output,
                           const rf_lock_holder *self, rf_log *log)
{
    rf_lock_holder holder = {0};
    if (!read_holder(file, &holder))
        return rf_fail(
            RF_CONFLICT,
            "run folder '%s' has a lock that names no holder (%s). Remove it if no other "
            "run is using the folder",
            output, path);
    const char *reason = gone(&holder, self);
    if (!reason) return conflict(path, output, &holder);
    rf_log_warning(log, "run folder '%s' was still locked by process %ld on %s: %s; going on",
                   output, holder.pid, holder.host, reason);
    return fill(file, path, self);
}

/* 1 when `file` is still what `path` names, and its maker is not just about to write it. */
static int is_settled(int file, const char *path)
{
    struct stat open_one, named;
    return fstat(file, &open_one) == 0 && stat(path, &named) == 0 &&
           open_one.st_ino == named.st_ino && open_one.st_dev == named.st_dev &&
           open_one.st_size > 0;
}

rf_status rf_run_lock_take(const char *path, const char *output, const rf_lock_holder *self,
                           rf_log *log)
{
    for (int attempt = 1; attempt <= TRIES; attempt++) {
        int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (file >= 0) {
            const rf_status status = fill(file, path, self);
            close(file);
            return status;
        }
        if (errno != EEXIST)
            return rf_fail(RF_WRITE, "cannot write in run folder '%s': %s. Choose another output",
                           output, strerror(errno));
        file = open(path, O_RDWR | O_CLOEXEC);
        if (file < 0 && errno != ENOENT)
            return rf_fail(RF_WRITE, "cannot open '%s': %s. See its rights", path, strerror(errno));
        /* Where the file system has no flock, two runs may take over one dead lock. */
        const int busy = file >= 0 && flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
        if (file >= 0 && !busy && (attempt == TRIES || is_settled(file, path))) {
            const rf_status status = take_over(file, path, output, self, log);
            close(file);
            return status;
        }
        if (file >= 0) close(file);
        usleep(PAUSE_MICROSECONDS);
    }
    return rf_fail(RF_CONFLICT, "run folder '%s' is being taken by another run (%s). Try again",
                   output, path);
}

rf_lock_state rf_run_lock_look(const char *path, const rf_lock_holder *self, rf_lock_holder *holder)
{
    *holder = (rf_lock_holder){.host = ""};
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return errno == ENOENT ? RF_LOCK_FREE : RF_LOCK_HELD;
    const int known = read_holder(file, holder);
    close(file);
    return known && gone(holder, self) ? RF_LOCK_DEAD : RF_LOCK_HELD;
}

void rf_run_lock_release(const char *path, const rf_lock_holder *self)
{
    rf_lock_holder holder = {0};
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    const int ours = read_holder(file, &holder) && holder.pid == self->pid &&
                     strcmp(holder.host, self->host) == 0;
    close(file);
    if (ours) unlink(path);
}
