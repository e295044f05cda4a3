#include "rf_test.h"

#include <stdio.h>
#include <string.h>

#include "refract/comm/agree.h"

static rf_status fail_on(int failing)
{
    return rf_test_rank() == failing ? rf_fail(RF_WRITE, "rank %d is out of disk", failing) : RF_OK;
}

static rf_status collective_step(int failing)
{
    RF_TRY_ALL(MPI_COMM_WORLD, fail_on(failing));
    return RF_OK;
}

static void agree__nobody_failed__is_ok(void **state)
{
    (void)state;
    assert_all(collective_step(-1) == RF_OK);
}

static void agree__any_rank_failed__all_carry_its_message(void **state)
{
    (void)state;
    for (int failing = 0; failing < rf_test_size(); failing++) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "rank %d is out of disk", failing);
        assert_all(collective_step(failing) == RF_WRITE);
        assert_all(strcmp(rf_status_message(), wanted) == 0);
    }
}

static void same_everywhere__one_rank_differs__is_seen(void **state)
{
    (void)state;
    int value = 5;
    assert_all(rf_same_everywhere(MPI_COMM_WORLD, &value, sizeof value));
    value += rf_test_rank() == rf_test_size() - 1;
    assert_all(rf_same_everywhere(MPI_COMM_WORLD, &value, sizeof value) == (rf_test_size() == 1));
}

static const struct CMUnitTest agree[] = {
    cmocka_unit_test(agree__nobody_failed__is_ok),
    cmocka_unit_test(agree__any_rank_failed__all_carry_its_message),
    cmocka_unit_test(same_everywhere__one_rank_differs__is_seen),
};
RF_TEST_MAIN(agree)
