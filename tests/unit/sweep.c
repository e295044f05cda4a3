/* The plan of a sweep: what is expanded, what tells runs apart, what a manifest keeps and refuses.
 */
#include "rf_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refract/sweep/record.h"

static char folder[2000], text[8192];

/* A SWEEP.yaml over the base `base` in the test's folder; body is what follows base and output. */
static rf_status plan_over(rf_sweep *sweep, const char *base, const char *body)
{
    char path[2100];
    snprintf(folder, sizeof folder, "%s", rf_test_folder());
    snprintf(path, sizeof path, "%s/base.yaml", folder);
    rf_test_write_file(path, base, strlen(base));
    snprintf(text, sizeof text, "base: %s/base.yaml\noutput: %s/sweep\n%s", folder, folder, body);
    return rf_sweep_plan(sweep, text, strlen(text), "s.yaml", NULL, 0);
}

static rf_status plan(rf_sweep *sweep, const char *body)
{
    return plan_over(sweep, "model: {path: m}\ntrain: {steps: 9}\n", body);
}

static void says(const rf_sweep *sweep, int64_t index, const char *wanted)
{
    char found[512];
    rf_sweep_describe(&sweep->run[index], found, sizeof found);
    assert_string_equal(found, wanted);
}

static void refused(const char *body, const char *message)
{
    rf_sweep sweep;
    assert_status(plan(&sweep, body), RF_USAGE);
    assert_message_has(message);
    rf_sweep_free(&sweep);
}

static void grid_list_and_seeds__make_every_combination_seeds_fastest(void **state)
{
    (void)state;
    rf_sweep sweep;
    assert_ok(plan(&sweep, "grid:\n  lora.r: [4, 8]\n  lora.target_modules: [all-linear, [q_proj, "
                           "v_proj]]\nlist:\n- {method: lora}\n- {method: dora, lora.dropout: "
                           "0.1}\nseeds: [3, 5]\n"));
    assert_int_equal(sweep.count, 2 * 4 * 2);
    says(&sweep, 0, "method=lora lora.r=4 lora.target_modules=all-linear train.seed=3");
    says(&sweep, 1, "method=lora lora.r=4 lora.target_modules=all-linear train.seed=5");
    says(&sweep, 3,
         "method=lora lora.r=4 lora.target_modules=[\"q_proj\", \"v_proj\"] train.seed=5");
    says(&sweep, 15,
         "method=dora lora.dropout=0.1 lora.r=8 lora.target_modules=[\"q_proj\", \"v_proj\"] "
         "train.seed=5");
    assert_int_equal(sweep.keys.count, 5);
    rf_config *config = NULL;
    assert_ok(rf_sweep_config(&sweep, 15, &config));
    assert_int_equal(rf_config_int(config, "lora.r"), 8);
    assert_int_equal(rf_config_list_count(config, "lora.target_modules"), 2);
    assert_non_null(strstr(rf_config_string(config, "output"), sweep.run[15].id));
    rf_config_destroy(&config);
    rf_sweep_free(&sweep);
}

static void seeds_alone__and_nothing_at_all(void **state)
{
    (void)state;
    rf_sweep sweep;
    assert_ok(plan(&sweep, "seeds: 3\nset: {lora.r: 2}\n"));
    assert_int_equal(sweep.count, 3);
    says(&sweep, 2, "train.seed=3");
    rf_sweep_free(&sweep);
    assert_ok(plan(&sweep, ""));
    assert_int_equal(sweep.count, 1);
    says(&sweep, 0, "the base as it is");
    rf_sweep_free(&sweep);
}

static double value_of(const rf_sweep *sweep, int64_t run, int key)
{
    return strtod(strchr(sweep->run[run].set.item[key], '=') + 1, NULL);
}

static void random_sample__is_a_function_of_its_seed_within_its_bounds(void **state)
{
    (void)state;
    static const char *const body =
        "random:\n  samples: 40\n  seed: %d\n  keys:\n    train.learning_rate: {log: [1e-5, "
        "1e-2]}\n    lora.dropout: {uniform: [0.1, 0.3]}\n    lora.r: {integer: [3, 6]}\n    "
        "method: {choice: [lora, dora]}\n";
    rf_sweep a, b, c;
    char one[1024], two[1024];
    snprintf(one, sizeof one, body, 1);
    snprintf(two, sizeof two, body, 2);
    assert_ok(plan(&a, one));
    assert_ok(plan(&b, one));
    assert_ok(plan(&c, two));
    assert_int_equal(a.count, 40);
    int low = 0, seen[7] = {0}, doras = 0, moved = 0;
    for (int64_t i = 0; i < 40; i++) {
        const double rate = value_of(&a, i, 0), dropout = value_of(&a, i, 1);
        const int r = (int)value_of(&a, i, 2);
        assert_string_equal(a.run[i].id, b.run[i].id);
        moved += strcmp(a.run[i].id, c.run[i].id) != 0;
        assert_true(rate >= 1e-5 && rate <= 1e-2 && dropout >= 0.1 && dropout <= 0.3);
        assert_true(r >= 3 && r <= 6);
        seen[r]++;
        low += rate < sqrt(1e-5 * 1e-2);
        doras += strcmp(a.run[i].set.item[3], "method=dora") == 0;
    }
    assert_int_equal(moved, 40);
    assert_true(low > 8 && low < 32 && doras > 8 && doras < 32);
    for (int r = 3; r <= 6; r++) assert_true(seen[r] > 0);
    rf_sweep_free(&a);
    rf_sweep_free(&b);
    rf_sweep_free(&c);
}

