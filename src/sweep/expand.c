/* From axes to runs: points of the list x grid x random samples x seeds, the last the fastest. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "refract/base/rng.h"

enum { ASSIGNMENT_BYTES = 4400, MOST_RUNS = 1000000 };

typedef struct expansion {
    const sweep_text *from;
    rf_sweep *out;
    int64_t grid; /* combinations */
} expansion;

rf_status sweep_add_run(rf_sweep *sweep, rf_sweep_run **run)
{
    if (sweep->count == sweep->capacity) {
        const int64_t capacity = sweep->capacity ? 2 * sweep->capacity : 64;
        rf_sweep_run *grown = realloc(sweep->run, (size_t)capacity * sizeof *grown);
        if (!grown) return rf_fail(RF_RESOURCES, "no memory for %lld runs", (long long)capacity);
        sweep->run = grown;
        sweep->capacity = capacity;
    }
    *run = &sweep->run[sweep->count++];
    **run = (rf_sweep_run){.id = ""};
    return RF_OK;
}

static int has_key(const rf_texts *keys, const char *key)
{
    for (int i = 0; i < keys->count; i++)
        if (strcmp(keys->item[i], key) == 0) return 1;
    return 0;
}

/* Keys of one part; one that another part has, too, would be set twice. */
static rf_status add_keys(rf_texts *keys, const rf_texts *others, const sweep_axes *axes)
{
    for (int i = 0; i < axes->count; i++) {
        const char *key = axes->item[i].key;
        if (has_key(others, key))
            return rf_fail(RF_USAGE,
                           "'%s' stands in two of grid, list, random and seeds (the sweep). Keep "
                           "it in one",
                           key);
        if (!has_key(keys, key)) RF_TRY(rf_texts_add(keys, key));
    }
    return RF_OK;
}

static rf_status name_keys(const sweep_text *from, rf_sweep *sweep)
{
    char seed[] = "train.seed";
    sweep_axis seed_axis = {.key = seed};
    const sweep_axes seeds = {.item = &seed_axis, .count = from->seeds.count > 0};
    const rf_texts none = {.count = 0};
    for (int i = 0; i < from->points; i++) RF_TRY(add_keys(&sweep->keys, &none, &from->point[i]));
    RF_TRY(add_keys(&sweep->keys, &sweep->keys, &from->grid));
    RF_TRY(add_keys(&sweep->keys, &sweep->keys, &from->random));
    return add_keys(&sweep->keys, &sweep->keys, &seeds);
}

static rf_status assign(rf_sweep_run *run, const char *key, const char *value)
{
    char text[ASSIGNMENT_BYTES];
    snprintf(text, sizeof text, "%.200s=%.4096s", key, value);
    return rf_texts_add(&run->set, text);
}

/* The draw of one key in one sample: a function of seed, key and sample. */
static rf_status assign_draw(rf_sweep_run *run, const sweep_axis *axis, uint64_t seed,
                             int64_t sample)
{
    char text[64];
    const double u = rf_random_uniform(seed, rf_stream(axis->key, 0, 0), (uint64_t)sample);
    switch (axis->draw) {
    case DRAW_CHOICE:
        return assign(run, axis->key, axis->value.item[(int)(u * axis->value.count)]);
    case DRAW_UNIFORM:
        snprintf(text, sizeof text, "%.6g", axis->low + u * (axis->high - axis->low));
        break;
    case DRAW_LOG:
        snprintf(text, sizeof text, "%.6g", axis->low * pow(axis->high / axis->low, u));
        break;
    case DRAW_INTEGER:
        snprintf(text, sizeof text, "%.0f",
                 ceil(axis->low) + floor(u * (floor(axis->high) - ceil(axis->low) + 1)));
        break;
    case DRAW_NONE:
        RF_ASSERT(0, "'%s' has no draw", axis->key);
    }
    return assign(run, axis->key, text);
}

/* Combination number `which` of the grid: the last key is the fastest. */
static rf_status assign_grid(rf_sweep_run *run, const sweep_axes *grid, int64_t which)
{
    int64_t below = 1;
    for (int i = 0; i < grid->count; i++) below *= grid->item[i].value.count;
    for (int i = 0; i < grid->count; i++) {
        const rf_texts *value = &grid->item[i].value;
        below /= value->count;
        RF_TRY(assign(run, grid->item[i].key, value->item[which / below % value->count]));
    }
    return RF_OK;
}

static rf_status make_run(expansion *e, int64_t point, int64_t combination, int64_t sample,
                          int64_t seed)
{
    const sweep_text *from = e->from;
    rf_sweep_run *run = NULL;
    RF_TRY(sweep_add_run(e->out, &run));
    for (int i = 0; from->points > 0 && i < from->point[point].count; i++) {
        const sweep_axis *axis = &from->point[point].item[i];
        RF_TRY(assign(run, axis->key, axis->value.item[0]));
    }
    RF_TRY(assign_grid(run, &from->grid, combination));
    for (int i = 0; i < from->random.count; i++)
        RF_TRY(assign_draw(run, &from->random.item[i], (uint64_t)from->random_seed, sample));
    return from->seeds.count > 0 ? assign(run, "train.seed", from->seeds.item[seed]) : RF_OK;
}

static int64_t at_least_one(int64_t count)
{
    return count > 0 ? count : 1;
}

rf_status sweep_expand(const sweep_text *from, rf_sweep *sweep)
{
    expansion e = {.from = from, .out = sweep, .grid = 1};
    RF_TRY(name_keys(from, sweep));
    const int64_t points = at_least_one(from->points), samples = at_least_one(from->samples);
    const int64_t seeds = at_least_one(from->seeds.count);
    double total = (double)points * (double)samples * (double)seeds;
    for (int i = 0; i < from->grid.count; i++) {
        total *= from->grid.item[i].value.count;
        if (total > MOST_RUNS)
            return rf_fail(RF_USAGE, "the sweep has more than %d runs. Make its grid smaller",
                           MOST_RUNS);
        e.grid *= from->grid.item[i].value.count;
    }
    for (int64_t p = 0; p < points; p++)
        for (int64_t g = 0; g < e.grid; g++)
            for (int64_t r = 0; r < samples; r++)
                for (int64_t s = 0; s < seeds; s++) RF_TRY(make_run(&e, p, g, r, s));
    return RF_OK;
}
