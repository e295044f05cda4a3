/* Rules that tie keys together, and values that follow from others. */
#include "config_internal.h"

#include <string.h>

#include "refract/base/stop.h"

static int is_power_of_two(int64_t n)
{
    return n > 0 && (n & (n - 1)) == 0;
}

int rf_config_has_method(const rf_config *config, const char *name)
{
    const size_t length = strlen(name);
    const char *at = rf_config_string(config, "method");
    for (;; at++) {
        const size_t span = strcspn(at, "+");
        if (span == length && strncmp(at, name, length) == 0) return 1;
        at += span;
        if (!*at) return 0;
    }
}

rf_status rf_config_require(const rf_config *config, const char *key)
{
    const int index = rf_config_entry_find(key);
    RF_ASSERT(index >= 0, "no key '%s' in the schema", key);
    if (config->values[index].form != RF_CONFIG_IS_NULL) return RF_OK;
    return rf_fail(RF_USAGE, "'%s' is not set (%s). It is %s", key, rf_config_where(config, key),
                   rf_config_schema[index].help);
}

/* Of two keys that exclude each other the command line's wins; two of one origin are an error. */
static rf_status exclude(rf_config *config, const char *a, const char *b)
{
    const int at_a = rf_config_entry_find(a), at_b = rf_config_entry_find(b);
    const rf_config_value *value_a = &config->values[at_a], *value_b = &config->values[at_b];
    if (value_a->number == 0 || value_b->number == 0) return RF_OK;
    if (value_a->source == value_b->source)
        return rf_fail(RF_USAGE, "'%s' and '%s' exclude each other (%s; %s). Set one of them to 0",
                       a, b, rf_config_where(config, a), rf_config_where(config, b));
    const int loser = value_a->source > value_b->source ? at_b : at_a;
    const char *key = rf_config_schema[loser].key;
    if (rf_config_schema[loser].type == RF_CONFIG_INTEGER)
        rf_config_resolve_int(config, key, 0);
    else
        rf_config_resolve_number(config, key, 0);
    return RF_OK;
}

static rf_status check_length(rf_config *config)
{
    RF_TRY(exclude(config, "train.epochs", "train.steps"));
    if (rf_config_int(config, "train.epochs") == 0 && rf_config_int(config, "train.steps") == 0)
        return rf_fail(RF_USAGE, "'train.epochs' and 'train.steps' are both 0 (%s). Set one",
                       rf_config_where(config, "train.epochs"));
    RF_TRY(exclude(config, "train.warmup_steps", "train.warmup_ratio"));
    const char *time = rf_config_string(config, "train.max_time");
    double seconds = 0;
    if (time && !rf_duration_parse(time, &seconds))
        return rf_fail(RF_USAGE, "'train.max_time' must be HH:MM:SS and more than 0, not '%s' (%s)",
                       time, rf_config_where(config, "train.max_time"));
    return RF_OK;
}

static rf_status check_micro_tokens(rf_config *config)
{
    const int64_t longest = rf_config_int(config, "data.max_length");
    if (rf_config_is_auto(config, "train.micro_tokens"))
        rf_config_resolve_int(config, "train.micro_tokens", longest > 512 ? longest : 512);
    const int64_t tokens = rf_config_int(config, "train.micro_tokens");
    if (tokens >= longest) return RF_OK;
    return rf_fail(RF_USAGE,
                   "'train.micro_tokens' is %lld (%s), less than 'data.max_length', %lld (%s). A "
                   "sample must fit into one micro-batch",
                   (long long)tokens, rf_config_where(config, "train.micro_tokens"),
                   (long long)longest, rf_config_where(config, "data.max_length"));
}

static rf_status check_parallel(const rf_config *config)
{
    const int64_t slices = rf_config_int(config, "parallel.slices");
    if (!is_power_of_two(slices))
        return rf_fail(RF_USAGE, "'parallel.slices' must be a power of two, not %lld (%s)",
                       (long long)slices, rf_config_where(config, "parallel.slices"));
    if (rf_config_is_auto(config, "parallel.tensor")) return RF_OK;
    const int64_t tensor = rf_config_int(config, "parallel.tensor");
    if (is_power_of_two(tensor) && tensor <= slices) return RF_OK;
    return rf_fail(RF_USAGE,
                   "'parallel.tensor' must be a power of two, at most 'parallel.slices' (%lld), "
                   "not %lld (%s)",
                   (long long)slices, (long long)tensor,
                   rf_config_where(config, "parallel.tensor"));
}

static rf_status contradiction(const rf_config *config, const char *method, const char *key,
                               const char *value)
{
    return rf_fail(RF_USAGE, "method '%s' needs '%s' to be %s (%s). Remove one of the two", method,
                   key, value, rf_config_where(config, key));
}

/* AdaLoRA's rank and start are its own. */
static rf_status check_adalora(rf_config *config)
{
    static const char *const own[] = {"lora.init", "lora.rank_pattern", "lora.use_rslora",
                                      "lora.start"};
    const int64_t r = rf_config_int(config, "adalora.init_r");
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (rf_config_is_set(config, own[i]) && !rf_config_is_default(config, own[i]))
            return rf_fail(RF_USAGE,
                           "method 'adalora' has its own rank, scale and start, so '%s' plays no "
                           "part (%s). Remove one of the two",
                           own[i], rf_config_where(config, own[i]));
    if (rf_config_is_set(config, "lora.r") && rf_config_int(config, "lora.r") != r)
        return rf_fail(
            RF_USAGE, "'lora.r' is %lld, 'adalora.init_r' %lld (%s; %s). Set adalora.init_r alone",
            (long long)rf_config_int(config, "lora.r"), (long long)r,
            rf_config_where(config, "lora.r"), rf_config_where(config, "adalora.init_r"));
    rf_config_resolve_int(config, "lora.r", r);
    if (rf_config_int(config, "adalora.target_r") <= r) return RF_OK;
    return rf_fail(RF_USAGE,
                   "'adalora.target_r' is above 'adalora.init_r' (%s). The budget only shrinks",
                   rf_config_where(config, "adalora.target_r"));
}

static rf_status check_methods(rf_config *config)
{
    if (rf_config_has_method(config, "rslora")) {
        if (rf_config_is_set(config, "lora.use_rslora") &&
            !rf_config_bool(config, "lora.use_rslora"))
            return contradiction(config, "rslora", "lora.use_rslora", "true");
        rf_config_resolve_string(config, "lora.use_rslora", "true");
    }
    if (rf_config_has_method(config, "pissa")) {
        const char *init = rf_config_string(config, "lora.init");
        if (rf_config_is_set(config, "lora.init") && strcmp(init, "pissa") != 0)
            return contradiction(config, "pissa", "lora.init", "pissa");
        rf_config_resolve_string(config, "lora.init", "pissa");
    }
    return rf_config_has_method(config, "adalora") ? check_adalora(config) : RF_OK;
}

rf_status rf_config_check(rf_config *config)
{
    RF_TRY(check_methods(config));
    RF_TRY(check_length(config));
    RF_TRY(check_micro_tokens(config));
    return check_parallel(config);
}
