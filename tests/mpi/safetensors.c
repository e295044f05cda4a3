#include "rf_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "refract/base/file.h"
#include "refract/comm/agree.h"
#include "refract/io/safetensors.h"
#include "refract/linalg/convert.h"

enum { SLICES = 4, FIELDS = 6 };

static const char *in_folder(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", rf_test_folder(), name);
    return path;
}

/* A model of every split, with an empty first slice, a column, and rows too long for one piece. */
typedef struct model {
    rf_grid grid;
    rf_field field[FIELDS];
    float *global[FIELDS];
} model;

static rf_shape cut_shape(rf_split split, int64_t rows, int64_t cols, int64_t unit)
{
    const int64_t n = split == RF_ROWS ? rows : cols;
    return (rf_shape){rows, cols, split, {n / unit, unit, SLICES}};
}

static void make_model(model *m, int tp)
{
    const rf_shape shapes[FIELDS] = {
        rf_shape_replicated(37, 1),      cut_shape(RF_ROWS, 24, 10, 8),
        cut_shape(RF_COLS, 5, 24, 8),    cut_shape(RF_COLS, 3, 80000, 1000),
        cut_shape(RF_ROWS, 300, 999, 3), rf_shape_replicated(9, 1),
    };
    assert_all(rf_grid_create(&m->grid, MPI_COMM_WORLD, tp, SLICES) == RF_OK);
    for (int f = 0; f < FIELDS; f++) {
        const size_t items = (size_t)(shapes[f].rows * shapes[f].cols);
        m->field[f] = (rf_field){.shape = shapes[f], .dtype = RF_F32};
        snprintf(m->field[f].path, sizeof m->field[f].path, "model.%c.weight", "cabdfe"[f]);
        m->global[f] = malloc(items * sizeof(float));
        m->field[f].data = malloc(items * sizeof(double));
        for (size_t i = 0; i < items; i++) m->global[f][i] = (float)rf_test_value((uint64_t)f, i);
        rf_shape_scatter(m->field[f].data, m->global[f], &shapes[f], m->grid.slice_begin,
                         m->grid.slice_end, sizeof(float));
    }
}

static void free_model(model *m)
{
    for (int f = 0; f < FIELDS; f++) {
        free(m->global[f]);
        free(m->field[f].data);
    }
    rf_grid_destroy(&m->grid);
}

/* This rank's part of a field equals its part of the global array, converted by way of `stored`. */
static int holds_part(const model *m, int f, rf_dtype stored, rf_dtype dtype)
{
    const rf_field *field = &m->field[f];
    const int64_t items = field->shape.rows * field->shape.cols;
    const int64_t mine = rf_local_items(&field->shape, m->grid.slice_begin, m->grid.slice_end);
    const size_t item = rf_dtype_size(dtype);
    char *file = malloc((size_t)items * 8), *global = malloc((size_t)items * 8);
    char *local = malloc((size_t)items * 8);
    rf_convert(file, stored, m->global[f], RF_F32, items);
    rf_convert(global, dtype, file, stored, items);
    rf_shape_scatter(local, global, &field->shape, m->grid.slice_begin, m->grid.slice_end, item);
    const int same = memcmp(local, field->data, (size_t)mine * item) == 0;
    free(file);
    free(global);
    free(local);
    return same;
}

static void clear_fields(model *m, rf_dtype dtype)
{
    for (int f = 0; f < FIELDS; f++) {
        m->field[f].dtype = dtype;
        memset(m->field[f].data, 0xEE,
               (size_t)(m->field[f].shape.rows * m->field[f].shape.cols) * 4);
    }
}

static void read_back(model *m, const char *path, rf_dtype stored, rf_dtype dtype)
{
    rf_safetensors *st = NULL;
    clear_fields(m, dtype);
    assert_all(rf_safetensors_open_all(&st, MPI_COMM_WORLD, path) == RF_OK);
    assert_all(rf_safetensors_read(st, &m->grid, m->field, FIELDS, NULL, 0) == RF_OK);
    for (int f = 0; f < FIELDS; f++) assert_all(holds_part(m, f, stored, dtype));
    rf_safetensors_close(&st);
}

