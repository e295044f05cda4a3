#include "rf_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "refract/io/peft.h"

enum { SLICES = 4, MODULES = 5, ADAPTED = 3, FIELDS = 8 };

static const char *in_folder(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", rf_test_folder(), name);
    return path;
}

/* Column-parallel q_proj in both layers (the second with r = 1), row-parallel down_proj in one. */
static const rf_peft_module all_modules[MODULES] = {
    {"model.layers.0.self_attn.q_proj", 4, 8},
    {"model.layers.1.self_attn.q_proj", 1, 2.5},
    {"model.layers.0.mlp.down_proj", 4, 8},
    {"model.layers.1.mlp.down_proj", 0, 0},
    {"lm_head", 0, 0},
};
static const char *const paths[MODULES] = {
    "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj",
    "model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj", "lm_head"};

typedef struct adapter {
    rf_grid grid;
    rf_field field[FIELDS];
    float *global[FIELDS];
} adapter;

static void add_field(adapter *a, int at, int module, const char *suffix, rf_shape shape)
{
    const size_t items = (size_t)(shape.rows * shape.cols);
    rf_field *field = &a->field[at];
    *field = (rf_field){.shape = shape, .dtype = RF_F32, .data = malloc(items * sizeof(float))};
    snprintf(field->path, sizeof field->path, "%s%s", all_modules[module].path, suffix);
    a->global[at] = malloc(items * sizeof(float));
    for (size_t i = 0; i < items; i++) a->global[at][i] = (float)rf_test_value((uint64_t)at, i);
    rf_shape_scatter(field->data, a->global[at], &shape, a->grid.slice_begin, a->grid.slice_end,
                     sizeof(float));
}

static rf_shape split_shape(rf_split split, int64_t rows, int64_t cols)
{
    return (rf_shape){rows, cols, split, {3, (split == RF_ROWS ? rows : cols) / 3, SLICES}};
}

static void make_adapter(adapter *a)
{
    assert_all(rf_grid_create(&a->grid, MPI_COMM_WORLD, rf_test_size(), SLICES) == RF_OK);
    add_field(a, 0, 0, ".lora_A.weight", rf_shape_replicated(4, 10));
    add_field(a, 1, 0, ".lora_B.weight", split_shape(RF_ROWS, 12, 4));
    add_field(a, 2, 0, ".lora_magnitude_vector", split_shape(RF_ROWS, 12, 1));
    add_field(a, 3, 1, ".lora_A.weight", rf_shape_replicated(1, 10));
    add_field(a, 4, 1, ".lora_B.weight", split_shape(RF_ROWS, 12, 1));
    add_field(a, 5, 2, ".lora_A.weight", split_shape(RF_COLS, 4, 30));
    add_field(a, 6, 2, ".lora_B.weight", rf_shape_replicated(10, 4));
    add_field(a, 7, 4, ".weight", split_shape(RF_ROWS, 21, 10));
}

static void free_adapter(adapter *a)
{
    for (int f = 0; f < FIELDS; f++) {
        free(a->field[f].data);
        free(a->global[f]);
    }
    rf_grid_destroy(&a->grid);
}

static rf_peft_options options_of(void)
{
    static const char *const saved[] = {"lm_head"};
    return (rf_peft_options){.modules = all_modules,
                             .module_count = MODULES,
                             .r = 4,
                             .alpha = 8,
                             .dropout = 0.05,
                             .use_dora = 1,
                             .modules_to_save = {saved, 1},
                             .base_model = "base/model"};
}

static int holds_part(const adapter *a, int f)
{
    const rf_shape *shape = &a->field[f].shape;
    float *local = malloc((size_t)(shape->rows * shape->cols) * sizeof *local);
    const int64_t n = rf_local_items(shape, a->grid.slice_begin, a->grid.slice_end);
    rf_shape_scatter(local, a->global[f], shape, a->grid.slice_begin, a->grid.slice_end,
                     sizeof *local);
    const int same = memcmp(local, a->field[f].data, (size_t)n * sizeof *local) == 0;
    free(local);
    return same;
}

