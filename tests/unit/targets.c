#include "rf_test.h"

#include <string.h>

#include "refract/adapter/targets.h"

static const char *const modules[] = {
    "model.layers.0.self_attn.q_proj",  "model.layers.0.self_attn.v_proj",
    "model.layers.0.mlp.down_proj",     "model.layers.1.self_attn.q_proj",
    "model.layers.11.self_attn.q_proj", "lm_head",
};
enum { MODULES = 6 };

#define NAMES(...)                                                                                 \
    {                                                                                              \
        (const char *const[]){__VA_ARGS__},                                                        \
            (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))                     \
    }

/* One letter per module: '.' not targeted, else the digit of r. */
static void assert_picks(const rf_target_rules *rules, const char *picture)
{
    rf_targets *targets = NULL;
    assert_ok(rf_targets_create(&targets, rules));
    for (int m = 0; m < MODULES; m++) {
        rf_target target;
        assert_ok(rf_targets_match(targets, modules[m], &target));
        const int64_t wanted = picture[m] == '.' ? 0 : picture[m] - '0';
        if (target.r != wanted || target.targeted != (wanted > 0))
            fail_msg("%s: targeted %d, r %d, wanted %d", modules[m], target.targeted, (int)target.r,
                     (int)wanted);
    }
    rf_targets_destroy(&targets);
    assert_null(targets);
}

static const rf_target_rules plain = {.r = 4, .alpha = 8, .where = "here"};

static void all_linear__takes_all_but_the_output_head(void **state)
{
    (void)state;
    rf_target_rules rules = plain;
    rules.all_linear = 1;
    assert_picks(&rules, "44444.");
    rules.exclude = (rf_names)NAMES("down_proj", "layers.1.self_attn.q_proj");
    assert_picks(&rules, "44..4.");
}

static void list__matches_ends_after_a_dot(void **state)
{
    (void)state;
    rf_target_rules rules = plain;
    rules.modules = (rf_names)NAMES("q_proj", "proj", "1.self_attn.v_proj");
    assert_picks(&rules, "4..44.");
    rules.modules = (rf_names)NAMES("1.self_attn.q_proj", "lm_head");
    assert_picks(&rules, "...4.4");
    rules.modules = (rf_names)NAMES("q_proj", "v_proj", "lm_head");
    rules.saved = (rf_names)NAMES("lm_head", "layers.1");
    assert_picks(&rules, "44..4.");
}

static void regex__matches_the_whole_path_only(void **state)
{
    (void)state;
    rf_target_rules rules = plain;
    rules.regex = "q_proj";
    assert_picks(&rules, "......");
    rules.regex = ".*\\.(q|v)_proj";
    assert_picks(&rules, "44.44.");
    rules.regex = "model|model\\.layers\\.0\\..*";
    assert_picks(&rules, "444...");
    rules.exclude_regex = ".*mlp.*";
    assert_picks(&rules, "44....");
}

static void layers__limit_a_list_but_not_a_full_path(void **state)
{
    (void)state;
    const int64_t layers[] = {1, 2};
    rf_target_rules rules = plain;
    rules.modules = (rf_names)NAMES("q_proj", "v_proj");
    rules.layers = layers;
    rules.layer_count = 2;
    assert_picks(&rules, "...4..");
    rules.layer_names = (rf_names)NAMES("blocks", "layers");
    assert_picks(&rules, "...4..");
    rules.layer_names = (rf_names)NAMES("blocks");
    assert_picks(&rules, "......");
    rules.layer_names.count = 0;
    rules.modules = (rf_names)NAMES("model.layers.0.self_attn.q_proj", "v_proj");
    assert_picks(&rules, "4.....");
}

static void rank_pattern__first_match_counts_and_needs_a_dot_before_it(void **state)
{
    (void)state;
    const rf_pattern ranks[] = {{"layers.1.self_attn.q_proj", 2}, {"[qv]_proj", 6}, {"q_proj", 7}};
    rf_target_rules rules = plain;
    rules.all_linear = 1;
    rules.rank_pattern = ranks;
    rules.rank_pattern_count = 3;
    assert_picks(&rules, "66426.");
    const rf_pattern part[] = {{"1.self_attn.q_proj", 3}, {"proj", 9}, {"down_proj|up", 5}};
    rules.rank_pattern = part;
    assert_picks(&rules, "44534.");
}

static void alpha_pattern__follows_its_own_rules(void **state)
{
    (void)state;
    const rf_pattern alphas[] = {{"v_proj", 0.5}};
    rf_target_rules rules = plain;
    rules.all_linear = 1;
    rules.alpha_pattern = alphas;
    rules.alpha_pattern_count = 1;
    rf_targets *targets = NULL;
    assert_ok(rf_targets_create(&targets, &rules));
    rf_target target;
    assert_ok(rf_targets_match(targets, modules[1], &target));
    assert_near(target.alpha, 0.5, 0, 0);
    assert_ok(rf_targets_match(targets, modules[0], &target));
    assert_near(target.alpha, 8, 0, 0);
    assert_ok(rf_targets_match(targets, "lm_head", &target));
    assert_near(target.alpha, 0, 0, 0);
    rf_targets_destroy(&targets);
}

