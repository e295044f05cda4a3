/**
 * Work per module, shared out over all ranks: each rank measures what it holds of a module (its
 * slices), the sums over slices land on the module's owner, the owner works on them, every rank
 * gets every module's result. Two collectives per use whatever the number of modules.
 */
#ifndef RF_METHOD_SHARES_H
#define RF_METHOD_SHARES_H

#include "refract/method/method.h"

/** Numbers that a module needs, from its rank r. */
typedef int64_t rf_share_size(int64_t r);

typedef struct rf_shares {
    const rf_grid *grid; /**< borrowed, like modules */
    const rf_modules *modules;
    rf_share_size *in, *out;
    int64_t *in_at, *out_at;    /**< [modules] in node or sum; in all */
    int *in_count, *in_begin;   /**< [tp] of this rank's replica, by owner */
    int *out_count, *out_begin; /**< [ranks] */
    double *node, *sum, *own, *all, *scratch;
} rf_shares;

/** Tables for in(r) numbers measured and out(r) numbers made per module. Local; RF_RESOURCES. */
rf_status rf_shares_create(rf_shares *shares, const rf_grid *grid, const rf_modules *modules,
                           rf_share_size *in, rf_share_size *out);
void rf_shares_destroy(rf_shares *shares);
void rf_shares_layout(rf_shares *shares, rf_arena *scratch);

/** 1 when this rank's replica measures module m; 1 when this rank owns it. Local. */
int rf_shares_measures(const rf_shares *shares, int64_t m);
int rf_shares_owns(const rf_shares *shares, int64_t m);
/** 1 when this rank measures what all ranks hold: a replicated factor of module m. Local. */
int rf_shares_measures_row(const rf_shares *shares, int64_t m, const rf_param *row);

/** Where a measuring rank puts its node [in], all +0 before. Local. */
double *rf_shares_node(const rf_shares *shares, int64_t m);
/** Begins anew: nodes are +0. Local. */
void rf_shares_start(rf_shares *shares);
/** Adds the nodes up. Collective over tp. */
void rf_shares_sum(rf_shares *shares);
/** On the owner: sums [in], and where the result [out] goes. Local. */
double *rf_shares_total(const rf_shares *shares, int64_t m);
double *rf_shares_result(const rf_shares *shares, int64_t m);
/** Spreads the results. Collective over world. */
void rf_shares_spread(rf_shares *shares);
/** On every rank: module m's result [out]. Local. */
const double *rf_shares_get(const rf_shares *shares, int64_t m);

#endif
