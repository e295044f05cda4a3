#include "rf_test.h"

#include "refract/base/arena.h"

static void lay_out(rf_arena *arena, rf_real **x, char **y)
{
    *x = RF_TAKE(arena, rf_real, 100);
    *y = RF_TAKE(arena, char, 3);
}

static void counting__then_creating__fits_exactly(void **state)
{
    (void)state;
    rf_real *x = NULL;
    char *y = NULL;
    rf_arena plan = rf_arena_counting("test"), arena;
    lay_out(&plan, &x, &y);
    assert_null(x);
    assert_ok(rf_arena_create(&arena, "test", plan.peak));
    lay_out(&arena, &x, &y);
    assert_non_null(x);
    assert_int_equal((uintptr_t)y % RF_ARENA_ALIGN, 0);
    assert_int_equal(arena.used, arena.size);
    assert_int_equal(y[2], 0);
    rf_arena_destroy(&arena);
}

static void release__to_mark__keeps_the_peak(void **state)
{
    (void)state;
    rf_arena arena;
    assert_ok(rf_arena_create(&arena, "test", 4096));
    const size_t mark = rf_arena_mark(&arena);
    rf_arena_take(&arena, 1000, 1);
    rf_arena_release(&arena, mark);
    assert_int_equal(arena.used, 0);
    assert_int_equal(arena.peak, 1024);
    rf_arena_destroy(&arena);
}

static void create__more_than_the_machine_has__is_a_resource_failure(void **state)
{
    (void)state;
    rf_arena arena;
    assert_status(rf_arena_create(&arena, "huge", (size_t)1 << 60), RF_RESOURCES);
    assert_message_has("huge arena");
}

static const struct CMUnitTest arena[] = {
    cmocka_unit_test(counting__then_creating__fits_exactly),
    cmocka_unit_test(release__to_mark__keeps_the_peak),
    cmocka_unit_test(create__more_than_the_machine_has__is_a_resource_failure),
};
RF_TEST_MAIN(arena)