static void require__names_the_rule_that_matches_nothing(void **state)
{
    (void)state;
    const rf_pattern ranks[] = {{"q_proj", 2}, {"mlp", 6}}, alphas[] = {{"k_proj", 1}};
    rf_target_rules rules = plain;
    rules.modules = (rf_names)NAMES("q_proj", "k_porj");
    rf_targets *targets = NULL;
    assert_ok(rf_targets_create(&targets, &rules));
    assert_status(rf_targets_require(targets, modules, MODULES), RF_USAGE);
    assert_message_has("target_modules: 'k_porj' matches no module (here)");
    rf_targets_destroy(&targets);

    rules.modules = (rf_names)NAMES("q_proj");
    rules.rank_pattern = ranks;
    rules.rank_pattern_count = 2;
    rules.alpha_pattern = alphas;
    rules.alpha_pattern_count = 1;
    assert_ok(rf_targets_create(&targets, &rules));
    rf_unmatched unmatched[2];
    int found = 0;
    assert_ok(rf_targets_unmatched(targets, modules, MODULES, unmatched, 1, &found));
    assert_int_equal(found, 2);
    assert_string_equal(unmatched[0].list, "rank_pattern");
    assert_string_equal(unmatched[0].key, "mlp");
    assert_status(rf_targets_require(targets, modules, MODULES), RF_USAGE);
    assert_message_has("rank_pattern: 'mlp' matches no adapted module");
    rf_targets_destroy(&targets);

    rules = plain;
    rules.all_linear = 1;
    rules.exclude_regex = ".*";
    assert_ok(rf_targets_create(&targets, &rules));
    assert_status(rf_targets_require(targets, modules, MODULES), RF_USAGE);
    assert_message_has("no module is targeted");
    rf_targets_destroy(&targets);
}

static void assert_refused(const rf_target_rules *rules, const char *text)
{
    rf_targets *targets = NULL;
    assert_status(rf_targets_create(&targets, rules), RF_USAGE);
    assert_message_has(text);
    assert_null(targets);
}

static void create__senseless_rules__are_refused_by_name(void **state)
{
    (void)state;
    rf_target_rules rules = plain;
    assert_refused(&rules, "target_modules is empty (here)");
    rules.regex = "(q_proj";
    assert_refused(&rules, "'(q_proj' is not a regular expression");
    rules.regex = NULL;
    rules.all_linear = 1;
    rules.r = 0;
    assert_refused(&rules, "r = 0 is not a rank");
    const rf_pattern half = {"q_proj", 2.5}, open = {"[q", 2};
    rules.r = 4;
    rules.rank_pattern = &half;
    rules.rank_pattern_count = 1;
    assert_refused(&rules, "q_proj = 2.5 is not a rank");
    rules.rank_pattern = &open;
    assert_refused(&rules, "rank_pattern: '[q' is not");
    char lengthy[8192];
    memset(lengthy, 'a', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = '\0';
    rules = plain;
    rules.regex = lengthy;
    assert_refused(&rules, "longer than");
}

static void match__expression_without_end__fails_instead_of_guessing(void **state)
{
    (void)state;
    rf_target_rules rules = plain;
    rules.regex = "((a+)+)+[bd]";
    rf_targets *targets = NULL;
    assert_ok(rf_targets_create(&targets, &rules));
    rf_target target;
    assert_status(rf_targets_match(targets, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", &target),
                  RF_USAGE);
    assert_message_has("cannot be matched");
    rf_targets_destroy(&targets);
}

static rf_targets *from_yaml(const char *yaml)
{
    rf_config *config = NULL;
    rf_targets *made = NULL;
    assert_ok(rf_config_parse(&config, yaml, strlen(yaml), "run.yaml", NULL, 0));
    const rf_status status = rf_targets_from_config(&made, config);
    rf_config_destroy(&config);
    assert_ok(status);
    return made;
}

static void from_config__keys_of_lora__become_the_rules(void **state)
{
    (void)state;
    rf_target target;
    rf_targets *made =
        from_yaml("output: o\nlora:\n  r: 4\n  alpha: 6\n"
                  "  rank_pattern: {layers.1.self_attn.q_proj: 2, q_proj: 7}\n"
                  "  alpha_pattern: {v_proj: 1.5}\n  modules_to_save: [down_proj]\n");
    const int64_t ranks[MODULES] = {7, 4, 0, 2, 7, 0};
    for (int m = 0; m < MODULES; m++) {
        assert_ok(rf_targets_match(made, modules[m], &target));
        assert_int_equal(target.r, ranks[m]);
        if (target.targeted) assert_near(target.alpha, m == 1 ? 1.5 : 6, 0, 0);
    }
    rf_targets_destroy(&made);

    made = from_yaml("output: o\nlora: {target_modules: [q_proj, k_porj]}\n");
    assert_ok(rf_targets_match(made, modules[1], &target));
    assert_int_equal(target.targeted, 0);
    assert_status(rf_targets_require(made, modules, MODULES), RF_USAGE);
    assert_message_has("'k_porj' matches no module (run.yaml, line 2)");
    rf_targets_destroy(&made);
}

static const struct CMUnitTest targets[] = {
    cmocka_unit_test(all_linear__takes_all_but_the_output_head),
    cmocka_unit_test(list__matches_ends_after_a_dot),
    cmocka_unit_test(regex__matches_the_whole_path_only),
    cmocka_unit_test(layers__limit_a_list_but_not_a_full_path),
    cmocka_unit_test(rank_pattern__first_match_counts_and_needs_a_dot_before_it),
    cmocka_unit_test(alpha_pattern__follows_its_own_rules),
    cmocka_unit_test(require__names_the_rule_that_matches_nothing),
    cmocka_unit_test(create__senseless_rules__are_refused_by_name),
    cmocka_unit_test(from_config__keys_of_lora__become_the_rules),
    cmocka_unit_test(match__expression_without_end__fails_instead_of_guessing),
};
RF_TEST_MAIN(targets)
