/**
 * What a run says: standard output, standard error and OUTPUT/run.log.
 *
 * Root speaks for the job (rf_log_info); any rank may warn (rf_log_warning), and its line carries
 * [rank@host]. Every line also goes to the log file once one is attached.
 */
#ifndef RF_BASE_LOG_H
#define RF_BASE_LOG_H

#include <stdint.h>
#include <stdio.h>

#include "refract/base/status.h"

typedef struct rf_log {
    int rank;         /**< in the world; only rank 0 prints information */
    char host[64];    /**< this rank's host name */
    FILE *file;       /**< owned; NULL until attached */
    int quiet;        /**< 1: nothing to standard output */
    int to_errors;    /**< 1: information goes to standard error, as standard output is a result */
    int64_t warnings; /**< counted on this rank */
} rf_log;

/** A log of this rank that speaks to the standard streams. Local. */
rf_log rf_log_start(int rank);

/** Appends to `path` from now on (every rank may attach the same file). RF_WRITE. Local. */
rf_status rf_log_attach(rf_log *log, const char *path);

/** Closes the file. Local; safe to repeat. */
void rf_log_stop(rf_log *log);

/** One line from root to standard output and the file. Local; other ranks do nothing. */
void rf_log_info(rf_log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** One line from this rank to standard error and the file, prefixed `warning:`. Local. */
void rf_log_warning(rf_log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
