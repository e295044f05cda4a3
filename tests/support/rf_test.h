/**
 * Test support: one main for serial and MPI tests, comparisons that reject NaN, gradient checks,
 * temporary folders, and data from outside the project (skipped, and said so, where absent).
 */
#ifndef RF_TEST_H
#define RF_TEST_H

#include <mpi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "refract/base/real.h"
#include "refract/base/status.h"

/** Starts MPI, runs the group on every rank (root prints), agrees on the result, ends MPI. */
int rf_test_main(int argc, char **argv, const char *name, const struct CMUnitTest *tests,
                 size_t count);
#define RF_TEST_MAIN(tests)                                                                        \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        return rf_test_main(argc, argv, #tests, tests, sizeof(tests) / sizeof((tests)[0]));        \
    }

int rf_test_rank(void);
int rf_test_size(void);

/** |a - b| <= atol + rtol |b|, both finite; prints both values and tolerances otherwise. */
#define assert_near(a, b, rtol, atol)                                                              \
    rf_assert_near((double)(a), (double)(b), (rtol), (atol), #a, __FILE__, __LINE__)
void rf_assert_near(double a, double b, double rtol, double atol, const char *what,
                    const char *file, int line);

/** The same for arrays of rf_real or double; names the first worst index. */
#define assert_reals_near(a, b, n, rtol, atol)                                                     \
    rf_assert_reals_near((a), (b), (n), (rtol), (atol), #a, __FILE__, __LINE__)
void rf_assert_reals_near(const rf_real *a, const rf_real *b, int64_t n, double rtol, double atol,
                          const char *what, const char *file, int line);

/** Every rank's verdict counts: all fail together, so that none is left waiting. Collective. */
#define assert_all(condition) rf_assert_all((condition) != 0, #condition, __FILE__, __LINE__)
void rf_assert_all(int verdict, const char *what, const char *file, int line);

#ifdef __clang_analyzer__ /* what the analyser cannot see from here: a failed assertion is the end \
                           */
#undef assert_non_null
#undef assert_true
#undef assert_all
#define rf_ends_unless(condition) ((condition) ? (void)0 : abort())
#define assert_non_null(pointer)  rf_ends_unless((pointer) != NULL)
#define assert_true(condition)    rf_ends_unless(condition)
#define assert_all(condition)     rf_ends_unless(condition)
#endif

/** The call returns RF_OK (or `status`); prints the message otherwise. */
#define assert_ok(call)             rf_assert_status((call), RF_OK, #call, __FILE__, __LINE__)
#define assert_status(call, status) rf_assert_status((call), (status), #call, __FILE__, __LINE__)
void rf_assert_status(rf_status got, rf_status wanted, const char *what, const char *file,
                      int line);

/** The last failure's message contains `text`. */
#define assert_message_has(text) rf_assert_message_has((text), __FILE__, __LINE__)
void rf_assert_message_has(const char *text, const char *file, int line);

/** Deterministic values in (-1, 1) for test data, f(seed, i). */
double rf_test_value(uint64_t seed, uint64_t i);
void rf_test_fill(rf_real *x, int64_t n, uint64_t seed);

/**
 * Central differences of loss(context) over x[0..n), compared with the gradient dx, element by
 * element (at most `most` elements, evenly spread). Meant for the double build; in float the limit
 * is loose.
 */
typedef double rf_test_loss(void *context);
void rf_check_gradient(const char *what, rf_test_loss *loss, void *context, rf_real *x,
                       const rf_real *dx, int64_t n, int64_t most);

/** A fresh folder, the same on all ranks, removed when the tests end. Collective. */
const char *rf_test_folder(void);

/** Path below the folder of outside data; NULL where it does not exist (then call skip_without). */
const char *rf_shared_path(const char *relative);
#define skip_without(relative)                                                                     \
    do {                                                                                           \
        if (!rf_shared_path(relative)) {                                                           \
            print_message("skipped: no %s (set RF_SHARED)\n", (relative));                         \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

/** Whole files, for preparing inputs and damaging outputs. Bug on failure. */
char *rf_test_read_file(const char *path, size_t *length);
void rf_test_write_file(const char *path, const void *bytes, size_t length);

#endif
