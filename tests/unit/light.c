/* Light-PEFT's selections and scores against the released code's, and the counting rule. */
#include "rf_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "method_bench.h"
#include "refract/method/light.h"

static const struct {
    const char *name;
    double share;
} shares[] = {{"r0p333333333", 0.333333333},
              {"r1_3", 1.0 / 3},
              {"r0p5", 0.5},
              {"r0p25", 0.25},
              {"r0p75", 0.75}};
enum { SHARES = sizeof shares / sizeof shares[0] };

static int64_t rows_of(const reference *data, const char *key, int64_t *cols)
{
    const rf_tensor_info *info = rf_safetensors_find(data->values, key);
    assert_non_null(info);
    *cols = info->dims > 1 ? info->dim[1] : 1;
    return info->dim[0];
}

static void expect_flags(const reference *data, const char *key, const uint8_t *kept, int64_t n)
{
    uint8_t *wanted = malloc((size_t)n);
    assert_ok(rf_safetensors_load(data->values, key, RF_U8, wanted, n));
    if (memcmp(wanted, kept, (size_t)n) != 0) print_message("other selection: %s\n", key);
    assert_memory_equal(wanted, kept, (size_t)n);
    free(wanted);
}

/* Every selection of one set of masks; counts them. */
static int check_masks(const reference *data, const char *kind, const char *set)
{
    char key[160];
    int64_t cols = 0;
    int checked = 0;
    snprintf(key, sizeof key, "%s.%s.mask", kind, set);
    const int64_t rows = rows_of(data, key, &cols);
    double *mask = reference_load(data, NULL, "%s", key);
    uint8_t *kept = malloc((size_t)(rows * cols));
    int64_t *order = malloc((size_t)(2 * rows * cols) * sizeof *order);
    for (int i = 0; i < 2 * SHARES; i++) {
        const int is_global = i >= SHARES;
        const double share = shares[i % SHARES].share;
        snprintf(key, sizeof key, "%s.%s.%s.%s.ours", kind, set, is_global ? "global" : "layerwise",
                 shares[i % SHARES].name);
        if (!rf_safetensors_find(data->values, key)) continue;
        if (is_global)
            rf_light_select(kept, mask, rows * cols, share, order, NULL);
        else
            for (int64_t row = 0; row < rows; row++)
                rf_light_select(kept + row * cols, mask + row * cols, cols, share, order, NULL);
        expect_flags(data, key, kept, rows * cols);
        checked++;
    }
    free(order);
    free(kept);
    free(mask);
    return checked;
}

static void masks__of_every_stored_set__select_as_the_rule_says(void **state)
{
    (void)state;
    static const char *const heads[] = {"l24h16", "l2h4_all_one", "l4h8_neg", "l5h16_ties",
                                        "l6h12"};
    static const char *const ffn[] = {"l1f16",      "l2f16_all_one", "l3f100",
                                      "l4f32_ties", "l4f48_neg",     "l6f64"};
    skip_without("reference/methods/lightpeft_masks.safetensors");
    reference data = reference_open("lightpeft_masks");
    int checked = 0;
    for (int i = 0; i < 5; i++) checked += check_masks(&data, "heads", heads[i]);
    for (int i = 0; i < 6; i++) checked += check_masks(&data, "ffn", ffn[i]);
    assert_int_equal(checked, 5 * 4 + 6 * 6);
    reference_close(&data);
}

static void modules__of_every_stored_set__select_as_the_rule_says(void **state)
{
    (void)state;
    static const char *const sets[] = {"m12r8_ties", "m18r8_spread", "m24r4", "m36r8"};
    skip_without("reference/methods/lightpeft_pruning.safetensors");
    reference data = reference_open("lightpeft_pruning");
    for (int i = 0; i < 4; i++) {
        char key[160];
        int64_t n = 0;
        double *ratio = reference_load(&data, &n, "module.%s.ratio", sets[i]);
        uint8_t *kept = malloc((size_t)n);
        int64_t *order = malloc((size_t)(2 * n) * sizeof *order);
        for (int k = 0; k < 2; k++) {
            snprintf(key, sizeof key, "module.%s.global.%s.ours", sets[i], k ? "r0p75" : "r0p5");
            rf_light_select(kept, ratio, n, k ? 0.75 : 0.5, order, NULL);
            expect_flags(&data, key, kept, n);
        }
        free(order);
        free(kept);
        free(ratio);
    }
    reference_close(&data);
}

