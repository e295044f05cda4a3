/* Which ranks go, and which take their places. */
#include <string.h>

#include "refract/base/rng.h"
#include "refract/method/beam.h"

/* Merges neighbouring runs of `span` indices: higher scores first, of equal ones the lower index.
 */
static void merge(int64_t *to, const int64_t *from, int64_t n, int64_t span, const double *score)
{
    for (int64_t start = 0; start < n; start += 2 * span) {
        const int64_t middle = start + span < n ? start + span : n;
        const int64_t end = start + 2 * span < n ? start + 2 * span : n;
        int64_t left = start, right = middle;
        for (int64_t k = start; k < end; k++) {
            const int takes_left =
                left < middle && (right >= end || score[from[left]] >= score[from[right]]);
            to[k] = takes_left ? from[left++] : from[right++];
        }
    }
}

/* order [2 n]: its first half <- 0 .. n-1, best score first. */
static void sort(int64_t *order, const double *score, int64_t n)
{
    int64_t *from = order, *to = order + n;
    for (int64_t i = 0; i < n; i++) from[i] = i;
    for (int64_t span = 1; span < n; span *= 2) {
        merge(to, from, n, span, score);
        int64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != order) memcpy(order, from, (size_t)n * sizeof *order);
}

/* First place of the order whose cumulative score exceeds the limit; n if none does. */
static int64_t crossing(const int64_t *order, const double *score, int64_t n, double limit)
{
    double sum = 0;
    for (int64_t k = 0; k < n; k++) {
        sum += score[order[k]];
        if (sum > limit) return k;
    }
    return n;
}

/* Spares the best of a module of which more than half is pruned; returns how many. */
static int64_t spare(unsigned char *pruned, const int64_t *order, int64_t from, int64_t n,
                     int64_t begin, int64_t end)
{
    int64_t excess = -((end - begin) / 2), spared = 0;
    for (int64_t i = begin; i < end; i++) excess += pruned[i];
    for (int64_t k = from; k < n && spared < excess; k++) {
        if (order[k] < begin || order[k] >= end) continue;
        pruned[order[k]] = 0;
        spared++;
    }
    return spared;
}

int64_t rf_beam_select(unsigned char *pruned, const double *score, const int64_t *begin,
                       int64_t count, double keep, int is_capped, int64_t *order)
{
    const int64_t first = begin[0], n = begin[count] - first;
    memset(pruned + first, 0, (size_t)n);
    if (keep >= 1) return 0;
    sort(order, score + first, n);
    const int64_t from = crossing(order, score + first, n, keep * (double)n);
    for (int64_t k = from; k < n; k++) pruned[first + order[k]] = 1;
    int64_t total = n - from;
    for (int64_t m = 0; m < count && is_capped; m++)
        total -= spare(pruned + first, order, from, n, begin[m] - first, begin[m + 1] - first);
    return total;
}

int64_t rf_beam_pair_up(rf_beam_clone *pairs, const unsigned char *pruned, const double *score,
                        int64_t r, uint64_t seed, uint64_t stream, int64_t *order)
{
    int64_t count = 0, *drawn = order + 2 * r;
    for (int64_t k = 0; k < r; k++)
        if (pruned[k]) pairs[count++].pruned = k;
    sort(order, score, r);
    rf_random_permutation(drawn, count, seed, stream);
    for (int64_t k = 0; k < count; k++) pairs[k].promising = order[drawn[k]];
    return count;
}
