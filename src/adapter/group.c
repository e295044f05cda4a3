#include "refract/adapter/group.h"

#include <stdlib.h>

#include "parts.h"

rf_status rf_adapters_add(rf_adapters *g, rf_adapter *adapter)
{
    if (g->count == g->capacity) {
        const int64_t capacity = g->capacity ? 2 * g->capacity : 64;
        rf_adapter **member = realloc(g->member, (size_t)capacity * sizeof *member);
        if (!member) return rf_fail(RF_RESOURCES, "no memory for the list of adapters");
        g->member = member;
        g->capacity = capacity;
    }
    g->member[g->count++] = adapter;
    return RF_OK;
}

static int64_t parts_of(const rf_adapter *adapter)
{
    return adapter->kind->parts ? adapter->kind->parts(adapter) : 0;
}

void rf_adapters_layout(rf_adapters *g, rf_arena *arena)
{
    const int64_t own = g->grid->slice_end - g->grid->slice_begin;
    int64_t parts = 0;
    g->part_at = RF_TAKE(arena, int64_t, g->count);
    for (int64_t i = 0; i < g->count; i++) {
        rf_adapter *adapter = g->member[i];
        start_layout(adapter, arena);
        if (adapter->kind->layout) adapter->kind->layout(adapter, arena);
        parts += parts_of(adapter);
    }
    g->part_count = parts;
    g->own_parts = RF_TAKE(arena, double, own *parts);
    g->all_parts = RF_TAKE(arena, double, g->grid->slices *parts);
}

int64_t rf_adapters_scratch(const rf_adapters *g)
{
    int64_t most = 0;
    for (int64_t i = 0; i < g->count; i++) {
        const rf_adapter *adapter = g->member[i];
        const int64_t items = adapter->kind->scratch ? adapter->kind->scratch(adapter) : 0;
        if (items > most) most = items;
    }
    return most;
}

/* Places of the members' sums; not kept in the layout, which may run on a counting arena. */
static void place_parts(rf_adapters *g)
{
    int64_t at = 0;
    for (int64_t i = 0; i < g->count; i++) {
        g->part_at[i] = at;
        at += parts_of(g->member[i]);
    }
}

/* Every member's parts of this rank's slices. */
static void measure(rf_adapters *g, rf_adapter_stage stage, int64_t scratch)
{
    const int begin = g->grid->slice_begin;
    const int64_t own = g->grid->slice_end - begin;
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < g->count * own; i++) {
        const rf_adapter *adapter = g->member[i / own];
        const int64_t slice = i % own;
        if (parts_of(adapter) == 0) continue;
        adapter->kind->measure(adapter, stage, begin + (int)slice,
                               g->own_parts + slice * g->part_count + g->part_at[i / own],
                               rf_workspace_mine(g->workspace, scratch));
    }
}

void rf_adapters_prepare(rf_adapters *g, rf_adapter_stage stage)
{
    const int64_t scratch = rf_adapters_scratch(g);
    if (g->part_count > 0) {
        place_parts(g);
        measure(g, stage, scratch);
        rf_collect_sum_wide(g->collector, g->all_parts, g->own_parts, g->part_count,
                            g->grid->slices);
    }
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < g->count; i++) {
        rf_adapter *adapter = g->member[i];
        if (!adapter->kind->prepare) continue;
        const double *sums = g->part_count > 0 ? g->all_parts + g->part_at[i] : NULL;
        adapter->kind->prepare(adapter, stage, sums, rf_workspace_mine(g->workspace, scratch));
    }
}

void rf_adapters_finish(rf_adapters *g)
{
#pragma omp parallel for schedule(dynamic)
    for (int64_t i = 0; i < g->count; i++)
        if (g->member[i]->kind->finish) g->member[i]->kind->finish(g->member[i]);
}

void rf_adapters_destroy(rf_adapters *g)
{
    free(g->member);
    *g = (rf_adapters){0};
}