static void identity__is_that_of_what_the_run_does(void **state)
{
    (void)state;
    rf_sweep a, b;
    assert_ok(plan(&a, "grid: {lora.r: [4, 8]}\n"));
    /* the other way round, from another base that comes to the same, with defaults written out */
    assert_ok(plan_over(&b, "output: elsewhere\nmodel:\n  path: m\nlora: {alpha: 32.0}\n",
                        "set: {train.steps: 9}\nlist:\n- {lora.r: 8}\n- {lora.r: 4}\n"));
    assert_string_equal(a.run[0].id, b.run[1].id);
    assert_string_equal(a.run[1].id, b.run[0].id);
    assert_string_not_equal(a.run[0].id, a.run[1].id);
    rf_sweep_free(&a);
    rf_sweep_free(&b);
}

static void bad_sweeps__are_refused_with_key_and_line(void **state)
{
    (void)state;
    refused("grid:\n  lora.alhpa: [1, 2]\n",
            "unknown key 'lora.alhpa' (s.yaml, line 4). Did you mean 'lora.alpha'?");
    refused("grid: {lora: [1, 2]}\n", "'lora' is a section, not a key");
    refused("grid: {lora.r: 4}\n", "has no list of values (s.yaml, line 3)");
    refused("gird: {lora.r: [4]}\n",
            "a sweep has no 'gird' (s.yaml, line 3). Did you mean 'grid'?");
    refused("grid: {lora.r: [4, x]}\n",
            "run 1 of the sweep (lora.r=x): 'lora.r' must be an integer");
    refused("grid: {method: [lora, lroa]}\n", "(method=lroa): ");
    refused("grid: {lora.r: [4, 8, 4]}\n", "runs 0 (lora.r=4) and 2 (lora.r=4) are the same run");
    refused("grid: {lora.r: [4, 16]}\nset: {lora.r: 4}\nlist: [{lora.alpha: 32}, {lora.alpha: "
            "32.0}]\n",
            "are the same run");
    refused("grid: {lora.r: [4]}\nrandom: {samples: 2, keys: {lora.r: {integer: [1, 9]}}}\n",
            "'lora.r' stands in two of grid, list, random and seeds");
    refused("grid: {train.seed: [4]}\nseeds: 3\n", "'train.seed' stands in two");
    refused("grid: {output: [a, b]}\n", "'output' cannot be swept");
    refused("random: {samples: 2, keys: {lora.r: [1, 9]}}\n", "does not say how it is drawn");
    refused("random: {samples: 2, keys: {lora.r: {log: [0, 9]}}}\n", "is not understood");
    refused("random: {samples: 2}\n", "needs `samples` and `keys`");
    refused("grid: {lora.r: [4], lora.r: [5]}\n", "'lora.r' is there twice (s.yaml, line 3)");
    refused("seeds: none\n", "'seeds' is neither a number nor a list");
    refused("list: []\n", "'list' is not a list of runs");
    refused("grid: [\n", "malformed YAML");
    refused("output: x\n", "'output' is there twice");
}

static void base_that_is_not_there__is_named(void **state)
{
    (void)state;
    static const char missing[] = "base: none.yaml\noutput: x\n";
    rf_sweep sweep;
    assert_status(rf_sweep_plan(&sweep, missing, strlen(missing), "s.yaml", NULL, 0), RF_INPUT);
    assert_message_has("none.yaml");
    rf_sweep_free(&sweep);
    static const char without[] = "output: x\n";
    assert_status(rf_sweep_plan(&sweep, without, strlen(without), "s.yaml", NULL, 0), RF_USAGE);
    assert_message_has("`base` is not set (s.yaml)");
    rf_sweep_free(&sweep);
}

