#include "rf_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "refract/base/rng.h"

static char folder[4096];

int rf_test_rank(void)
{
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
}

int rf_test_size(void)
{
    int size = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    return size;
}

static void remove_folder(void)
{
    if (!folder[0] || rf_test_rank() != 0) return;
    char command[sizeof folder + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0) fprintf(stderr, "cannot remove %s\n", folder);
}

int rf_test_main(int argc, char **argv, const char *name, const struct CMUnitTest *tests,
                 size_t count)
{
    MPI_Init(&argc, &argv);
    if (rf_test_size() > 1) setenv("CMOCKA_TEST_ABORT", "1", 1);
    if (rf_test_rank() != 0 && !freopen("/dev/null", "w", stdout)) return RF_BUG;
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    int failed = _cmocka_run_group_tests(name, tests, count, NULL, NULL), all = 0;
    MPI_Allreduce(&failed, &all, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    remove_folder();
    MPI_Finalize();
    return all != 0;
}

static int near(double a, double b, double rtol, double atol)
{
    return isfinite(a) && isfinite(b) && fabs(a - b) <= atol + rtol * fabs(b);
}

void rf_assert_near(double a, double b, double rtol, double atol, const char *what,
                    const char *file, int line)
{
    if (near(a, b, rtol, atol)) return;
    print_error("%s = %.17g, wanted %.17g within %g relative + %g (rank %d)\n", what, a, b, rtol,
                atol, rf_test_rank());
    _fail(file, line);
}

void rf_assert_reals_near(const rf_real *a, const rf_real *b, int64_t n, double rtol, double atol,
                          const char *what, const char *file, int line)
{
    int64_t worst = -1;
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        if (near((double)a[i], (double)b[i], rtol, atol)) continue;
        const double off = fabs((double)a[i] - (double)b[i]);
        if (worst < 0 || !(off <= most)) {
            worst = i;
            most = off;
        }
    }
    if (worst < 0) return;
    print_error("%s[%lld] = %.17g, wanted %.17g within %g relative + %g (rank %d)\n", what,
                (long long)worst, (double)a[worst], (double)b[worst], rtol, atol, rf_test_rank());
    _fail(file, line);
}

void rf_assert_all(int verdict, const char *what, const char *file, int line)
{
    int all = 0;
    if (!verdict) print_error("rank %d: %s is false\n", rf_test_rank(), what);
    MPI_Allreduce(&verdict, &all, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    if (all) return;
    print_error("not true on all ranks: %s\n", what);
    _fail(file, line);
}

void rf_assert_status(rf_status got, rf_status wanted, const char *what, const char *file, int line)
{
    if (got == wanted) return;
    print_error("%s returned %d (%s), wanted %d; message: %s\n", what, (int)got,
                rf_status_meaning(got), (int)wanted, rf_status_message());
    _fail(file, line);
}

void rf_assert_message_has(const char *text, const char *file, int line)
{
    if (strstr(rf_status_message(), text)) return;
    print_error("message \"%s\" lacks \"%s\"\n", rf_status_message(), text);
    _fail(file, line);
}

double rf_test_value(uint64_t seed, uint64_t i)
{
    return 2.0 * rf_random_uniform(seed, 0, i) - 1.0;
}

void rf_test_fill(rf_real *x, int64_t n, uint64_t seed)
{
    for (int64_t i = 0; i < n; i++) x[i] = (rf_real)rf_test_value(seed, (uint64_t)i);
}

void rf_check_gradient(const char *what, rf_test_loss *loss, void *context, rf_real *x,
                       const rf_real *dx, int64_t n, int64_t most)
{
    const int is_double = sizeof(rf_real) == sizeof(double);
    const double step = is_double ? 1e-5 : 1e-2, limit = is_double ? 1e-6 : 3e-2;
    const int64_t stride = n > most ? n / most : 1;
    double scale = 1e-3;
    for (int64_t i = 0; i < n; i++) scale = fmax(scale, fabs((double)dx[i]));
    for (int64_t i = 0; i < n; i += stride) {
        const rf_real kept = x[i];
        x[i] = (rf_real)((double)kept + step);
        const double high = loss(context), to = (double)x[i];
        x[i] = (rf_real)((double)kept - step);
        const double low = loss(context), from = (double)x[i];
        x[i] = kept;
        const double slope = (high - low) / (to - from);
        if (near((double)dx[i], slope, limit, limit * scale)) continue;
        print_error("gradient of %s[%lld] is %.12g, differences say %.12g\n", what, (long long)i,
                    (double)dx[i], slope);
        fail();
    }
}

const char *rf_test_folder(void)
{
    if (!folder[0]) {
        if (rf_test_rank() == 0) {
            const char *base = getenv("TMPDIR");
            snprintf(folder, sizeof folder, "%s/refract-test-XXXXXX", base ? base : "/tmp");
            RF_ASSERT(mkdtemp(folder), "cannot make %s", folder);
        }
        MPI_Bcast(folder, (int)sizeof folder, MPI_CHAR, 0, MPI_COMM_WORLD);
    }
    return folder;
}

const char *rf_shared_path(const char *relative)
{
    static char path[8192];
    const char *base = getenv("RF_SHARED");
    snprintf(path, sizeof path, "%s/%s", base && base[0] ? base : "../shared", relative);
    return access(path, R_OK) == 0 ? path : NULL;
}

char *rf_test_read_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    RF_ASSERT(file, "cannot open %s", path);
    struct stat info;
    RF_ASSERT(fstat(fileno(file), &info) == 0, "cannot stat %s", path);
    char *bytes = malloc((size_t)info.st_size + 1);
    RF_ASSERT(bytes, "no memory");
    *length = fread(bytes, 1, (size_t)info.st_size, file);
    bytes[*length] = '\0';
    fclose(file);
    return bytes;
}

void rf_test_write_file(const char *path, const void *bytes, size_t length)
{
    FILE *file = fopen(path, "wb");
    RF_ASSERT(file, "cannot write %s", path);
    RF_ASSERT(fwrite(bytes, 1, length, file) == length, "short write to %s", path);
    RF_ASSERT(fclose(file) == 0, "cannot close %s", path);
}