/* One set: ranks at one half, among the modules that the file keeps. */
static int check_ranks(const reference *data, const char *prefix, const char *set, int by_module)
{
    char key[160], kept_key[160];
    int64_t r = 0, items = 0, kept = 0;
    const char *scope = by_module ? "layerwise" : "global";
    snprintf(key, sizeof key, "%s.%s.%s.r0p5.ours", prefix, set, scope);
    snprintf(kept_key, sizeof kept_key, "%s.%s.%s.r0p5.modules_kept", prefix, set, scope);
    if (!rf_safetensors_find(data->values, key)) return 0;
    const int64_t modules = rows_of(data, key, &r), ranks = modules * r;
    double *score = reference_load(data, &items, "rank.%s.score", set);
    assert_int_equal(items, ranks);
    uint8_t *module_kept = malloc((size_t)modules), *rank_kept = malloc((size_t)ranks);
    int64_t *order = malloc((size_t)(4 * (ranks + modules)) * sizeof *order);
    int64_t *r_of = malloc((size_t)modules * sizeof *r_of);
    double *ratio = malloc((size_t)modules * sizeof *ratio), thresholds[2];
    assert_ok(rf_safetensors_load(data->values, kept_key, RF_U8, module_kept, modules));
    for (int64_t m = 0; m < modules; m++) {
        r_of[m] = r;
        ratio[m] = module_kept[m];
        kept += module_kept[m];
    }
    const rf_light_options options = {
        .modules =
            kept == modules ? 0 : ((double)(modules - 1 - kept) + 0.5) / (double)(modules - 1),
        .ranks = 0.5,
        .ranks_by_module = by_module};
    rf_light_select_ranks(module_kept, rank_kept, ratio, score, r_of, modules, &options, order,
                          thresholds);
    expect_flags(data, key, rank_kept, ranks);
    for (int64_t m = 0; m < modules; m++)
        assert_int_equal(module_kept[m], memchr(rank_kept + m * r, 1, (size_t)r) != NULL);
    free(r_of);
    free(order);
    free(module_kept);
    free(rank_kept);
    free(score);
    free(ratio);
    return 1;
}

static void ranks__of_every_stored_set__select_among_kept_modules(void **state)
{
    (void)state;
    static const char *const sets[] = {"m12r8_ties", "m18r8_spread", "m24r4", "m36r8"};
    skip_without("reference/methods/lightpeft_pruning.safetensors");
    reference data = reference_open("lightpeft_pruning");
    int checked = 0;
    for (int i = 0; i < 4; i++)
        for (int by_module = 0; by_module < 2; by_module++)
            checked += check_ranks(&data, "rank", sets[i], by_module) +
                       check_ranks(&data, "rank_all", sets[i], by_module);
    assert_int_equal(checked, 14);
    reference_close(&data);
}

/* Section 6.3-3: how many of how many. */
static void count__of_known_cases__is_as_published(void **state)
{
    (void)state;
    assert_int_equal(rf_light_keep_count(16, 0.333333333), 11);
    assert_int_equal(rf_light_keep_count(16, 1.0 / 3), 10);
    assert_int_equal(rf_light_keep_count(24 * 4096, 0.333333333), 65536);
    assert_int_equal(rf_light_keep_count(24 * 4096, 1.0 / 3), 65536);
    assert_int_equal(rf_light_keep_count(144, 0.75), 36);
    assert_int_equal(rf_light_keep_count(36 * 8, 0.5), 144);
    assert_int_equal(rf_light_keep_count(7, 0), 7);
    assert_int_equal(rf_light_keep_count(1, 0.5), 0);
}

static void rows__without_a_winner__keep_their_best(void **state)
{
    (void)state;
    const double score[] = {1, 2, 3, 9, 8, 7};
    uint8_t kept[6];
    int64_t order[12];
    double threshold[2];
    rf_light_select_rows(kept, score, 2, 3, 0.5, 1, order, threshold);
    assert_memory_equal(kept, ((uint8_t[]){0, 0, 1, 1, 1, 1}), 6);
    assert_near(threshold[0], 5, 0, 0);
    assert_near(threshold[1], 5, 0, 0);
    rf_light_select_rows(kept, score, 2, 3, 0.99, 0, order, threshold);
    assert_memory_equal(kept, ((uint8_t[]){0, 0, 1, 1, 0, 0}), 6);
    rf_light_select_rows(kept, score, 6, 1, 0.5, 0, order, (double[6]){0});
    assert_memory_equal(kept, ((uint8_t[]){1, 1, 1, 1, 1, 1}), 6);
}

