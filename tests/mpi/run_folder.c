#include "rf_test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "refract/comm/stop.h"
#include "refract/io/run_folder.h"

static char output[512], path[1024];

static const char *in_output(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", output, name);
    return path;
}

static int fresh(void **state)
{
    static int count;
    (void)state;
    unsetenv("SLURM_JOB_ID");
    unsetenv("SLURM_RESTART_COUNT");
    unsetenv("RF_FAULT");
    snprintf(output, sizeof output, "%s/runs/%d", rf_test_folder(), count++);
    return 0;
}

static rf_status open_folder(rf_run_folder **folder)
{
    rf_log log = rf_log_start(rf_test_rank());
    log.quiet = 1;
    return rf_run_folder_open(folder, MPI_COMM_WORLD, &log, output);
}

/* Root writes a lock as another job would have; all wait for it. */
static void write_lock(const char *format, long pid)
{
    char host[256] = "", text[512];
    gethostname(host, sizeof host - 1);
    /* cppcheck-suppress wrongPrintfScanfArgNum ; a damaged lock has neither host nor process */
    snprintf(text, sizeof text, format, host, pid);
    if (rf_test_rank() == 0) rf_test_write_file(in_output(".lock"), text, strlen(text));
    MPI_Barrier(MPI_COMM_WORLD);
}

static void make_and_leave(void)
{
    rf_run_folder *folder = NULL;
    assert_all(open_folder(&folder) == RF_OK);
    rf_run_folder_close(&folder);
    MPI_Barrier(MPI_COMM_WORLD);
}

static int has_message(const char *text)
{
    return strstr(rf_status_message(), text) != NULL;
}

static void open__makes_the_folders_and_close_gives_the_lock_back(void **state)
{
    (void)state;
    rf_run_folder *folder = NULL;
    assert_all(open_folder(&folder) == RF_OK);
    assert_all(access(in_output("checkpoints"), W_OK) == 0);
    assert_all(access(in_output(".lock"), R_OK) == 0);
    assert_all(strcmp(rf_run_folder_path(folder), output) == 0);
    assert_all((rf_run_folder_stop_file(folder) != NULL) == (rf_test_rank() == 0));
    assert_all(rf_run_folder_write(folder, "config.yaml", "a: 1\n", 5) == RF_OK);
    assert_all(access(in_output("config.yaml"), R_OK) == 0);
    rf_run_folder_close(&folder);
    MPI_Barrier(MPI_COMM_WORLD);
    assert_all(access(in_output(".lock"), F_OK) != 0);
    make_and_leave();
}

static void lock_of_a_living_process__is_a_conflict_on_all_ranks(void **state)
{
    (void)state;
    make_and_leave();
    write_lock("host=%s pid=%ld start=0 job=77 restart=0\n", (long)getppid());
    rf_run_folder *folder = NULL;
    assert_all(open_folder(&folder) == RF_CONFLICT);
    assert_all(folder == NULL && has_message("batch job 77") && has_message("in use by process"));
    assert_all(access(in_output(".lock"), R_OK) == 0);
}

static void lock_of_another_host__is_a_conflict(void **state)
{
    (void)state;
    make_and_leave();
    write_lock("host=not-%s pid=%ld start=5 job=- restart=0\n", 1);
    rf_run_folder *folder = NULL;
    assert_all(open_folder(&folder) == RF_CONFLICT);
    assert_all(has_message("batch job none") && has_message("on not-"));
}

static void lock_of_a_dead_process__is_taken_over(void **state)
{
    (void)state;
    make_and_leave();
    const pid_t child = fork();
    if (child == 0) _exit(0);
    siginfo_t how;
    waitid(P_PID, (id_t)child, &how, WEXITED | WNOWAIT);
    write_lock("host=%s pid=%ld start=0 job=- restart=0\n", (long)child); /* nobody waited for it */
    make_and_leave();
    waitpid(child, NULL, 0);
    write_lock("host=%s pid=%ld start=12 job=- restart=0\n", (long)child);
    make_and_leave();
    write_lock("host=%s pid=%ld start=1 job=- restart=0\n",
               (long)getppid()); /* the number came again */
    make_and_leave();
}

static void lock_of_an_earlier_start_of_this_job__is_taken_over(void **state)
{
    (void)state;
    make_and_leave();
    setenv("SLURM_JOB_ID", "77", 1);
    write_lock("host=not-%s pid=%ld start=5 job=77 restart=0\n", 1);
    rf_run_folder *folder = NULL;
    assert_all(open_folder(&folder) == RF_CONFLICT);
    setenv("SLURM_RESTART_COUNT", "1", 1);
    make_and_leave();
    write_lock("host=not-%s pid=%ld start=5 job=78 restart=0\n", 1);
    assert_all(open_folder(&folder) == RF_CONFLICT);
}

