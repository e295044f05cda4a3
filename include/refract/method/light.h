/**
 * Light-PEFT: what an estimation stage says may go, and what is kept of it.
 *
 * During the estimation masks on heads and neurons are trained with the adapters under an L1
 * penalty, and adapters are scored: a module by the mean of ||s B A x|| / ||W x + b|| over tokens,
 * a rank by |mean_j A_kj dA_kj| + |mean_i B_ik dB_ik|, both averaged over the stage's second half.
 * Gu et al. 2024, Findings of ACL 2024.447, and its released code. Every decision is a function of
 * numbers that all ranks have, so all take the same one.
 */
#ifndef RF_METHOD_LIGHT_H
#define RF_METHOD_LIGHT_H

#include <stdint.h>

#include "refract/base/config.h"
#include "refract/method/method.h"

/** n - 1 - floor((n - 1) share) of n are kept; all where share is 0. Local. */
int64_t rf_light_keep_count(int64_t n, double share);

/**
 * Keeps the best of n scores, so many as rf_light_keep_count says; of equal ones the lower index.
 * kept [n] <- 1 or 0; *threshold (may be NULL) <- the quantile `share` of the scores (linear
 * interpolation), -infinity for share 0. order: scratch [2 n]. Returns how many are kept. Local.
 */
int64_t rf_light_select(uint8_t *kept, const double *score, int64_t n, double share, int64_t *order,
                        double *threshold);

/** The same for every row of [rows, n], where at least the best one of a row is kept; or, with
 * is_global, for all together and then at least one of every row. threshold [rows]. Local. */
void rf_light_select_rows(uint8_t *kept, const double *score, int64_t rows, int64_t n, double share,
                          int is_global, int64_t *order, double *threshold);

/** Shares pruned and where things compete. */
typedef struct rf_light_options {
    int64_t steps;  /**< of the estimation */
    double penalty; /**< of the masks' absolute values */
    double heads, neurons, modules, ranks;
    int neurons_by_layer, ranks_by_module; /**< 1: they compete within it; 0: over all */
} rf_light_options;

/** Reads the keys light.*. Local; RF_USAGE. */
rf_status rf_light_options_read(rf_light_options *options, const rf_config *config);

/** gradient [trained_items] += penalty * sign(m) for every mask m of heads and neurons. Local. */
void rf_light_penalise(const rf_decoder *decoder, double penalty, rf_real *gradient);

/** Steps of the estimation stage of a run; 0 where the method has none. Local. */
int64_t rf_light_steps(const rf_config *config);

/**
 * Modules of highest score, then the best ranks of those: r [count], rank_score and rank_kept one
 * after another, module by module. A module without ranks goes; one module and one rank stay in any
 * case. thresholds [2] of modules and ranks (NaN for ranks_by_module). order: scratch, four per
 * rank or module. Local.
 */
void rf_light_select_ranks(uint8_t *module_kept, uint8_t *rank_kept, const double *module_score,
                           const double *rank_score, const int64_t *r, int64_t count,
                           const rf_light_options *options, int64_t *order, double thresholds[2]);

/**
 * |mean_j A_kj dA_kj| + |mean_i B_ik dB_ik| from the two sums over j and i. Local.
 */
double rf_light_rank_score(double sum_a, double sum_b, int64_t d_in, int64_t d_out);

/** 1 when step `number` (from 1) of the estimation counts for the averages: its second half. Local.
 */
int rf_light_counts(int64_t number, int64_t steps);

/** sum += score of a counted step, 0 for one that is not finite; a mean divides by
 * rf_light_divisor. Local. */
void rf_light_add(double *sum, const double *score, int64_t n);
int64_t rf_light_divisor(int64_t steps);

#endif