static void write_then_read__any_type_and_layout__is_the_scattered_whole(void **state)
{
    (void)state;
    static const rf_dtype types[] = {RF_F32, RF_BF16, RF_F16, RF_F64};
    for (int tp = 1; tp <= rf_test_size(); tp *= 2) {
        for (int t = 0; t < 4; t++) {
            if (tp < rf_test_size() && types[t] != RF_BF16) continue;
            model m;
            make_model(&m, tp);
            const rf_safetensors_options options = {.dtype = &types[t]};
            assert_all(rf_safetensors_write(&m.grid, rf_test_folder(), m.field, FIELDS, &options) ==
                       RF_OK);
            for (int d = 0; d < 4; d++)
                read_back(&m, in_folder("model.safetensors"), types[t], types[d]);
            free_model(&m);
        }
    }
}

static void write__in_shards__holds_what_one_file_holds(void **state)
{
    (void)state;
    model m;
    make_model(&m, rf_test_size());
    assert_all(rf_safetensors_write(&m.grid, rf_test_folder(), m.field, FIELDS, NULL) == RF_OK);
    const rf_safetensors_options options = {.max_shard_bytes = 1 << 20};
    assert_all(rf_safetensors_write(&m.grid, rf_test_folder(), m.field, FIELDS, &options) == RF_OK);
    assert_all(access(in_folder("model.safetensors"), F_OK) != 0);
    assert_all(access(in_folder("model-00002-of-00003.safetensors"), F_OK) == 0);
    read_back(&m, rf_test_folder(), RF_F32, RF_F32);
    MPI_Barrier(MPI_COMM_WORLD);
    clear_fields(&m, RF_F32);
    for (int f = 0; f < FIELDS; f++)
        rf_shape_scatter(m.field[f].data, m.global[f], &m.field[f].shape, m.grid.slice_begin,
                         m.grid.slice_end, sizeof(float));
    assert_all(rf_safetensors_write(&m.grid, rf_test_folder(), m.field, FIELDS, NULL) == RF_OK);
    assert_all(access(in_folder("model.safetensors.index.json"), F_OK) != 0);
    free_model(&m);
}

/* The bytes depend on the tensors alone: layout of the reference writer, the same for every rank
 * count. */
static void write__header__is_that_of_the_reference_writer(void **state)
{
    (void)state;
    rf_grid grid;
    float big[3] = {1, 2, 3}, column[2] = {4, 5};
    uint16_t half[2] = {0x3F80, 0x4000};
    const rf_field fields[] = {
        {.path = "a.half", .shape = rf_shape_replicated(2, 1), .dtype = RF_BF16, .data = half},
        {.path = "z", .shape = rf_shape_replicated(1, 3), .dtype = RF_F32, .data = big},
        {.path = "b.column", .shape = rf_shape_replicated(2, 1), .dtype = RF_F32, .data = column},
    };
    const uint8_t matrix[] = {0, 0, 1};
    const rf_safetensors_options options = {.matrix = matrix, .stem = "small"};
    assert_all(rf_grid_create(&grid, MPI_COMM_WORLD, 1, SLICES) == RF_OK);
    assert_all(rf_safetensors_write(&grid, rf_test_folder(), fields, 3, &options) == RF_OK);
    static const char wanted[] =
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"b.column\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
        "\"z\":{\"dtype\":\"F32\",\"shape\":[1,3],\"data_offsets\":[8,20]},"
        "\"a.half\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[20,24]}}";
    size_t length = 0;
    char *bytes = rf_test_read_file(in_folder("small.safetensors"), &length);
    const size_t header = (strlen(wanted) + 7) / 8 * 8;
    assert_all(length == 8 + header + 24 && (unsigned char)bytes[0] == (header & 0xFF));
    assert_all(memcmp(bytes + 8, wanted, strlen(wanted)) == 0);
    assert_all(memcmp(bytes + 8 + header, column, 8) == 0);
    assert_all(memcmp(bytes + 8 + header + 20, half, 4) == 0);
    free(bytes);
    rf_grid_destroy(&grid);
}