static void manifest__read_back__is_the_plan(void **state)
{
    (void)state;
    rf_sweep sweep, back;
    char path[PATH_MAX];
    size_t length = 0;
    assert_ok(plan(&sweep, "grid:\n  lora.r: [4, 8]\n  data.train: ['a \"b\".jsonl', [x, y]]\n"
                           "set: {lora.alpha: 3}\n"));
    assert_ok(rf_sweep_write(&sweep, path));
    char *bytes = rf_test_read_file(path, &length);
    assert_ok(rf_sweep_read(&back, bytes, length, path));
    assert_int_equal(back.count, 4);
    assert_string_equal(back.folder, sweep.folder);
    assert_string_equal(back.base_text, sweep.base_text);
    for (int64_t i = 0; i < 4; i++) {
        rf_config *config = NULL;
        assert_string_equal(back.run[i].id, sweep.run[i].id);
        assert_ok(rf_sweep_config(&back, i, &config));
        assert_near(rf_config_number(config, "lora.alpha"), 3, 0, 0);
        assert_string_equal(rf_config_list_item(config, "data.train", 0),
                            i % 2 ? "x" : "a \"b\".jsonl");
        rf_config_destroy(&config);
    }
    rf_sweep_free(&back);
    free(bytes);
    rf_sweep_free(&sweep);
}

static void read_refused(const char *bytes, size_t length, const char *message)
{
    rf_sweep sweep;
    assert_status(rf_sweep_read(&sweep, bytes, length, "f/manifest.jsonl"), RF_INPUT);
    assert_message_has(message);
    rf_sweep_free(&sweep);
}

static void manifest__edited_cut_or_foreign__is_refused(void **state)
{
    (void)state;
    rf_sweep sweep;
    char path[PATH_MAX];
    size_t length = 0;
    assert_ok(plan(&sweep, "seeds: 4\n"));
    assert_ok(rf_sweep_write(&sweep, path));
    rf_sweep_free(&sweep);
    char *bytes = rf_test_read_file(path, &length);
    char *at = strstr(bytes, "train.seed=3");
    assert_non_null(at);
    at[11] = '7';
    read_refused(bytes, length, "was changed since it was written");
    at[11] = '3';
    read_refused(bytes, length - 20, "was changed");
    read_refused(bytes, length - 100, "its end is missing");
    read_refused("a,b\n1,2\n", 8, "this is not a sweep's manifest");
    read_refused("", 0, "this is not a sweep's manifest");
    free(bytes);
}

static void record__written__is_what_a_look_finds(void **state)
{
    (void)state;
    rf_sweep sweep;
    rf_sweep_record record = {.state = RF_SWEEP_FAILED,
                              .code = RF_NONFINITE,
                              .message = "loss is not finite (step 3)",
                              .seconds = 2.5,
                              .tries = 2},
                    found;
    char path[PATH_MAX];
    const rf_lock_holder self = rf_lock_holder_self();
    assert_ok(plan(&sweep, "seeds: 3\n"));
    assert_ok(rf_sweep_path(&sweep, 0, "records", "", path));
    assert_ok(rf_sweep_look(&sweep, 0, &self, &found));
    assert_int_equal(found.state, RF_SWEEP_LEFT);
    *strrchr(path, '/') = '\0';
    assert_int_equal(system((snprintf(text, sizeof text, "mkdir -p '%s'", path), text)), 0);
    assert_ok(rf_sweep_note(&sweep, 0, &record));
    assert_ok(rf_sweep_look(&sweep, 0, &self, &found));
    assert_int_equal(found.state, RF_SWEEP_FAILED);
    assert_int_equal(found.code, RF_NONFINITE);
    assert_string_equal(found.message, record.message);
    assert_near(found.seconds, 2.5, 0, 0);
    record.state = RF_SWEEP_DONE;
    assert_ok(rf_sweep_note(&sweep, 1, &record));
    assert_ok(rf_sweep_look(&sweep, 1, &self, &found));
    assert_int_equal(found.state, RF_SWEEP_VANISHED);
    assert_non_null(strstr(found.message, "run.h5 any more"));
    assert_ok(rf_sweep_path(&sweep, 2, "records", ".json", path));
    rf_test_write_file(path, "{", 1);
    assert_ok(rf_sweep_look(&sweep, 2, &self, &found));
    assert_int_equal(found.state, RF_SWEEP_LEFT);
    assert_non_null(strstr(found.message, "cannot be read"));
    rf_sweep_free(&sweep);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grid_list_and_seeds__make_every_combination_seeds_fastest),
        cmocka_unit_test(seeds_alone__and_nothing_at_all),
        cmocka_unit_test(random_sample__is_a_function_of_its_seed_within_its_bounds),
        cmocka_unit_test(identity__is_that_of_what_the_run_does),
        cmocka_unit_test(bad_sweeps__are_refused_with_key_and_line),
        cmocka_unit_test(base_that_is_not_there__is_named),
        cmocka_unit_test(manifest__read_back__is_the_plan),
        cmocka_unit_test(manifest__edited_cut_or_foreign__is_refused),
        cmocka_unit_test(record__written__is_what_a_look_finds),
    };
    return rf_test_main(argc, argv, "sweep", tests, sizeof tests / sizeof tests[0]);
}