static void write_then_read__gives_rules_and_tensors_back(void **state)
{
    (void)state;
    adapter a;
    make_adapter(&a);
    const rf_peft_options options = options_of();
    assert_all(rf_peft_write(&a.grid, in_folder("run/adapter"), a.field, FIELDS, &options) ==
               RF_OK);
    rf_peft *peft = NULL;
    assert_all(rf_peft_open(&peft, MPI_COMM_WORLD, in_folder("run/adapter"), NULL) == RF_OK);
    assert_all(peft->r == 4 && peft->use_dora && !peft->use_rslora);
    assert_all(strcmp(peft->base_model, "base/model") == 0);
    rf_target targets[MODULES];
    assert_all(rf_peft_match(peft, paths, MODULES, targets, NULL) == RF_OK);
    for (int m = 0; m < MODULES; m++) {
        assert_all(targets[m].r == all_modules[m].r);
        assert_all(targets[m].alpha == all_modules[m].alpha);
    }
    for (int f = 0; f < FIELDS; f++) {
        memset(a.field[f].data, 0xEE, (size_t)(a.field[f].shape.rows * a.field[f].shape.cols) * 4);
    }
    assert_all(rf_peft_read(peft, &a.grid, a.field, FIELDS) == RF_OK);
    for (int f = 0; f < FIELDS; f++) assert_all(holds_part(&a, f));

    assert_all(rf_peft_read(peft, &a.grid, a.field, FIELDS - 1) == RF_INPUT);
    assert_message_has("1 tensor that the model has not: base_model.model.lm_head.weight");
    strcpy(a.field[0].path, "model.layers.0.self_attn.k_proj.lora_A.weight");
    assert_all(rf_peft_read(peft, &a.grid, a.field, FIELDS) == RF_INPUT);
    assert_message_has(
        "'base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight' is missing");
    rf_peft_close(&peft);
    free_adapter(&a);
}

/* Names on disk, dimensions and configuration as PEFT wants them. */
static void write__files__are_as_peft_writes_them(void **state)
{
    (void)state;
    adapter a;
    make_adapter(&a);
    const rf_peft_options options = options_of();
    assert_all(rf_peft_write(&a.grid, in_folder("seen"), a.field, FIELDS, &options) == RF_OK);
    rf_safetensors *st = NULL;
    assert_all(rf_safetensors_open_all(&st, MPI_COMM_WORLD,
                                       in_folder("seen/adapter_model.safetensors")) == RF_OK);
    const rf_tensor_info *b =
        rf_safetensors_find(st, "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight");
    assert_all(b && b->dims == 2 && b->dim[0] == 12 && b->dim[1] == 1);
    const rf_tensor_info *m = rf_safetensors_find(
        st, "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector");
    assert_all(m && m->dims == 1 && m->dim[0] == 12);
    rf_safetensors_close(&st);
    static const char wanted[] =
        "{\n  \"alpha_pattern\": {\n    \"model.layers.1.self_attn.q_proj\": 2.5\n  },\n"
        "  \"base_model_name_or_path\": \"base/model\",\n  \"bias\": \"none\",\n"
        "  \"fan_in_fan_out\": false,\n  \"inference_mode\": true,\n"
        "  \"init_lora_weights\": true,\n  \"lora_alpha\": 8,\n  \"lora_dropout\": 0.05,\n"
        "  \"modules_to_save\": [\n    \"lm_head\"\n  ],\n  \"peft_type\": \"LORA\",\n"
        "  \"peft_version\": \"0.13.0\",\n  \"r\": 4,\n  \"rank_pattern\": {\n"
        "    \"model.layers.1.self_attn.q_proj\": 1\n  },\n  \"target_modules\": [\n"
        "    \"q_proj\",\n    \"model.layers.0.mlp.down_proj\"\n  ],\n"
        "  \"task_type\": \"CAUSAL_LM\",\n  \"use_dora\": true,\n  \"use_rslora\": false\n}\n";
    size_t length = 0;
    char *text = rf_test_read_file(in_folder("seen/adapter_config.json"), &length);
    assert_all(strcmp(text, wanted) == 0);
    assert_all(access(in_folder("seen/README.md"), R_OK) == 0);
    assert_all(access(in_folder("seen/adapter_config.json.new"), F_OK) != 0);
    free(text);
    free_adapter(&a);
}

#ifdef RF_FAULTS
static void write__failing__keeps_the_adapter_that_was_there(void **state)
{
    (void)state;
    static const char *const sites[] = {"safetensors.write:0", "file.write:0"};
    adapter a;
    make_adapter(&a);
    rf_peft_options options = options_of();
    assert_all(rf_peft_write(&a.grid, in_folder("kept"), a.field, FIELDS, &options) == RF_OK);
    size_t length = 0, now = 0;
    char *before = rf_test_read_file(in_folder("kept/adapter_config.json"), &length);
    options.alpha = 3;
    for (int i = 0; i < 2; i++) {
        setenv("RF_FAULT", sites[i], 1);
        const rf_status status =
            rf_peft_write(&a.grid, in_folder("kept"), a.field, FIELDS, &options);
        unsetenv("RF_FAULT");
        assert_all(status == RF_WRITE);
        char *after = rf_test_read_file(in_folder("kept/adapter_config.json"), &now);
        assert_all(now == length && memcmp(before, after, length) == 0);
        assert_all(access(in_folder("kept/adapter_config.json.new"), F_OK) != 0);
        free(after);
        rf_peft *peft = NULL;
        assert_all(rf_peft_open(&peft, MPI_COMM_WORLD, in_folder("kept"), NULL) == RF_OK);
        rf_peft_close(&peft);
    }
    free(before);
    free_adapter(&a);
}
#endif

