#include "reflora_keys.h"

#include <string.h>

/* Do the factors start so that neither is zero? */
static int starts_whole(const rf_config *config)
{
    const char *init = rf_config_string(config, "lora.init");
    return strcmp(init, "random") == 0 || strcmp(init, "pissa") == 0 ||
           rf_config_string(config, "lora.start");
}

rf_status reflora_clock_read(reflora_clock *clock, const rf_method_context *context)
{
    rf_config *c = context->config;
    const int whole = starts_whole(c);
    if (rf_config_is_auto(c, "reflora.warmup")) {
        const int64_t tenth = context->steps / 10, least = whole ? 0 : 1;
        const int64_t steps = tenth < 100 ? tenth : 100;
        rf_config_resolve_int(c, "reflora.warmup", steps > least ? steps : least);
    }
    clock->warmup = rf_config_int(c, "reflora.warmup");
    clock->interval = rf_config_int(c, "reflora.interval");
    if (clock->warmup > 0 || whole) return RF_OK;
    return rf_fail(RF_USAGE,
                   "'reflora.warmup' is 0, but B starts at zero and cannot be refactored (%s). Set "
                   "it to 1 or more, or 'lora.init' to random",
                   rf_config_where(c, "reflora.warmup"));
}

int reflora_clock_refactors(const reflora_clock *clock, int64_t t)
{
    return t > clock->warmup && (t - clock->warmup - 1) % clock->interval == 0;
}

int reflora_clock_rescales(const reflora_clock *clock, int64_t t)
{
    return t >= clock->warmup && (t - clock->warmup) % clock->interval == 0;
}

void reflora_record_layout(reflora_record *record, rf_arena *run, int64_t modules)
{
    record->modules = modules;
    record->condition = RF_TAKE(run, double, modules);
    record->norm_a = RF_TAKE(run, double, modules);
    record->norm_b = RF_TAKE(run, double, modules);
    record->fallback = RF_TAKE(run, uint8_t, modules);
    record->counts = RF_TAKE(run, int64_t, 2);
}

void reflora_record_note(reflora_record *record, int64_t m, double condition, double norm_a,
                         double norm_b, int is_singular)
{
    record->condition[m] = condition;
    record->norm_a[m] = norm_a;
    record->norm_b[m] = norm_b;
    record->fallback[m] = (uint8_t)is_singular;
}

void reflora_record_end(reflora_record *record, int64_t step)
{
    record->step = step;
    record->counts[0] += record->modules;
    for (int64_t m = 0; m < record->modules; m++) record->counts[1] += record->fallback[m];
}

rf_status reflora_record_fields(const reflora_record *record, const char *method, rf_fields *fields)
{
    return rf_fields_add(fields, rf_shape_replicated(2, 1), RF_I64, record->counts,
                         "/method/%s/counts", method);
}

rf_status reflora_record_report(const reflora_record *record, int64_t step, rf_telemetry *telemetry)
{
    if (record->step != step) return RF_OK;
    return rf_telemetry_reflora(telemetry, step, record->condition, record->norm_a, record->norm_b,
                                record->fallback);
}

void reflora_record_summarise(const reflora_record *record, const char *method, rf_log *log)
{
    const double all = (double)record->counts[0], singular = (double)record->counts[1];
    rf_log_info(log, "%s: %.0f refactorings of a module, %.0f of them singular (%.2f %%)", method,
                all, singular, all > 0 ? 100 * singular / all : 0.0);
}
