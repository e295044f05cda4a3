#include "refract/base/status.h"

#include <mpi.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The text belongs to the thread that failed: the one piece of state that a status cannot carry. */
static _Thread_local char message[RF_MESSAGE_BYTES];

static int world_rank(void)
{
    int ready = 0, ended = 0, rank = 0;
    MPI_Initialized(&ready);
    MPI_Finalized(&ended);
    if (ready && !ended) MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
}

const char *rf_status_meaning(rf_status status)
{
    switch (status) {
#define RF_STATUS_CASE(name, code, meaning)                                                        \
    case RF_##name:                                                                                \
        return meaning;
        RF_STATUS_LIST(RF_STATUS_CASE)
#undef RF_STATUS_CASE
    }
    return "unknown status";
}

rf_status(rf_fail)(rf_status status, const char *format, ...)
{
    char text[RF_MESSAGE_BYTES]; /* arguments may point into the old message */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    memcpy(message, text, sizeof text);
    return status;
}

const char *rf_status_message(void)
{
    return message;
}

void rf_bug(const char *file, int line, const char *format, ...)
{
    char text[RF_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "refract: bug: rank %d, %s:%d: %s\n", world_rank(), file, line, text);
    fflush(stderr);
    int ready = 0, ended = 0;
    MPI_Initialized(&ready);
    MPI_Finalized(&ended);
    if (ready && !ended) MPI_Abort(MPI_COMM_WORLD, RF_BUG);
    abort();
}

int rf_fault_at(const char *site)
{
    const char *wish = getenv("RF_FAULT");
    const size_t length = strlen(site);
    if (!wish || strncmp(wish, site, length) != 0 || wish[length] != ':') return 0;
    const char *who = wish + length + 1;
    char *after = NULL;
    if (*who == '*')
        after = (char *)who + 1;
    else if (strtol(who, &after, 10) != world_rank())
        return 0;
    if (strcmp(after, ":kill") == 0) raise(SIGKILL);
    return 1;
}
