/* A trained module merged into its weight, against PEFT's merge_and_unload. */
#include "rf_test.h"

#include <stdio.h>
#include <string.h>

#include "refract/adapter/adapter.h"
#include "refract/io/safetensors.h"

enum { ROWS = 32, COLS = 64, R = 8, ITEMS = ROWS * COLS };
static const char module[] = "model.layers.3.self_attn.v_proj";

static void load(const rf_safetensors *file, const char *prefix, const char *suffix, rf_real *data,
                 int64_t items)
{
    char key[256];
    snprintf(key, sizeof key, "%s%s.%s", prefix, module, suffix);
    assert_ok(rf_safetensors_load(file, key, RF_DTYPE_REAL, data, items));
}

static void check(const rf_adapter_kind *kind, const char *folder, const char *array)
{
    static rf_real w[ITEMS], merged[ITEMS], a[R * COLS], b[ROWS * R], magnitude[ROWS];
    static double wanted[ITEMS];
    static _Alignas(RF_ARENA_ALIGN) char memory[1 << 20];
    rf_arena arena = {.name = "test", .base = memory, .size = sizeof memory};
    rf_safetensors *model = NULL, *adapter_file = NULL, *reference = NULL;
    assert_ok(rf_safetensors_open(&model, rf_shared_path("models/stories260K")));
    assert_ok(rf_safetensors_open(&adapter_file, rf_shared_path(folder)));
    assert_ok(
        rf_safetensors_open(&reference, rf_shared_path("reference/merge/merged.safetensors")));
    load(model, "", "weight", w, ITEMS);
    load(adapter_file, "base_model.model.", "lora_A.weight", a, R * COLS);
    load(adapter_file, "base_model.model.", "lora_B.weight", b, ROWS * R);
    if (kind->is_dora)
        load(adapter_file, "base_model.model.", "lora_magnitude_vector", magnitude, ROWS);
    assert_ok(rf_safetensors_load(reference, array, RF_F64, wanted, ITEMS));

    const rf_adapter_options options = {.r = R, .alpha = 2 * R};
    rf_lowrank lowrank = {0};
    rf_adapter adapter = {.kind = kind,
                          .options = &options,
                          .shape = {ROWS, COLS, RF_ROWS, {.units = ROWS, .unit = 1, .slices = 1}},
                          .dtype = RF_DTYPE_REAL,
                          .w = w,
                          .slice_end = 1,
                          .value = {a, b, magnitude},
                          .lowrank = &lowrank};
    if (kind->layout) kind->layout(&adapter, &arena);
    kind->bind(&adapter);
    rf_real *scratch = RF_TAKE(&arena, rf_real, kind->scratch ? kind->scratch(&adapter) : 1);
    if (kind->prepare) {
        kind->prepare(&adapter, RF_ADAPTER_BASE, NULL, scratch);
        kind->prepare(&adapter, RF_ADAPTER_STEP, NULL, scratch);
    }
    memcpy(merged, w, sizeof merged);
    rf_adapter_merge(&adapter, 0, merged);
    for (int i = 0; i < ITEMS; i++) assert_near(merged[i], wanted[i], 0, 2e-7);
    rf_safetensors_close(&model);
    rf_safetensors_close(&adapter_file);
    rf_safetensors_close(&reference);
}

static void trained_modules__merged__equal_peft(void **state)
{
    (void)state;
    skip_without("reference/merge");
    skip_without("models/stories260K");
    check(&rf_adapter_lora, "reference/train/lora/final_f64/adapter_model.safetensors", "lora_f64");
    check(&rf_adapter_dora, "reference/train/dora/final_f64/adapter_model.safetensors", "dora_f64");
}

static const struct CMUnitTest merge_reference[] = {
    cmocka_unit_test(trained_modules__merged__equal_peft),
};
RF_TEST_MAIN(merge_reference)
