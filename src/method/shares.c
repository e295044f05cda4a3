#include "refract/method/shares.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "refract/comm/share.h"

/* Modules are dealt to replicas one by one, then to the tensor-parallel ranks of each. */
static int replica_of(const rf_shares *s, int64_t m)
{
    return (int)(m % s->grid->dp_size);
}

static int tp_owner_of(const rf_shares *s, int64_t m)
{
    return (int)(m / s->grid->dp_size % s->grid->tp_size);
}

static int owner_of(const rf_shares *s, int64_t m)
{
    return replica_of(s, m) * s->grid->tp_size + tp_owner_of(s, m);
}

/* Exclusive prefix sums; returns the total. */
static int add_up(int *begin, const int *count, int n)
{
    int64_t total = 0;
    for (int i = 0; i < n; i++) {
        begin[i] = (int)total;
        total += count[i];
    }
    RF_ASSERT(total < INT_MAX / 8, "%lld numbers to share out", (long long)total);
    return (int)total;
}

static void fill_tables(rf_shares *s)
{
    const rf_grid *grid = s->grid;
    for (int64_t m = 0; m < s->modules->count; m++) { /* places within an owner's range */
        const int64_t r = s->modules->item[m].r;
        const int owner = owner_of(s, m), tp = tp_owner_of(s, m);
        s->out_at[m] = s->out_count[owner];
        s->out_count[owner] += (int)s->out(r);
        if (replica_of(s, m) != grid->dp_rank) continue;
        s->in_at[m] = s->in_count[tp];
        s->in_count[tp] += (int)s->in(r);
    }
    add_up(s->in_begin, s->in_count, grid->tp_size);
    add_up(s->out_begin, s->out_count, grid->size);
}

rf_status rf_shares_create(rf_shares *s, const rf_grid *grid, const rf_modules *modules,
                           rf_share_size *in, rf_share_size *out)
{
    *s = (rf_shares){.grid = grid, .modules = modules, .in = in, .out = out};
    const size_t count = (size_t)modules->count + 1;
    s->in_at = calloc(2 * count, sizeof *s->in_at);
    s->in_count = calloc(2 * (size_t)(grid->tp_size + grid->size), sizeof *s->in_count);
    if (!s->in_at || !s->in_count) {
        rf_shares_destroy(s);
        return rf_fail(RF_RESOURCES, "no memory for the modules' shares of work");
    }
    s->out_at = s->in_at + count;
    s->in_begin = s->in_count + grid->tp_size;
    s->out_count = s->in_begin + grid->tp_size;
    s->out_begin = s->out_count + grid->size;
    fill_tables(s);
    return RF_OK;
}

void rf_shares_destroy(rf_shares *s)
{
    free(s->in_at);
    free(s->in_count);
    *s = (rf_shares){0};
}

static int64_t node_items(const rf_shares *s)
{
    const int last = s->grid->tp_size - 1;
    return s->in_begin[last] + s->in_count[last];
}

void rf_shares_layout(rf_shares *s, rf_arena *scratch)
{
    const rf_grid *grid = s->grid;
    const int64_t own_in = s->in_count[grid->tp_rank], own_out = s->out_count[grid->rank];
    s->node = RF_TAKE(scratch, double, node_items(s));
    s->sum = grid->tp_size == 1 ? s->node : RF_TAKE(scratch, double, own_in);
    s->scratch = RF_TAKE(scratch, double, grid->tp_size == 1 ? 0 : own_in * grid->tp_size);
    s->own = RF_TAKE(scratch, double, own_out);
    s->all = grid->size == 1 ? s->own
                             : RF_TAKE(scratch, double,
                                       s->out_begin[grid->size - 1] + s->out_count[grid->size - 1]);
}

int rf_shares_measures(const rf_shares *s, int64_t m)
{
    return replica_of(s, m) == s->grid->dp_rank;
}

int rf_shares_owns(const rf_shares *s, int64_t m)
{
    return owner_of(s, m) == s->grid->rank;
}

int rf_shares_measures_row(const rf_shares *s, int64_t m, const rf_param *row)
{
    return row->shape.split != RF_REPLICATED || tp_owner_of(s, m) == s->grid->tp_rank;
}

double *rf_shares_node(const rf_shares *s, int64_t m)
{
    return s->node + s->in_begin[tp_owner_of(s, m)] + s->in_at[m];
}

void rf_shares_start(rf_shares *s)
{
    memset(s->node, 0, (size_t)node_items(s) * sizeof *s->node);
}

void rf_shares_sum(rf_shares *s)
{
    if (s->grid->tp_size > 1)
        rf_share_sum(s->grid->tp, s->sum, s->node, s->in_count, s->in_begin, s->scratch);
}

double *rf_shares_total(const rf_shares *s, int64_t m)
{
    return s->sum + s->in_at[m];
}

double *rf_shares_result(const rf_shares *s, int64_t m)
{
    return s->own + s->out_at[m];
}

void rf_shares_spread(rf_shares *s)
{
    if (s->grid->size > 1)
        rf_share_spread(s->grid->world, s->all, s->own, s->out_count, s->out_begin);
}

const double *rf_shares_get(const rf_shares *s, int64_t m)
{
    return s->all + s->out_begin[owner_of(s, m)] + s->out_at[m];
}