/* Older versions of PEFT named the magnitudes with a suffix. */
static void read__magnitude_with_suffix__is_found(void **state)
{
    (void)state;
    adapter a;
    make_adapter(&a);
    const rf_peft_options options = options_of();
    strcat(a.field[2].path, ".weight");
    assert_all(rf_peft_write(&a.grid, in_folder("older"), a.field, FIELDS, &options) == RF_OK);
    a.field[2].path[strlen(a.field[2].path) - strlen(".weight")] = '\0';
    rf_peft *peft = NULL;
    assert_all(rf_peft_open(&peft, MPI_COMM_WORLD, in_folder("older"), NULL) == RF_OK);
    assert_all(rf_peft_read(peft, &a.grid, a.field, FIELDS) == RF_OK);
    assert_all(holds_part(&a, 2));
    rf_peft_close(&peft);
    free_adapter(&a);
}

/* Reads a folder of the reference with fields made from its own table, and counts what it adapts.
 */
static void check_reference(const char *relative, int64_t r, int dora, int64_t adapted)
{
    char folder[4096];
    strcpy(folder, rf_shared_path(relative));
    rf_peft *peft = NULL;
    rf_grid grid;
    assert_all(rf_grid_create(&grid, MPI_COMM_WORLD, rf_test_size(), SLICES) == RF_OK);
    assert_all(rf_peft_open(&peft, MPI_COMM_WORLD, folder, NULL) == RF_OK);
    assert_all(peft->r == r && peft->use_dora == dora);
    const int64_t count = rf_safetensors_count(peft->tensors);
    rf_field *fields = calloc((size_t)count, sizeof *fields);
    int64_t targeted = 0;
    for (int64_t i = 0; i < count; i++) {
        const rf_tensor_info *info = rf_safetensors_at(peft->tensors, i);
        rf_target target = {0};
        snprintf(fields[i].path, sizeof fields[i].path, "%s", info->name + 17);
        fields[i].shape = rf_shape_replicated(info->dim[0], info->dims > 1 ? info->dim[1] : 1);
        fields[i].data = malloc((size_t)info->bytes);
        char module[256];
        strcpy(module, fields[i].path);
        char *suffix = strstr(module, ".lora_");
        assert_all(suffix != NULL);
        *suffix = '\0';
        assert_all(rf_targets_match(peft->targets, module, &target) == RF_OK);
        targeted += target.targeted && strcmp(suffix + 1, "lora_A.weight") == 0;
        assert_all(target.r == r);
    }
    assert_all(targeted == adapted);
    assert_all(rf_peft_read(peft, &grid, fields, count) == RF_OK);
    for (int64_t i = 0; i < count; i++) free(fields[i].data);
    free(fields);
    rf_peft_close(&peft);
    rf_grid_destroy(&grid);
}

static void reference_folders__are_read(void **state)
{
    (void)state;
    skip_without("reference/train/dora/init/adapter_config.json");
    skip_without("reference/tiny/llama-gqa/adapter/adapter_config.json");
    check_reference("reference/train/lora/init", 8, 0, 35);
    check_reference("reference/train/rslora/final_f64", 8, 0, 35);
    check_reference("reference/train/dora/init", 8, 1, 35);
    check_reference("reference/tiny/llama-gqa/adapter", 4, 0, 14);
    check_reference("reference/tiny/mistral-window/adapter", 4, 0, 14);
}

static const struct CMUnitTest peft[] = {
    cmocka_unit_test(write_then_read__gives_rules_and_tensors_back),
    cmocka_unit_test(write__files__are_as_peft_writes_them),
#ifdef RF_FAULTS
    cmocka_unit_test(write__failing__keeps_the_adapter_that_was_there),
#endif
    cmocka_unit_test(read__magnitude_with_suffix__is_found),
    cmocka_unit_test(reference_folders__are_read),
};
RF_TEST_MAIN(peft)
