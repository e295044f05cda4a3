/* Snapshots, and the surgery on factors, moments and gates. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "factors.h"
#include "refract/method/beam.h"

static int64_t factor_row(const rf_beam_snapshot *s, int64_t i)
{
    const rf_module *module = &s->modules->item[i / 2];
    return i % 2 == 0 ? module->a : module->b;
}

static int parts_of(const rf_beam_snapshot *s)
{
    return s->has_moments ? 3 : 1;
}

/* Values, first or second moments of all trained tensors. */
static rf_real *source(const rf_params *params, int part)
{
    rf_real *const all[] = {params->value, params->moment1, params->moment2};
    return all[part];
}

rf_status rf_beam_snapshot_create(rf_beam_snapshot *s, const rf_params *params,
                                  const rf_modules *modules, int has_moments)
{
    *s = (rf_beam_snapshot){.params = params, .modules = modules, .has_moments = has_moments};
    s->begin = calloc(2 * (size_t)modules->count + 1, sizeof *s->begin);
    if (!s->begin) return rf_fail(RF_RESOURCES, "no memory for beamlora's snapshot");
    for (int64_t i = 0; i < 2 * modules->count; i++) {
        s->begin[i] = s->items;
        s->items += params->row[factor_row(s, i)].items;
    }
    return RF_OK;
}

void rf_beam_snapshot_destroy(rf_beam_snapshot *s)
{
    free(s->begin);
    *s = (rf_beam_snapshot){0};
}

void rf_beam_snapshot_layout(rf_beam_snapshot *s, rf_arena *run)
{
    for (int p = 0; p < parts_of(s); p++) s->part[p] = RF_TAKE(run, rf_real, s->items);
}

void rf_beam_snapshot_take(rf_beam_snapshot *s)
{
    for (int64_t i = 0; i < 2 * s->modules->count; i++) {
        const rf_param *row = &s->params->row[factor_row(s, i)];
        for (int p = 0; p < parts_of(s); p++)
            memcpy(s->part[p] + s->begin[i], source(s->params, p) + row->offset,
                   (size_t)row->items * sizeof(rf_real));
    }
}

rf_status rf_beam_snapshot_fields(const rf_beam_snapshot *s, rf_fields *fields)
{
    static const char *const names[] = {"value", "m", "v"};
    for (int64_t i = 0; i < 2 * s->modules->count; i++) {
        const rf_param *row = &s->params->row[factor_row(s, i)];
        for (int p = 0; p < parts_of(s); p++)
            RF_TRY(rf_fields_add(fields, row->shape, RF_DTYPE_REAL, s->part[p] + s->begin[i],
                                 "/method/beamlora/snapshot/%.150s/%c/%s",
                                 s->modules->item[i / 2].name, i % 2 == 0 ? 'A' : 'B', names[p]));
    }
    return RF_OK;
}

/* Rank p of `to` <- rank q of `from` (zero without it): row of A or column of B, all slices. */
static void copy_rank(rf_real *to, const rf_real *from, const rf_param *row, const rf_grid *grid,
                      rf_side side, int64_t p, int64_t q)
{
    const int cut = row->shape.split != RF_REPLICATED;
    for (int s = cut ? grid->slice_begin : 0; s < (cut ? grid->slice_end : 1); s++) {
        const int64_t at = rf_slice_offset(&row->shape, grid->slice_begin, s);
        const int64_t rows = rf_slice_rows(&row->shape, s), cols = rf_slice_cols(&row->shape, s);
        const int64_t n = side == RF_FACTOR_A ? cols : rows, step = side == RF_FACTOR_A ? 1 : cols;
        const int64_t to_at = at + (side == RF_FACTOR_A ? p * cols : p);
        const int64_t from_at = at + (side == RF_FACTOR_A ? q * cols : q);
        for (int64_t i = 0; i < n; i++) to[to_at + i * step] = from ? from[from_at + i * step] : 0;
    }
}

static void clone_factor(rf_params *params, const rf_grid *grid, const rf_beam_snapshot *snapshot,
                         int64_t i, const rf_beam_clone *pair, rf_beam_moments moments)
{
    const rf_param *row = &params->row[factor_row(snapshot, i)];
    for (int part = 0; part < (moments == RF_BEAM_KEEP ? 1 : 3); part++) {
        const int zero = part > 0 && moments == RF_BEAM_ZERO;
        copy_rank(source(params, part) + row->offset,
                  zero ? NULL : snapshot->part[part] + snapshot->begin[i], row, grid,
                  i % 2 == 0 ? RF_FACTOR_A : RF_FACTOR_B, pair->pruned, pair->promising);
    }
}

/* tau ln((e^(p / tau) + e^(q / tau)) / 2), or (p + q) / 2. */
static double mean_gate(double p, double q, const rf_beam_options *options)
{
    if (!options->averages_scores) return (p + q) / 2;
    const double most = p > q ? p : q, least = p > q ? q : p, tau = options->temperature;
    return most + tau * log((1 + exp((least - most) / tau)) / 2);
}

void rf_beam_expand(rf_params *params, const rf_grid *grid, const rf_modules *modules, int64_t m,
                    const rf_beam_snapshot *snapshot, const rf_beam_clone *pairs, int64_t count,
                    const rf_beam_options *options)
{
    rf_real *gate = params->value + params->row[modules->item[m].gate].offset;
    for (int64_t i = 0; i < count; i++) {
        const rf_beam_clone *pair = &pairs[i];
        clone_factor(params, grid, snapshot, 2 * m, pair, options->moments);
        clone_factor(params, grid, snapshot, 2 * m + 1, pair, options->moments);
        const double mean =
            mean_gate((double)gate[pair->pruned], (double)gate[pair->promising], options);
        gate[pair->pruned] = gate[pair->promising] = (rf_real)mean;
    }
}

void rf_beam_forget_gates(rf_params *params, const rf_modules *modules)
{
    for (int64_t m = 0; m < modules->count; m++) {
        const rf_param *row = &params->row[modules->item[m].gate];
        memset(params->moment1 + row->offset, 0, (size_t)row->items * sizeof(rf_real));
        memset(params->moment2 + row->offset, 0, (size_t)row->items * sizeof(rf_real));
    }
}
