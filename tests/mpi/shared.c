/* Memory that a node holds once. */
#include "rf_test.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "refract/comm/shared.h"

enum { SIZE = 100003 };

static void shared__filled_by_one__is_seen_by_all_and_aligned(void **state)
{
    (void)state;
    rf_shared shared;
    int writers = 0, ranks = 0, mine = 0;
    assert_ok(rf_shared_create(&shared, MPI_COMM_WORLD, SIZE));
    MPI_Comm_size(shared.node, &ranks);
    MPI_Allreduce(&shared.is_writer, &writers, 1, MPI_INT, MPI_SUM, shared.node);
    assert_all(writers == 1 && shared.size == SIZE);
    assert_all((uintptr_t)shared.base % RF_SHARED_ALIGN == 0);
    unsigned char *bytes = shared.base;
    for (int i = 0; i < SIZE; i++) mine += bytes[i];
    assert_all(mine == 0);
    MPI_Barrier(shared.node);
    for (int i = 0; shared.is_writer && i < SIZE; i++) bytes[i] = (unsigned char)(i % 251);
    rf_shared_publish(&shared);
    int wrong = 0;
    for (int i = 0; i < SIZE; i++) wrong += bytes[i] != (unsigned char)(i % 251);
    assert_all(wrong == 0);
    rf_shared_destroy(&shared);
    rf_shared_destroy(&shared);
}

static void shared__of_no_bytes__is_made_too(void **state)
{
    (void)state;
    rf_shared shared;
    assert_ok(rf_shared_create(&shared, MPI_COMM_WORLD, 0));
    rf_shared_destroy(&shared);
}

#ifdef RF_FAULTS
static void shared__without_memory_on_one_rank__fails_on_all(void **state)
{
    (void)state;
    rf_shared shared;
    char fault[32];
    snprintf(fault, sizeof fault, "shared.create:%d", rf_test_size() - 1);
    setenv("RF_FAULT", fault, 1);
    const rf_status status = rf_shared_create(&shared, MPI_COMM_WORLD, SIZE);
    unsetenv("RF_FAULT");
    assert_all(status == RF_RESOURCES);
    assert_message_has("shared memory");
    rf_shared_destroy(&shared);
}
#endif

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(shared__filled_by_one__is_seen_by_all_and_aligned),
    cmocka_unit_test(shared__of_no_bytes__is_made_too),
#ifdef RF_FAULTS
    cmocka_unit_test(shared__without_memory_on_one_rank__fails_on_all),
#endif
};
RF_TEST_MAIN(tests)