static void ranks__where_all_would_go__keep_one(void **state)
{
    (void)state;
    const double module[] = {1, 2}, rank[] = {5, 7};
    const int64_t r[] = {1, 1};
    uint8_t module_kept[2], rank_kept[2];
    int64_t order[16];
    double thresholds[2];
    const rf_light_options options = {.modules = 0, .ranks = 0.5, .ranks_by_module = 1};
    rf_light_select_ranks(module_kept, rank_kept, module, rank, r, 2, &options, order, thresholds);
    assert_memory_equal(rank_kept, ((uint8_t[]){0, 1}), 2);
    assert_memory_equal(module_kept, ((uint8_t[]){0, 1}), 2);
    const rf_light_options most = {.modules = 0.9, .ranks = 0};
    rf_light_select_ranks(module_kept, rank_kept, module, rank, r, 2, &most, order, thresholds);
    assert_memory_equal(module_kept, ((uint8_t[]){0, 1}), 2);
}

/* Sum over j of A_kj dA_kj, or over i of B_ik dB_ik. */
static double product_sum(const double *x, const double *d, int64_t k, int64_t r, int64_t n,
                          int is_a)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = is_a ? k * n + i : i * r + k;
        sum += x[at] * d[at];
    }
    return sum;
}

/* Also the identity that both sums are s b_k^T G a_k^T. */
static void taylor__of_stored_steps__is_the_released_score(void **state)
{
    (void)state;
    enum { R = 4, MODULES = 12 };
    static const int steps[] = {0, 3, 6};
    skip_without("reference/methods/lightpeft_scores.safetensors");
    reference data = reference_open("lightpeft_scores");
    double *wanted = reference_load(&data, NULL, "rank_score_per_step");
    for (int i = 0; i < 3 * MODULES * R; i++) {
        const int t = steps[i / (MODULES * R)], m = i / R % MODULES, k = i % R;
        int64_t a_items = 0, b_items = 0;
        double *a = reference_load(&data, &a_items, "step%d.m%d.A", t, m);
        double *b = reference_load(&data, &b_items, "step%d.m%d.B", t, m);
        double *da = reference_load(&data, NULL, "step%d.m%d.dA", t, m);
        double *db = reference_load(&data, NULL, "step%d.m%d.dB", t, m);
        const double sum_a = product_sum(a, da, k, R, a_items / R, 1);
        const double sum_b = product_sum(b, db, k, R, b_items / R, 0);
        assert_near(rf_light_rank_score(sum_a, sum_b, a_items / R, b_items / R),
                    wanted[(t * MODULES + m) * R + k], 1e-12, 0);
        assert_near(sum_a, sum_b, 1e-11, 1e-18);
        free(a);
        free(b);
        free(da);
        free(db);
    }
    free(wanted);
    reference_close(&data);
}

/* The averages over the second half; what is not finite counts as 0. */
static void average__of_stored_sequences__is_the_released_one(void **state)
{
    (void)state;
    skip_without("reference/methods/lightpeft_scores.safetensors");
    reference data = reference_open("lightpeft_scores");
    for (int i = 0; i < 5; i++) {
        int64_t steps = 0, items = 0;
        double *ratio = reference_load(&data, &steps, "half%d.ratios", i);
        double *rank = reference_load(&data, &items, "half%d.ranks", i);
        double *mean_ratio = reference_load(&data, NULL, "half%d.mean_ratio", i);
        double *mean_rank = reference_load(&data, NULL, "half%d.mean_ranks", i);
        double sum = 0, sums[8] = {0};
        const int64_t r = items / steps;
        for (int64_t t = 1; t <= steps; t++) {
            if (!rf_light_counts(t, steps)) continue;
            rf_light_add(&sum, ratio + t - 1, 1);
            rf_light_add(sums, rank + (t - 1) * r, r);
        }
        const double divisor = (double)rf_light_divisor(steps);
        assert_near(sum / divisor, mean_ratio[0], 1e-12, 0);
        for (int64_t k = 0; k < r; k++) assert_near(sums[k] / divisor, mean_rank[k], 1e-12, 0);
        free(ratio);
        free(rank);
        free(mean_ratio);
        free(mean_rank);
    }
    reference_close(&data);
}

static const struct CMUnitTest light[] = {
    cmocka_unit_test(masks__of_every_stored_set__select_as_the_rule_says),
    cmocka_unit_test(modules__of_every_stored_set__select_as_the_rule_says),
    cmocka_unit_test(ranks__of_every_stored_set__select_among_kept_modules),
    cmocka_unit_test(count__of_known_cases__is_as_published),
    cmocka_unit_test(rows__without_a_winner__keep_their_best),
    cmocka_unit_test(ranks__where_all_would_go__keep_one),
    cmocka_unit_test(taylor__of_stored_steps__is_the_released_score),
    cmocka_unit_test(average__of_stored_sequences__is_the_released_one),
};
RF_TEST_MAIN(light)
