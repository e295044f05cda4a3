#define PCRE2_CODE_UNIT_WIDTH 8
#include "refract/adapter/targets.h"

#include <math.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_EXPRESSION = 4096 };

/* One entry of a rule list: a plain name (code NULL) or an expression. */
typedef struct rule {
    char *text;       /* owned: as the user wrote it */
    pcre2_code *code; /* owned */
    double value;
} rule;

typedef struct rule_list {
    rule *item; /* owned */
    int count;
} rule_list;

struct rf_targets {
    int all_linear;
    int64_t r;
    double alpha;
    rule_list modules, exclude, saved, layer_names, rank_pattern, alpha_pattern;
    int64_t *layers; /* owned */
    int layer_count;
    char *where; /* owned */
    int foreign;
};

static void list_free(rule_list *list)
{
    for (int i = 0; i < list->count; i++) {
        free(list->item[i].text);
        pcre2_code_free(list->item[i].code);
    }
    free(list->item);
}

void rf_targets_destroy(rf_targets **targets)
{
    rf_targets *t = *targets;
    if (!t) return;
    rule_list *const lists[] = {&t->modules,     &t->exclude,      &t->saved,
                                &t->layer_names, &t->rank_pattern, &t->alpha_pattern};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) list_free(lists[i]);
    free(t->layers);
    free(t->where);
    free(t);
    *targets = NULL;
}

static rf_status no_memory(void)
{
    return rf_fail(RF_RESOURCES, "no memory for the rules of target_modules");
}

static rf_status list_allocate(rule_list *list, int count)
{
    list->item = calloc((size_t)count + 1, sizeof *list->item);
    return list->item ? RF_OK : no_memory();
}

static rf_status list_append(rule_list *list, const char *text, double value)
{
    rule *item = &list->item[list->count++];
    item->value = value;
    item->text = strdup(text);
    return item->text ? RF_OK : no_memory();
}

/* Compiles the newest entry; `frame` has one %s for its text. Anchored at the start, as re.match.
 */
static rf_status compile_last(rule_list *list, const char *frame, uint32_t options,
                              const char *what, const char *where)
{
    rule *item = &list->item[list->count - 1];
    char pattern[MAX_EXPRESSION];
    if (strlen(item->text) + strlen(frame) >= sizeof pattern)
        return rf_fail(RF_USAGE, "an expression of %s is longer than %d characters (%s)", what,
                       MAX_EXPRESSION - 64, where);
    const char *hole = strstr(frame, "%s");
    const int length = snprintf(pattern, sizeof pattern, "%.*s%s%s", (int)(hole - frame), frame,
                                item->text, hole + 2);
    int error = 0;
    PCRE2_SIZE at = 0;
    item->code = pcre2_compile((PCRE2_SPTR)pattern, (PCRE2_SIZE)length, options | PCRE2_ANCHORED,
                               &error, &at, NULL);
    if (item->code) return RF_OK;
    char reason[128];
    pcre2_get_error_message(error, (PCRE2_UCHAR *)reason, sizeof reason);
    return rf_fail(RF_USAGE, "%s: '%s' is not a regular expression: %s (%s)", what, item->text,
                   reason, where);
}

static rf_status add_expressions(rule_list *list, rf_names names, const char *frame,
                                 const char *what, const char *where)
{
    RF_TRY(list_allocate(list, names.count));
    for (int i = 0; i < names.count; i++) {
        RF_TRY(list_append(list, names.name[i], 0));
        RF_TRY(compile_last(list, frame, 0, what, where));
    }
    return RF_OK;
}

/* Either one expression for the whole path or a list of plain names. */
static rf_status add_names(rule_list *list, const char *regex, rf_names names, const char *what,
                           const char *where)
{
    RF_TRY(list_allocate(list, names.count + 1));
    if (regex) {
        RF_TRY(list_append(list, regex, 0));
        return compile_last(list, "%s", PCRE2_ENDANCHORED, what, where);
    }
    for (int i = 0; i < names.count; i++) RF_TRY(list_append(list, names.name[i], 0));
    return RF_OK;
}

static rf_status add_patterns(rule_list *list, const rf_pattern *patterns, int count,
                              const char *what, const char *where)
{
    RF_TRY(list_allocate(list, count));
    for (int i = 0; i < count; i++) {
        RF_TRY(list_append(list, patterns[i].key, patterns[i].value));
        RF_TRY(compile_last(list, "(.*\\.)?(%s)$", 0, what, where));
    }
    return RF_OK;
}

