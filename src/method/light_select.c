/* Light-PEFT: which heads, neurons, modules and ranks are kept. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "refract/method/light.h"

int64_t rf_light_keep_count(int64_t n, double share)
{
    if (share <= 0) return n;
    return n - 1 - (int64_t)floor((double)(n - 1) * share);
}

/* Merges the sorted halves of order [n] (score descending, then index ascending) through spare. */
static void merge_halves(int64_t *order, int64_t *spare, int64_t half, int64_t n,
                         const double *score)
{
    int64_t a = 0, b = half;
    for (int64_t i = 0; i < n; i++)
        spare[i] =
            b == n || (a < half && score[order[a]] >= score[order[b]]) ? order[a++] : order[b++];
    memcpy(order, spare, (size_t)n * sizeof *order);
}

/* Indices of the scores from the best on; of equal ones the lower index comes first. */
static void sort_best_first(int64_t *order, int64_t *spare, int64_t n, const double *score)
{
    for (int64_t i = 0; i < n; i++) order[i] = i;
    for (int64_t size = 1; size < n; size *= 2)
        for (int64_t at = 0; at + size < n; at += 2 * size)
            merge_halves(order + at, spare, size, n - at < 2 * size ? n - at : 2 * size, score);
}

static double quantile(const int64_t *best_first, const double *score, int64_t n, double share)
{
    if (share <= 0) return -INFINITY;
    const double place = (double)(n - 1) * share;
    const int64_t below = (int64_t)floor(place), above = below + 1 < n ? below + 1 : below;
    const double low = score[best_first[n - 1 - below]], high = score[best_first[n - 1 - above]];
    return low + (high - low) * (place - (double)below);
}

int64_t rf_light_select(uint8_t *kept, const double *score, int64_t n, double share, int64_t *order,
                        double *threshold)
{
    const int64_t count = rf_light_keep_count(n, share);
    sort_best_first(order, order + n, n, score);
    for (int64_t i = 0; i < n; i++) kept[i] = 0;
    for (int64_t i = 0; i < count; i++) kept[order[i]] = 1;
    if (threshold) *threshold = quantile(order, score, n, share);
    return count;
}

static int64_t best_of(const double *score, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (score[i] > score[best]) best = i;
    return best;
}

void rf_light_select_rows(uint8_t *kept, const double *score, int64_t rows, int64_t n, double share,
                          int is_global, int64_t *order, double *threshold)
{
    if (is_global) rf_light_select(kept, score, rows * n, share, order, threshold);
    for (int64_t row = 0; row < rows; row++) {
        if (is_global)
            threshold[row] = threshold[0];
        else
            rf_light_select(kept + row * n, score + row * n, n, share, order, threshold + row);
        if (!memchr(kept + row * n, 1, (size_t)n)) kept[row * n + best_of(score + row * n, n)] = 1;
    }
}

/* Ranks of kept modules, gathered and selected together. */
static double select_gathered(uint8_t *rank_kept, const uint8_t *module_kept,
                              const double *rank_score, const int64_t *r, int64_t count,
                              double share, int64_t *order)
{
    int64_t ranks = 0, total = 0, at = 0;
    double threshold = NAN;
    for (int64_t m = 0; m < count; m++) total += r[m];
    double *score = (double *)(void *)(order + 2 * total);
    uint8_t *kept = (uint8_t *)(score + total);
    for (int64_t m = 0; m < count; at += r[m++])
        for (int64_t k = 0; module_kept[m] && k < r[m]; k++) score[ranks++] = rank_score[at + k];
    rf_light_select(kept, score, ranks, share, order, &threshold);
    at = ranks = 0;
    for (int64_t m = 0; m < count; at += r[m++])
        for (int64_t k = 0; module_kept[m] && k < r[m]; k++) rank_kept[at + k] = kept[ranks++];
    return threshold;
}

/* The best rank of a kept module, where no rank at all is left. */
static void keep_one(uint8_t *module_kept, uint8_t *rank_kept, const double *rank_score,
                     const int64_t *r, int64_t count)
{
    int64_t best = -1, best_module = 0, at = 0;
    for (int64_t m = 0; m < count; at += r[m++])
        for (int64_t k = 0; module_kept[m] && k < r[m]; k++) {
            if (rank_kept[at + k]) return;
            if (best >= 0 && rank_score[at + k] <= rank_score[best]) continue;
            best = at + k;
            best_module = m;
        }
    rank_kept[best] = 1;
    module_kept[best_module] = 1;
}

void rf_light_select_ranks(uint8_t *module_kept, uint8_t *rank_kept, const double *module_score,
                           const double *rank_score, const int64_t *r, int64_t count,
                           const rf_light_options *options, int64_t *order, double thresholds[2])
{
    int64_t at = 0;
    if (rf_light_select(module_kept, module_score, count, options->modules, order, thresholds) == 0)
        module_kept[best_of(module_score, count)] = 1;
    for (int64_t m = 0; m < count; at += r[m++]) memset(rank_kept + at, 0, (size_t)r[m]);
    thresholds[1] = NAN;
    if (!options->ranks_by_module)
        thresholds[1] =
            select_gathered(rank_kept, module_kept, rank_score, r, count, options->ranks, order);
    at = 0;
    for (int64_t m = 0; options->ranks_by_module && m < count; at += r[m++])
        if (module_kept[m])
            rf_light_select(rank_kept + at, rank_score + at, r[m], options->ranks, order, NULL);
    keep_one(module_kept, rank_kept, rank_score, r, count);
    at = 0;
    for (int64_t m = 0; m < count; at += r[m++])
        if (!memchr(rank_kept + at, 1, (size_t)r[m])) module_kept[m] = 0;
}

double rf_light_rank_score(double sum_a, double sum_b, int64_t d_in, int64_t d_out)
{
    return fabs(sum_a / (double)d_in) + fabs(sum_b / (double)d_out);
}

int rf_light_counts(int64_t number, int64_t steps)
{
    return number > steps / 2 && number <= steps;
}

void rf_light_add(double *sum, const double *score, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (isfinite(score[i])) sum[i] += score[i];
}

int64_t rf_light_divisor(int64_t steps)
{
    return steps - steps / 2;
}
