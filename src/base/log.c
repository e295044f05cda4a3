#include "refract/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

rf_log rf_log_start(int rank)
{
    rf_log log = {.rank = rank};
    if (gethostname(log.host, sizeof log.host - 1) != 0) strcpy(log.host, "unknown");
    return log;
}

rf_status rf_log_attach(rf_log *log, const char *path)
{
    rf_log_stop(log);
    log->file = fopen(path, "a");
    if (!log->file)
        return rf_fail(RF_WRITE, "cannot write the log '%s': %s. Choose another output", path,
                       strerror(errno));
    setvbuf(log->file, NULL, _IOLBF, 0);
    return RF_OK;
}

void rf_log_stop(rf_log *log)
{
    if (log->file) fclose(log->file);
    log->file = NULL;
}

void rf_log_info(rf_log *log, const char *format, ...)
{
    if (log->rank != 0) return;
    va_list arguments;
    if (!log->quiet) {
        FILE *out = log->to_errors ? stderr : stdout;
        va_start(arguments, format);
        vfprintf(out, format, arguments);
        va_end(arguments);
        fputc('\n', out);
        fflush(out);
    }
    if (log->file) {
        va_start(arguments, format);
        vfprintf(log->file, format, arguments);
        va_end(arguments);
        fputc('\n', log->file);
    }
}

void rf_log_warning(rf_log *log, const char *format, ...)
{
    char text[RF_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    log->warnings++;
    fprintf(stderr, "refract: warning: [%d@%s] %s\n", log->rank, log->host, text);
    if (log->file) fprintf(log->file, "warning: [%d@%s] %s\n", log->rank, log->host, text);
}