static void read__what_does_not_fit_the_model__is_named_on_all_ranks(void **state)
{
    (void)state;
    model m;
    make_model(&m, rf_test_size());
    assert_all(rf_safetensors_write(&m.grid, rf_test_folder(), m.field, FIELDS, NULL) == RF_OK);
    rf_safetensors *st = NULL;
    assert_all(rf_safetensors_open_all(&st, MPI_COMM_WORLD, rf_test_folder()) == RF_OK);

    assert_all(rf_safetensors_read(st, &m.grid, m.field, FIELDS - 2, NULL, 0) == RF_INPUT);
    assert_message_has("2 tensors that the model has not: model.e.weight, model.f.weight");
    const char *const ignored[] = {"model.e.weight", "model.f.weight"};
    assert_all(rf_safetensors_read(st, &m.grid, m.field, FIELDS - 2, ignored, 2) == RF_OK);

    m.field[2].shape.rows++;
    assert_all(rf_safetensors_read(st, &m.grid, m.field, FIELDS, NULL, 0) == RF_INPUT);
    assert_message_has("'model.b.weight' has the shape [5, 24], [6, 24] is wanted");
    m.field[2].shape.rows--;
    strcpy(m.field[1].path, "model.g.weight");
    assert_all(rf_safetensors_read(st, &m.grid, m.field, FIELDS, NULL, 0) == RF_INPUT);
    assert_message_has("'model.g.weight' is missing");
    rf_safetensors_close(&st);
    assert_all(rf_safetensors_open_all(&st, MPI_COMM_WORLD, in_folder("none")) == RF_INPUT);
    assert_all(st == NULL);
    free_model(&m);
}

static void read__rotary_frequencies_in_the_file__are_passed_over(void **state)
{
    (void)state;
    rf_grid grid;
    float data[2] = {1, 2};
    rf_field fields[] = {
        {.path = "w", .shape = rf_shape_replicated(2, 1), .dtype = RF_F32, .data = data},
        {.path = "model.layers.0.self_attn.rotary_emb.inv_freq",
         .shape = rf_shape_replicated(2, 1),
         .dtype = RF_F32,
         .data = data},
    };
    const rf_safetensors_options options = {.stem = "rotary"};
    rf_safetensors *st = NULL;
    assert_all(rf_grid_create(&grid, MPI_COMM_WORLD, 1, SLICES) == RF_OK);
    assert_all(rf_safetensors_write(&grid, rf_test_folder(), fields, 2, &options) == RF_OK);
    assert_all(rf_safetensors_open_all(&st, MPI_COMM_WORLD, in_folder("rotary.safetensors")) ==
               RF_OK);
    assert_all(rf_safetensors_read(st, &grid, fields, 1, NULL, 0) == RF_OK);
    rf_safetensors_close(&st);
    rf_grid_destroy(&grid);
}

#ifdef RF_FAULTS
static void write__failing__keeps_the_old_file_and_leaves_nothing(void **state)
{
    (void)state;
    static const char *const sites[] = {"safetensors.write:0", "safetensors.rename:0",
                                        "file.publish:0"};
    rf_grid grid;
    float data[2] = {1, 2};
    rf_field field = {
        .path = "w", .shape = rf_shape_replicated(2, 1), .dtype = RF_F32, .data = data};
    const rf_safetensors_options options = {.stem = "kept"};
    assert_all(rf_grid_create(&grid, MPI_COMM_WORLD, rf_test_size(), SLICES) == RF_OK);
    assert_all(rf_safetensors_write(&grid, rf_test_folder(), &field, 1, &options) == RF_OK);
    for (int i = 0; i < 3; i++) {
        data[1] = 3;
        setenv("RF_FAULT", sites[i], 1);
        const rf_status status = rf_safetensors_write(&grid, rf_test_folder(), &field, 1, &options);
        unsetenv("RF_FAULT");
        assert_all(status == RF_WRITE);
        assert_message_has("kept.safetensors");
        assert_all(access(in_folder("kept.safetensors.tmp"), F_OK) != 0);
        rf_safetensors *st = NULL;
        assert_all(rf_safetensors_open_all(&st, MPI_COMM_WORLD, in_folder("kept.safetensors")) ==
                   RF_OK);
        assert_all(rf_safetensors_load(st, "w", RF_F32, data, 2) == RF_OK);
        assert_all(data[1] == 2);
        rf_safetensors_close(&st);
    }
    assert_all(rf_safetensors_write(&grid, in_folder("no/folder"), &field, 1, NULL) == RF_WRITE);
    rf_grid_destroy(&grid);
}
#endif

/* Field of a tensor as it is in a file, replicated. */
static rf_field field_of(const rf_tensor_info *info, rf_dtype dtype)
{
    rf_field field = {.dtype = dtype};
    strcpy(field.path, info->name);
    field.shape =
        rf_shape_replicated(info->dims > 0 ? info->dim[0] : 1, info->dims > 1 ? info->dim[1] : 1);
    field.data = malloc((size_t)info->items * 8 + 8);
    return field;
}

