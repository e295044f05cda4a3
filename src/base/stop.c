#include "refract/base/stop.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The one global variable of the program: a handler can reach nothing else. */
static volatile sig_atomic_t caught;

static void remember(int number)
{
    caught = number;
}

void rf_stop_install(void)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler =
        remember; /* stays installed, so a second signal is as harmless as the first */
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaction(signals[i], &action, NULL);
}

int rf_stop_requested(void)
{
    return caught;
}

void rf_stop_forget(void)
{
    caught = 0;
}

const char *rf_stop_reason_name(rf_stop_reason reason)
{
    switch (reason) {
    case RF_STOP_NONE:
        break;
    case RF_STOP_FILE:
        return "the STOP file";
    case RF_STOP_TIME:
        return "the time limit";
    case RF_STOP_SIGNAL:
        return "a signal";
    }
    return "nothing";
}

double rf_clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Digits up to `end`; -1 when there are none, too many, or something else. */
static int read_digits(const char **at, size_t most, char end)
{
    const size_t span = strspn(*at, "0123456789");
    int value = 0;
    if (span == 0 || span > most || (*at)[span] != end) return -1;
    for (size_t i = 0; i < span; i++) value = 10 * value + ((*at)[i] - '0');
    *at += span + (end != '\0');
    return value;
}

int rf_duration_parse(const char *text, double *seconds)
{
    const int h = read_digits(&text, 5, ':');
    if (h < 0) return 0;
    const int m = read_digits(&text, 2, ':');
    if (m < 0 || m > 59) return 0;
    const int s = read_digits(&text, 2, '\0');
    if (s < 0 || s > 59) return 0;
    *seconds = 3600.0 * h + 60.0 * m + s;
    return *seconds > 0;
}

double rf_stop_watch_job(rf_stop_watch *watch)
{
    const char *text = getenv("SLURM_JOB_END_TIME");
    char *end = NULL;
    const long long job_end = text ? strtoll(text, &end, 10) : 0;
    const double left = (double)(job_end - (long long)time(NULL));
    if (job_end <= 0 || *end || left <= 0) return 0;
    double limit = rf_clock_seconds() - watch->start + left - RF_JOB_MARGIN;
    if (limit < 1e-3) limit = 1e-3; /* 0 would be no limit */
    if (watch->limit <= 0 || limit < watch->limit) watch->limit = limit;
    return left;
}

rf_stop_reason rf_stop_local(const rf_stop_watch *watch)
{
    if (caught) return RF_STOP_SIGNAL;
    if (watch->limit > 0 && rf_clock_seconds() - watch->start + watch->reserve >= watch->limit)
        return RF_STOP_TIME;
    if (watch->stop_file && access(watch->stop_file, F_OK) == 0) return RF_STOP_FILE;
    for (const char *const *file = watch->stop_files; file && *file; file++)
        if (access(*file, F_OK) == 0) return RF_STOP_FILE;
    return RF_STOP_NONE;
}
