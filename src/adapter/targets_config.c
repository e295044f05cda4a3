/* The keys lora.* as target rules. */
#include "refract/adapter/targets.h"

#include <stdlib.h>
#include <string.h>

typedef struct lists {
    const char **modules, **saved;
    rf_pattern *rank, *alpha;
} lists;

static const char **names_of(const rf_config *config, const char *key, rf_names *names)
{
    names->count = rf_config_list_count(config, key);
    const char **list = malloc(((size_t)names->count + 1) * sizeof *list);
    for (int i = 0; list && i < names->count; i++) list[i] = rf_config_list_item(config, key, i);
    names->name = list;
    return list;
}

static rf_pattern *patterns_of(const rf_config *config, const char *key, int *count)
{
    *count = rf_config_map_count(config, key);
    rf_pattern *list = malloc(((size_t)*count + 1) * sizeof *list);
    for (int i = 0; list && i < *count; i++)
        list[i] =
            (rf_pattern){rf_config_map_key(config, key, i), rf_config_map_number(config, key, i)};
    return list;
}

rf_status rf_targets_from_config(rf_targets **targets, const rf_config *config)
{
    rf_target_rules rules = {.r = rf_config_int(config, "lora.r"),
                             .alpha = rf_config_number(config, "lora.alpha"),
                             .where = rf_config_where(config, "lora.target_modules")};
    lists l = {.modules = names_of(config, "lora.target_modules", &rules.modules),
               .saved = names_of(config, "lora.modules_to_save", &rules.saved)};
    l.rank = patterns_of(config, "lora.rank_pattern", &rules.rank_pattern_count);
    l.alpha = patterns_of(config, "lora.alpha_pattern", &rules.alpha_pattern_count);
    rules.rank_pattern = l.rank;
    rules.alpha_pattern = l.alpha;

    rf_status status = RF_OK;
    *targets = NULL;
    if (!l.modules || !l.saved || !l.rank || !l.alpha) {
        status = rf_fail(RF_RESOURCES, "no memory for the rules of lora.target_modules");
    } else {
        rules.all_linear =
            rules.modules.count == 1 && strcmp(rules.modules.name[0], "all-linear") == 0;
        if (rules.all_linear) rules.modules.count = 0;
        status = rf_targets_create(targets, &rules);
    }
    free(l.modules);
    free(l.saved);
    free(l.rank);
    free(l.alpha);
    return status;
}
