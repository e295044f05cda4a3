/**
 * BeamLoRA's events: which ranks are pruned, which are expanded into their places, and how.
 *
 * A rank's importance is its score sigma = r softmax(g / tau); at an event ranks below the dynamic
 * Top-P threshold are overwritten by earlier versions (a snapshot) of the best ranks of the same
 * module. Gu et al. 2025, ACL 2025 long 582, and its released code. Every decision is a function of
 * replicated gates, the seed and the step, so all ranks of the job take the same one.
 */
#ifndef RF_METHOD_BEAM_H
#define RF_METHOD_BEAM_H

#include <stdint.h>

#include "refract/method/method.h"

/** When what happens; t counts updates done, from 1. */
typedef struct rf_beam_schedule {
    int64_t interval; /**< steps between events: even, at least 4 */
    int64_t steps;    /**< of the run */
    double keep;      /**< threshold at the start, in (0, 1] */
    double end;       /**< step from which nothing is pruned any more */
} rf_beam_schedule;

/** Keep-threshold p = 1 - (1 - keep) (1 + cos(pi (t - 1) / end)) / 2; 1 from t - 1 = end on. Local.
 */
double rf_beam_threshold(const rf_beam_schedule *schedule, int64_t t);
/** 1 when update t ends with an event: t a multiple of the interval, an interval left, p < 1.
 * Local. */
int rf_beam_is_event(const rf_beam_schedule *schedule, int64_t t);
/** 1 when update t, interval / 2 + 1 into an interval that ends with an event, is remembered.
 * Local. */
int rf_beam_is_snapshot(const rf_beam_schedule *schedule, int64_t t);
/** 1 when after update t a snapshot is held for an event to come. Local. */
int rf_beam_holds_snapshot(const rf_beam_schedule *schedule, int64_t t);

/**
 * Top-P over scores of ranks [begin[0], begin[count]), module by module: sorted by (score
 * descending, index ascending), ranks from the first one on whose cumulative score exceeds
 * keep * (number of ranks) are pruned, itself included; none for keep >= 1. is_capped: at most half
 * of a module, its best ranks are spared. Sets pruned [...] to 0 or 1 and returns how many are.
 * order: scratch, two numbers per rank. Local.
 */
int64_t rf_beam_select(unsigned char *pruned, const double *score, const int64_t *begin,
                       int64_t count, double keep, int is_capped, int64_t *order);

/** One rank's place taken by another. */
typedef struct rf_beam_clone {
    int64_t pruned, promising;
} rf_beam_clone;

/**
 * Pairs of one module: the pruned slots in increasing order with its best ranks, as many, in an
 * order drawn for (seed, stream). Returns their number; order: scratch, three numbers per rank.
 * Local.
 */
int64_t rf_beam_pair_up(rf_beam_clone *pairs, const unsigned char *pruned, const double *score,
                        int64_t r, uint64_t seed, uint64_t stream, int64_t *order);

typedef enum rf_beam_moments {
    RF_BEAM_INHERIT, /**< a clone takes the snapshot's moments */
    RF_BEAM_KEEP,    /**< it keeps those of the rank that it replaces */
    RF_BEAM_ZERO
} rf_beam_moments;

/** Factors (and their moments) of all modules as they were some updates ago. */
typedef struct rf_beam_snapshot {
    const rf_params *params; /**< borrowed, like modules */
    const rf_modules *modules;
    int has_moments;
    int64_t *begin; /**< [2 modules] of A and B in the arrays; owned */
    int64_t items;
    rf_real *part[3]; /**< values, first and second moments */
} rf_beam_snapshot;

rf_status rf_beam_snapshot_create(rf_beam_snapshot *snapshot, const rf_params *params,
                                  const rf_modules *modules, int has_moments);
void rf_beam_snapshot_destroy(rf_beam_snapshot *snapshot);
void rf_beam_snapshot_layout(rf_beam_snapshot *snapshot, rf_arena *run);
/** Copies the present state. Local. */
void rf_beam_snapshot_take(rf_beam_snapshot *snapshot);
/** Its arrays as fields below /method/beamlora. Local; RF_RESOURCES. */
rf_status rf_beam_snapshot_fields(const rf_beam_snapshot *snapshot, rf_fields *fields);

/** How clones are made. */
typedef struct rf_beam_options {
    rf_beam_moments moments;
    int averages_scores; /**< 1: a pair's gates give the mean of its scores; 0: mean of logits */
    double temperature;
} rf_beam_options;

/**
 * Module m's pruned slots become the snapshot's promising ranks: row of A, column of B, moments by
 * the options; both gates of a pair get their mean. Local.
 */
void rf_beam_expand(rf_params *params, const rf_grid *grid, const rf_modules *modules, int64_t m,
                    const rf_beam_snapshot *snapshot, const rf_beam_clone *pairs, int64_t count,
                    const rf_beam_options *options);

/** Moments of every module's gates <- 0. Local. */
void rf_beam_forget_gates(rf_params *params, const rf_modules *modules);

#endif
