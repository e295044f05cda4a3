/**
 * Failures and bugs.
 *
 * A failure (file, memory, bad input) is a status that travels up; its text is kept per thread
 * until the next failure. A bug aborts the whole job with rank, place and values.
 */
#ifndef RF_BASE_STATUS_H
#define RF_BASE_STATUS_H

/** X(name, exit code, meaning): the one list of codes, which are also the program's exit codes. */
#define RF_STATUS_LIST(X)                                                                          \
    X(OK, 0, "done")                                                                               \
    X(BUG, 1, "bug in refract")                                                                    \
    X(USAGE, 2, "usage or configuration")                                                          \
    X(INPUT, 3, "an input file is missing, unreadable or malformed")                               \
    X(RESOURCES, 4, "resources: memory, disk, or a layout that cannot be")                         \
    X(NONFINITE, 5, "non-finite numbers")                                                          \
    X(WRITE, 6, "writing failed")                                                                  \
    X(CONFLICT, 7, "run folder locked, or its checkpoint belongs to another run")                  \
    X(STOPPED, 75, "stopped with all state saved")

typedef enum rf_status {
#define RF_STATUS_ENUM(name, code, meaning) RF_##name = (code),
    RF_STATUS_LIST(RF_STATUS_ENUM)
#undef RF_STATUS_ENUM
} rf_status;

/** Longest message kept, in bytes with its final NUL. */
enum { RF_MESSAGE_BYTES = 2048 };

/** The meaning of a code, e.g. "writing failed". Local; never NULL. */
const char *rf_status_meaning(rf_status status);

/**
 * Records a failure and returns its code: `return rf_fail(RF_INPUT, "...", ...)`.
 * The text reads `WHAT (WHERE). HINT` and ends without a line break. Local.
 */
rf_status rf_fail(rf_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
#ifdef __clang_analyzer__ /* what the analyser cannot see from here: the code comes back */
#define rf_fail(status, ...) ((rf_fail)((status), __VA_ARGS__), (status))
#endif

/** The text of this thread's last failure ("" if none). Local; borrowed until the next failure. */
const char *rf_status_message(void);

/** Prints place and message to stderr, then ends the whole job. Local; does not return. */
void rf_bug(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));

/** Passes a failure up. */
#define RF_TRY(call)                                                                               \
    do {                                                                                           \
        const rf_status rf_try_status = (call);                                                    \
        if (rf_try_status != RF_OK) return rf_try_status;                                          \
    } while (0)

/** A broken precondition is a bug: RF_ASSERT(cond, "format", values...). Release builds keep it. */
#define RF_ASSERT(condition, ...)                                                                  \
    do {                                                                                           \
        if (!(condition)) rf_bug(__FILE__, __LINE__, __VA_ARGS__);                                 \
    } while (0)

/**
 * Fault injection for tests: true when the environment asks for a failure at `site` on this rank,
 * RF_FAULT=site:rank[:kill] (rank * = every rank; kill ends the process by SIGKILL here instead of
 * returning). `RF_FAULT_AT("checkpoint.rename")` is constant false unless built with RF_FAULTS.
 */
#ifdef RF_FAULTS
#define RF_FAULT_AT(site) rf_fault_at(site)
#else
#define RF_FAULT_AT(site) 0
#endif
int rf_fault_at(const char *site);

#endif
