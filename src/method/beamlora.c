/* BeamLoRA: gates are trained as part of the adapter; here their events. Gu et al. 2025, ACL 2025
 * long 582. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hooks.h"
#include "refract/adapter/gate.h"
#include "refract/base/rng.h"
#include "refract/method/beam.h"

typedef struct beam {
    rf_method_context context;
    rf_beam_schedule schedule;
    rf_beam_options options;
    int has_events, is_global;
    uint64_t seed;
    rf_beam_snapshot snapshot;
    int64_t ranks;  /* of all modules together */
    int64_t *begin; /* [modules + 1] first rank of each; owned */

    double *score;         /* [ranks] */
    unsigned char *pruned; /* [ranks] */
    int64_t *order;        /* [3, ranks] */
    rf_beam_clone *clones; /* [most r] */
    int64_t step;          /* of the last event: */
    int64_t total, *pruned_of;
    rf_beam_pair *pairs; /* [ranks / 2] */
    int64_t pair_count;
    int64_t *counts; /* [2] events and ranks expanded so far */
} beam;

static int64_t resolve_interval(const rf_method_context *context)
{
    if (rf_config_is_auto(context->config, "beam.interval")) {
        const int64_t even = context->steps / 12 / 2 * 2;
        rf_config_resolve_int(context->config, "beam.interval", even > 4 ? even : 4);
    }
    return rf_config_int(context->config, "beam.interval");
}

static double resolve_temperature(rf_config *config)
{
    if (rf_config_is_auto(config, "beam.temperature"))
        rf_config_resolve_number(config, "beam.temperature",
                                 rf_adapter_options_read(config).temperature);
    return rf_config_number(config, "beam.temperature");
}

static rf_beam_moments moments_of(const char *name)
{
    if (strcmp(name, "keep") == 0) return RF_BEAM_KEEP;
    return strcmp(name, "zero") == 0 ? RF_BEAM_ZERO : RF_BEAM_INHERIT;
}

static rf_status read_keys(beam *self)
{
    rf_config *c = self->context.config;
    const double end = rf_config_number(c, "beam.end"), steps = (double)self->context.steps;
    self->schedule = (rf_beam_schedule){.interval = resolve_interval(&self->context),
                                        .steps = self->context.steps,
                                        .keep = rf_config_number(c, "beam.keep"),
                                        .end = end > 1 ? end : end * steps};
    self->options = (rf_beam_options){.moments = moments_of(rf_config_string(c, "beam.moments")),
                                      .averages_scores =
                                          strcmp(rf_config_string(c, "beam.gates"), "scores") == 0,
                                      .temperature = resolve_temperature(c)};
    self->has_events = rf_config_bool(c, "beam.events");
    self->is_global = strcmp(rf_config_string(c, "beam.scope"), "global") == 0;
    self->seed = (uint64_t)rf_config_int(c, "train.seed");
    if (self->schedule.interval < 4 || self->schedule.interval % 2 != 0)
        return rf_fail(RF_USAGE,
                       "'beam.interval' must be even and at least 4, not %lld (%s). Half-way "
                       "through it ranks are remembered that the event puts in place of others",
                       (long long)self->schedule.interval, rf_config_where(c, "beam.interval"));
    return RF_OK;
}

static void note_rare_events(const beam *self)
{
    for (int64_t t = 1; t <= self->schedule.steps; t++)
        if (rf_beam_is_event(&self->schedule, t)) return;
    if (self->has_events)
        rf_log_info(self->context.log,
                    "note: no rank is ever pruned: 'beam.interval' is %lld of %lld steps, "
                    "'beam.keep' %g, 'beam.end' step %g",
                    (long long)self->schedule.interval, (long long)self->schedule.steps,
                    self->schedule.keep, self->schedule.end);
}

static rf_status create(void **out, const rf_method_context *context)
{
    beam *self = calloc(1, sizeof *self);
    *out = self;
    if (!self) return rf_fail(RF_RESOURCES, "no memory for beamlora");
    self->context = *context;
    RF_TRY(read_keys(self));
    note_rare_events(self);
    const rf_modules *modules = context->modules;
    self->begin = calloc((size_t)modules->count + 1, sizeof *self->begin);
    if (!self->begin) return rf_fail(RF_RESOURCES, "no memory for beamlora");
    for (int64_t m = 0; m < modules->count; m++) {
        RF_ASSERT(modules->item[m].gate >= 0, "'%s' has no gate", modules->item[m].name);
        self->begin[m + 1] = self->ranks += modules->item[m].r;
    }
    return rf_beam_snapshot_create(&self->snapshot, context->params, modules,
                                   self->options.moments == RF_BEAM_INHERIT);
}

static void destroy(void *opaque)
{
    beam *self = opaque;
    rf_beam_snapshot_destroy(&self->snapshot);
    free(self->begin);
    free(self);
}