static rf_status check_rank(double r, const char *key, const char *where)
{
    if (r >= 1 && r <= 1 << 20 && r == floor(r)) return RF_OK;
    return rf_fail(RF_USAGE, "%s = %g is not a rank (%s). Give a whole number above 0", key, r,
                   where);
}

static rf_status check_values(const rf_target_rules *rules)
{
    RF_TRY(check_rank((double)rules->r, "r", rules->where));
    for (int i = 0; i < rules->rank_pattern_count; i++)
        RF_TRY(check_rank(rules->rank_pattern[i].value, rules->rank_pattern[i].key, rules->where));
    for (int i = -1; i < rules->alpha_pattern_count; i++) {
        const double alpha = i < 0 ? rules->alpha : rules->alpha_pattern[i].value;
        if (!isfinite(alpha))
            return rf_fail(RF_USAGE, "alpha of '%s' is not a finite number (%s)",
                           i < 0 ? "lora" : rules->alpha_pattern[i].key, rules->where);
    }
    if (rules->all_linear || rules->regex || rules->modules.count > 0) return RF_OK;
    return rf_fail(RF_USAGE, "target_modules is empty (%s). Name modules or say all-linear",
                   rules->where);
}

static rf_status add_layers(rf_targets *t, const rf_target_rules *rules)
{
    static const char *const any_name[] = {"[^.]*"};
    const rf_names any = {any_name, 1};
    if (rules->layer_count == 0) return RF_OK;
    t->layers = malloc((size_t)rules->layer_count * sizeof *t->layers);
    if (!t->layers) return no_memory();
    memcpy(t->layers, rules->layers, (size_t)rules->layer_count * sizeof *t->layers);
    t->layer_count = rules->layer_count;
    return add_expressions(&t->layer_names, rules->layer_names.count ? rules->layer_names : any,
                           ".*\\.%s\\.(\\d+)\\.", "layers_pattern", t->where);
}

static rf_status fill(rf_targets *t, const rf_target_rules *rules)
{
    t->where = strdup(rules->where);
    if (!t->where) return no_memory();
    t->all_linear = rules->all_linear;
    t->foreign = rules->foreign;
    t->r = rules->r;
    t->alpha = rules->alpha;
    RF_TRY(check_values(rules));
    RF_TRY(add_names(&t->modules, rules->regex, rules->modules, "target_modules", t->where));
    RF_TRY(
        add_names(&t->exclude, rules->exclude_regex, rules->exclude, "exclude_modules", t->where));
    RF_TRY(add_expressions(&t->saved, rules->saved, "(^|.*\\.)%s($|\\..*)", "modules_to_save",
                           t->where));
    RF_TRY(add_layers(t, rules));
    RF_TRY(add_patterns(&t->rank_pattern, rules->rank_pattern, rules->rank_pattern_count,
                        "rank_pattern", t->where));
    return add_patterns(&t->alpha_pattern, rules->alpha_pattern, rules->alpha_pattern_count,
                        "alpha_pattern", t->where);
}

rf_status rf_targets_create(rf_targets **targets, const rf_target_rules *rules)
{
    *targets = calloc(1, sizeof **targets);
    if (!*targets) return no_memory();
    const rf_status status = fill(*targets, rules);
    if (status != RF_OK) rf_targets_destroy(targets);
    return status;
}

/* *hit = 1 when the rule matches; *number, if wanted, is what its last group caught. */
static rf_status apply(const rule *item, const char *module, const char *where, int *hit,
                       int64_t *number)
{
    const size_t length = strlen(module), size = strlen(item->text);
    *hit = 0;
    if (!item->code) {
        *hit = length >= size && strcmp(module + length - size, item->text) == 0 &&
               (length == size || module[length - size - 1] == '.');
        return RF_OK;
    }
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(item->code, NULL);
    if (!match) return no_memory();
    const int groups = pcre2_match(item->code, (PCRE2_SPTR)module, length, 0, 0, match, NULL);
    *hit = groups > 0;
    if (*hit && number)
        *number = strtoll(module + pcre2_get_ovector_pointer(match)[2 * groups - 2], NULL, 10);
    pcre2_match_data_free(match);
    if (groups > 0 || groups == PCRE2_ERROR_NOMATCH) return RF_OK;
    return rf_fail(RF_USAGE, "the expression '%s' cannot be matched with %s: error %d (%s)",
                   item->text, module, groups, where);
}

/* *index = the first entry that matches, -1 if none. */
static rf_status first_match(const rule_list *list, const char *module, const char *where,
                             int *index)
{
    *index = -1;
    for (int i = 0; i < list->count && *index < 0; i++) {
        int hit = 0;
        RF_TRY(apply(&list->item[i], module, where, &hit, NULL));
        if (hit) *index = i;
    }
    return RF_OK;
}