static void reference_model__read_and_written__gives_its_own_bytes(void **state)
{
    (void)state;
    skip_without("reference/tiny/llama-gqa/model.safetensors");
    char path[4096];
    strcpy(path, rf_shared_path("reference/tiny/llama-gqa/model.safetensors"));
    rf_safetensors *st = NULL;
    rf_grid grid;
    assert_all(rf_grid_create(&grid, MPI_COMM_WORLD, rf_test_size(), SLICES) == RF_OK);
    assert_all(rf_safetensors_open_all(&st, MPI_COMM_WORLD, path) == RF_OK);
    const int64_t count = rf_safetensors_count(st);
    rf_field *fields = calloc((size_t)count, sizeof *fields);
    for (int64_t i = 0; i < count; i++) fields[i] = field_of(rf_safetensors_at(st, i), RF_F32);
    assert_all(rf_safetensors_read(st, &grid, fields, count, NULL, 0) == RF_OK);
    const rf_safetensors_options options = {.stem = "again"};
    assert_all(rf_safetensors_write(&grid, rf_test_folder(), fields, count, &options) == RF_OK);
    size_t length = 0, written = 0;
    char *bytes = rf_test_read_file(path, &length);
    char *ours = rf_test_read_file(in_folder("again.safetensors"), &written);
    assert_all(length == written && memcmp(bytes, ours, length) == 0);
    for (int64_t i = 0; i < count; i++) free(fields[i].data);
    free(fields);
    free(bytes);
    free(ours);
    rf_safetensors_close(&st);
    rf_grid_destroy(&grid);
}

/* The sharded folder holds the same weights rounded to bf16 or f16. */
static void reference_shards__of_mixed_types__are_the_rounded_single_file(void **state)
{
    (void)state;
    skip_without("reference/tiny/llama-gqa-sharded/config.json");
    char folder[4096];
    rf_safetensors *shards = NULL, *single = NULL;
    strcpy(folder, rf_shared_path("reference/tiny/llama-gqa-sharded"));
    assert_all(rf_safetensors_open_all(&shards, MPI_COMM_WORLD, folder) == RF_OK);
    strcpy(folder, rf_shared_path("reference/tiny/llama-gqa"));
    assert_all(rf_safetensors_open_all(&single, MPI_COMM_WORLD, folder) == RF_OK);
    const int64_t count = rf_safetensors_count(single);
    assert_all(rf_safetensors_count(shards) == count);
    int kinds = 0;
    for (int64_t i = 0; i < count; i++) {
        const rf_tensor_info *info = rf_safetensors_at(shards, i);
        rf_field rounded = field_of(info, RF_F32), whole = field_of(info, info->type);
        float *wide = malloc((size_t)info->items * sizeof *wide);
        assert_all(rf_safetensors_read_slices(shards, &rounded, 0, SLICES) == RF_OK);
        assert_all(rf_safetensors_read_slices(single, &whole, 0, SLICES) == RF_OK);
        rf_convert(wide, RF_F32, whole.data, info->type, info->items);
        assert_all(memcmp(wide, rounded.data, (size_t)info->items * sizeof *wide) == 0);
        kinds |= info->type == RF_F16 ? 1 : info->type == RF_BF16 ? 2 : 4;
        free(wide);
        free(rounded.data);
        free(whole.data);
    }
    assert_all(kinds == 3);
    rf_safetensors_close(&shards);
    rf_safetensors_close(&single);
}

static const struct CMUnitTest safetensors[] = {
    cmocka_unit_test(write_then_read__any_type_and_layout__is_the_scattered_whole),
    cmocka_unit_test(write__in_shards__holds_what_one_file_holds),
    cmocka_unit_test(write__header__is_that_of_the_reference_writer),
    cmocka_unit_test(read__what_does_not_fit_the_model__is_named_on_all_ranks),
    cmocka_unit_test(read__rotary_frequencies_in_the_file__are_passed_over),
#ifdef RF_FAULTS
    cmocka_unit_test(write__failing__keeps_the_old_file_and_leaves_nothing),
#endif
    cmocka_unit_test(reference_model__read_and_written__gives_its_own_bytes),
    cmocka_unit_test(reference_shards__of_mixed_types__are_the_rounded_single_file),
};
RF_TEST_MAIN(safetensors)