static void layout(void *opaque, rf_arena *run, rf_arena *scratch)
{
    beam *self = opaque;
    const int64_t modules = self->context.modules->count;
    if (self->has_events) rf_beam_snapshot_layout(&self->snapshot, run);
    self->counts = RF_TAKE(run, int64_t, 2);
    self->score = RF_TAKE(scratch, double, self->ranks);
    self->pruned = RF_TAKE(scratch, unsigned char, self->ranks);
    self->order = RF_TAKE(scratch, int64_t, 3 * self->ranks);
    self->clones = RF_TAKE(scratch, rf_beam_clone, self->context.modules->most_r);
    self->pruned_of = RF_TAKE(scratch, int64_t, modules);
    self->pairs = RF_TAKE(scratch, rf_beam_pair, self->ranks);
}

static void after_update(void *opaque, const rf_method_step *step)
{
    beam *self = opaque;
    if (self->has_events && rf_beam_is_snapshot(&self->schedule, step->number))
        rf_beam_snapshot_take(&self->snapshot);
}

static void measure_scores(const beam *self, double *score)
{
    const rf_params *params = self->context.params;
    for (int64_t m = 0; m < self->context.modules->count; m++) {
        const rf_module *module = &self->context.modules->item[m];
        rf_gate_scores(score + self->begin[m], params->value + params->row[module->gate].offset,
                       module->r, self->options.temperature);
    }
}

static int64_t select_pruned(beam *self, double keep)
{
    const int64_t modules = self->context.modules->count;
    if (self->is_global)
        return rf_beam_select(self->pruned, self->score, self->begin, modules, keep, 1,
                              self->order);
    int64_t total = 0;
    for (int64_t m = 0; m < modules; m++)
        total +=
            rf_beam_select(self->pruned, self->score, self->begin + m, 1, keep, 1, self->order);
    return total;
}

/* Pairs module m's ranks, notes the pairs and expands. */
static void expand_module(beam *self, int64_t m)
{
    const int64_t at = self->begin[m];
    const double *score = self->score + at;
    const int64_t count = rf_beam_pair_up(
        self->clones, self->pruned + at, score, self->context.modules->item[m].r, self->seed,
        rf_stream("beamlora", (uint64_t)self->step, (uint64_t)m), self->order);
    for (int64_t i = 0; i < count; i++) {
        const rf_beam_clone *clone = &self->clones[i];
        self->pairs[self->pair_count++] =
            (rf_beam_pair){.step = self->step,
                           .module = m,
                           .pruned = clone->pruned,
                           .promising = clone->promising,
                           .score_pruned = score[clone->pruned],
                           .score_promising = score[clone->promising]};
    }
    self->pruned_of[m] = count;
    rf_beam_expand(self->context.params, self->context.grid, self->context.modules, m,
                   &self->snapshot, self->clones, count, &self->options);
}

static void event(void *opaque, const rf_method_step *step)
{
    beam *self = opaque;
    if (!self->has_events || !rf_beam_is_event(&self->schedule, step->number)) return;
    self->step = step->number;
    self->pair_count = 0;
    measure_scores(self, self->score);
    self->total = select_pruned(self, rf_beam_threshold(&self->schedule, self->step));
    for (int64_t m = 0; m < self->context.modules->count; m++) expand_module(self, m);
    rf_beam_forget_gates(self->context.params, self->context.modules);
    self->counts[0]++;
    self->counts[1] += self->total;
}

static void importance(const void *opaque, double *cells, int64_t rank_r)
{
    const beam *self = opaque;
    const rf_params *params = self->context.params;
    for (int64_t m = 0; m < self->context.modules->count; m++) {
        const rf_module *module = &self->context.modules->item[m];
        double *row = cells + m * rank_r;
        rf_gate_scores(row, params->value + params->row[module->gate].offset, module->r,
                       self->options.temperature);
        for (int64_t k = module->r; k < rank_r; k++) row[k] = NAN;
    }
}

static rf_status fields(void *opaque, int64_t step, rf_fields *table)
{
    beam *self = opaque;
    RF_TRY(rf_fields_add(table, rf_shape_replicated(2, 1), RF_I64, self->counts,
                         "/method/beamlora/counts"));
    if (!self->has_events || !rf_beam_holds_snapshot(&self->schedule, step)) return RF_OK;
    return rf_beam_snapshot_fields(&self->snapshot, table);
}

static rf_status report(const void *opaque, const rf_method_step *step, rf_telemetry *telemetry)
{
    const beam *self = opaque;
    if (self->step != step->number) return RF_OK;
    RF_TRY(rf_telemetry_beam_event(telemetry, self->step,
                                   rf_beam_threshold(&self->schedule, self->step), self->total,
                                   self->pruned_of));
    return rf_telemetry_beam_pairs(telemetry, self->pairs, self->pair_count);
}

static void summarise(const void *opaque, rf_log *log)
{
    const beam *self = opaque;
    rf_log_info(log, "beamlora: %lld events, %lld ranks expanded", (long long)self->counts[0],
                (long long)self->counts[1]);
}

const rf_method_hooks beamlora_hooks = {.create = create,
                                        .destroy = destroy,
                                        .layout = layout,
                                        .after_update = after_update,
                                        .event = event,
                                        .importance = importance,
                                        .fields = fields,
                                        .report = report,
                                        .summarise = summarise};