/* A module named in full is taken whatever its layer, as PEFT does. */
static rf_status layer_allowed(const rf_targets *t, int named, const char *module, int *allowed)
{
    *allowed = 1;
    if (t->layer_count == 0 || strcmp(t->modules.item[named].text, module) == 0) return RF_OK;
    *allowed = 0;
    for (int i = 0; i < t->layer_names.count; i++) {
        int hit = 0;
        int64_t layer = -1;
        RF_TRY(apply(&t->layer_names.item[i], module, t->where, &hit, &layer));
        if (!hit) continue;
        for (int k = 0; k < t->layer_count; k++) *allowed |= t->layers[k] == layer;
        return RF_OK;
    }
    return RF_OK;
}

static int is_output_head(const char *module)
{
    const char *dot = strrchr(module, '.');
    return strcmp(dot ? dot + 1 : module, "lm_head") == 0;
}

static rf_status is_targeted(const rf_targets *t, const char *module, int *targeted)
{
    int excluded = -1, saved = -1, named = -1;
    *targeted = 0;
    RF_TRY(first_match(&t->exclude, module, t->where, &excluded));
    RF_TRY(first_match(&t->saved, module, t->where, &saved));
    if (excluded >= 0 || saved >= 0) return RF_OK;
    if (t->all_linear) {
        *targeted = !is_output_head(module);
        return RF_OK;
    }
    RF_TRY(first_match(&t->modules, module, t->where, &named));
    return named < 0 ? RF_OK : layer_allowed(t, named, module, targeted);
}

rf_status rf_targets_match(const rf_targets *targets, const char *module, rf_target *target)
{
    *target = (rf_target){0};
    RF_TRY(is_targeted(targets, module, &target->targeted));
    if (!target->targeted) return RF_OK;
    int rank = -1, alpha = -1;
    RF_TRY(first_match(&targets->rank_pattern, module, targets->where, &rank));
    RF_TRY(first_match(&targets->alpha_pattern, module, targets->where, &alpha));
    target->r = rank < 0 ? targets->r : (int64_t)targets->rank_pattern.item[rank].value;
    target->alpha = alpha < 0 ? targets->alpha : targets->alpha_pattern.item[alpha].value;
    return RF_OK;
}

/* 1 in *used when the rule matches one of the modules (only targeted ones count, if asked). */
static rf_status rule_used(const rf_targets *t, const rule *item, int targeted_only,
                           const char *const *modules, int64_t count, int *used)
{
    *used = 0;
    for (int64_t m = 0; m < count && !*used; m++) {
        int counts = 1;
        if (targeted_only) RF_TRY(is_targeted(t, modules[m], &counts));
        if (counts) RF_TRY(apply(item, modules[m], t->where, used, NULL));
    }
    return RF_OK;
}

rf_status rf_targets_unmatched(const rf_targets *targets, const char *const *modules, int64_t count,
                               rf_unmatched *unmatched, int most, int *found)
{
    const rule_list *const lists[] = {&targets->modules, &targets->rank_pattern,
                                      &targets->alpha_pattern};
    static const char *const names[] = {"target_modules", "rank_pattern", "alpha_pattern"};
    *found = 0;
    for (int l = 0; l < 3; l++) {
        for (int i = 0; i < lists[l]->count; i++) {
            int used = 0;
            RF_TRY(rule_used(targets, &lists[l]->item[i], l > 0, modules, count, &used));
            if (used) continue;
            if (*found < most) unmatched[*found] = (rf_unmatched){names[l], lists[l]->item[i].text};
            ++*found;
        }
    }
    return RF_OK;
}

rf_status rf_targets_require(const rf_targets *targets, const char *const *modules, int64_t count)
{
    rf_unmatched first = {0};
    int found = 0, any = 0;
    RF_TRY(rf_targets_unmatched(targets, modules, count, &first, 1, &found));
    if (found > 0 && !targets->foreign)
        return rf_fail(RF_USAGE,
                       "%s: '%s' matches no %s (%s). Write it as a module path ends, e.g. %s",
                       first.list, first.key,
                       strcmp(first.list, "target_modules") == 0 ? "module" : "adapted module",
                       targets->where, count > 0 ? modules[0] : "q_proj");
    for (int64_t m = 0; m < count && !any; m++) RF_TRY(is_targeted(targets, modules[m], &any));
    if (any) return RF_OK;
    return rf_fail(targets->foreign ? RF_INPUT : RF_USAGE,
                   "no module is targeted (%s). See target_modules", targets->where);
}