static void lock_that_names_nobody__is_a_conflict(void **state)
{
    (void)state;
    make_and_leave();
    rf_run_folder *folder = NULL;
    write_lock("", 0);
    assert_all(open_folder(&folder) == RF_CONFLICT);
    write_lock("damaged", 0);
    assert_all(open_folder(&folder) == RF_CONFLICT);
    assert_all(has_message("names no holder"));
}

/* Every rank tries to take the folder for itself; says how many did. */
static int race(void)
{
    rf_run_folder *folder = NULL;
    rf_log log = rf_log_start(rf_test_rank());
    log.quiet = 1;
    MPI_Barrier(MPI_COMM_WORLD);
    const rf_status status = rf_run_folder_open(&folder, MPI_COMM_SELF, &log, output);
    int mine = status == RF_OK, all = 0;
    assert_all(status == RF_OK || status == RF_CONFLICT);
    MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    rf_run_folder_close(&folder);
    MPI_Barrier(MPI_COMM_WORLD);
    return all;
}

static void runs_that_race_for_a_folder__leave_one_winner(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        assert_all(race() == 1);
        write_lock("host=%s pid=%ld start=1 job=- restart=0\n", (long)getppid());
        assert_all(race() == 1);
    }
}

static void folder_that_cannot_be__is_a_write_failure(void **state)
{
    (void)state;
    make_and_leave();
    if (rf_test_rank() == 0) rf_test_write_file(in_output("file"), "", 0);
    MPI_Barrier(MPI_COMM_WORLD);
    char kept[sizeof output];
    strcpy(kept, output);
    snprintf(output, sizeof output, "%.480s/file/below", kept);
    rf_run_folder *folder = NULL;
    assert_all(open_folder(&folder) == RF_WRITE && folder == NULL);
    setenv("RF_FAULT", "run_folder.lock:0", 1);
    strcpy(output, kept);
    assert_all(open_folder(&folder) == RF_WRITE);
    assert_all(has_message("/.lock") && access(in_output(".lock"), F_OK) != 0);
}

static void stop_file__is_removed_by_hand_and_kept_by_a_restart(void **state)
{
    (void)state;
    make_and_leave();
    rf_run_folder *folder = NULL;
    if (rf_test_rank() == 0) rf_test_write_file(in_output("STOP"), "", 0);
    setenv("SLURM_RESTART_COUNT", "1", 1);
    make_and_leave();
    assert_all(access(in_output("STOP"), F_OK) == 0);
    unsetenv("SLURM_RESTART_COUNT");
    assert_all(open_folder(&folder) == RF_OK);
    assert_all(access(in_output("STOP"), F_OK) != 0);

    const rf_stop_watch watch = {.stop_file = rf_run_folder_stop_file(folder)};
    assert_all(rf_stop_agreed(MPI_COMM_WORLD, &watch) == RF_STOP_NONE);
    if (rf_test_rank() == 0) rf_test_write_file(in_output("STOP"), "", 0);
    assert_all(rf_stop_agreed(MPI_COMM_WORLD, &watch) == RF_STOP_FILE);
    rf_run_folder_close(&folder);
}

static void signal_on_one_rank__stops_all(void **state)
{
    (void)state;
    const rf_stop_watch watch = {.start = rf_clock_seconds()};
    rf_stop_install();
    if (rf_test_rank() == rf_test_size() - 1) raise(SIGUSR1);
    assert_all(rf_stop_agreed(MPI_COMM_WORLD, &watch) == RF_STOP_SIGNAL);
    rf_stop_forget();
    assert_all(rf_stop_agreed(MPI_COMM_WORLD, &watch) == RF_STOP_NONE);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup(test, fresh)
static const struct CMUnitTest run_folder[] = {
    WITH_FOLDER(open__makes_the_folders_and_close_gives_the_lock_back),
    WITH_FOLDER(lock_of_a_living_process__is_a_conflict_on_all_ranks),
    WITH_FOLDER(lock_of_another_host__is_a_conflict),
    WITH_FOLDER(lock_of_a_dead_process__is_taken_over),
    WITH_FOLDER(lock_of_an_earlier_start_of_this_job__is_taken_over),
    WITH_FOLDER(lock_that_names_nobody__is_a_conflict),
    WITH_FOLDER(runs_that_race_for_a_folder__leave_one_winner),
    WITH_FOLDER(folder_that_cannot_be__is_a_write_failure),
    WITH_FOLDER(stop_file__is_removed_by_hand_and_kept_by_a_restart),
    cmocka_unit_test(signal_on_one_rank__stops_all),
};
RF_TEST_MAIN(run_folder)
