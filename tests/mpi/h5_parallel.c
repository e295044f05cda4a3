#include "rf_test.h"

#include <stdio.h>

#include "refract/store/h5.h"

static const char *path_of(const char *name)
{
    static char path[4200];
    snprintf(path, sizeof path, "%s/%s", rf_test_folder(), name);
    return path;
}

static void parallel__each_rank_writes_its_rows__one_array(void **state)
{
    (void)state;
    rf_h5 *file = NULL;
    const int rank = rf_test_rank(), size = rf_test_size();
    const rf_h5_layout layout = rf_h5_matrix(RF_I64, size, 3);
    const int64_t mine[3] = {rank, rank + 10, rank + 20};
    const int64_t begin[2] = {rank, 0}, count[2] = {1, 3}, nothing[2] = {0, 3};
    assert_all(rf_h5_open(&file, path_of("p.h5"), RF_H5_CREATE, MPI_COMM_WORLD) == RF_OK);
    assert_all(rf_h5_create_set(file, "/g/rows", &layout) == RF_OK);
    assert_all(rf_h5_create_set(file, "/g/first", &layout) == RF_OK);
    assert_all(rf_h5_put_text(file, "/", "schema", "test") == RF_OK);
    assert_all(rf_h5_put_int(file, "/g/rows", "n", size) == RF_OK);
    assert_all(rf_h5_write(file, "/g/rows", RF_I64, begin, count, mine) == RF_OK);
    assert_all(rf_h5_write(file, "/g/first", RF_I64, begin, rank == 0 ? count : nothing, mine) ==
               RF_OK);
    assert_all(rf_h5_flush(file) == RF_OK);
    assert_all(rf_h5_close(&file) == RF_OK);

    assert_all(rf_h5_open(&file, path_of("p.h5"), RF_H5_READ, MPI_COMM_NULL) == RF_OK);
    for (int r = 0; r < size; r++) {
        int64_t row[3] = {0};
        const int64_t from[2] = {r, 0};
        assert_all(rf_h5_read(file, "/g/rows", RF_I64, from, count, row) == RF_OK);
        assert_all(row[0] == r && row[2] == r + 20);
    }
    assert_all(rf_h5_close(&file) == RF_OK);
}

static void parallel__failure_of_one_rank__is_everyones(void **state)
{
    (void)state;
    rf_h5 *file = NULL;
    const int last = rf_test_rank() == rf_test_size() - 1;
    const rf_h5_layout layout = rf_h5_vector(RF_I64, 4);
    const int64_t values[4] = {1, 2, 3, 4}, begin = last ? 3 : 0, count = 2;
    assert_all(rf_h5_open(&file, "/no/such/folder/x.h5", RF_H5_CREATE, MPI_COMM_WORLD) == RF_WRITE);
    assert_all(rf_h5_open(&file, path_of("absent.h5"), RF_H5_READ, MPI_COMM_WORLD) == RF_INPUT);
    assert_all(rf_h5_open(&file, path_of("q.h5"), RF_H5_CREATE, MPI_COMM_WORLD) == RF_OK);
    assert_all(rf_h5_create_set(file, "/x", &layout) == RF_OK);
    assert_all(rf_h5_write(file, "/x", RF_I64, &begin, &count, values) == RF_WRITE);
    assert_message_has("wanted [3, 5)");
    assert_all(rf_h5_close(&file) == RF_OK);
}

static const struct CMUnitTest h5_parallel[] = {
    cmocka_unit_test(parallel__each_rank_writes_its_rows__one_array),
    cmocka_unit_test(parallel__failure_of_one_rank__is_everyones),
};
RF_TEST_MAIN(h5_parallel)
