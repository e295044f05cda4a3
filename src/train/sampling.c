#include "sampling.h"

#include <math.h>

#include "refract/base/rng.h"

rf_sampling rf_sampling_greedy(int64_t max_new_tokens)
{
    return (rf_sampling){.top_p = 1, .max_new_tokens = max_new_tokens};
}

static int64_t largest(const rf_real *logits, int64_t vocab)
{
    int64_t most = 0;
    for (int64_t i = 1; i < vocab; i++)
        if (logits[i] > logits[most]) most = i;
    return most;
}

static rf_status check_finite(const rf_real *logits, int64_t vocab, int64_t index)
{
    int bad = 0;
    for (int64_t i = 0; i < vocab; i++) bad |= !isfinite(logits[i]);
    if (!bad) return RF_OK;
    return rf_fail(RF_NONFINITE,
                   "logits that are no finite numbers (prompt %lld). Check the model's weights, or "
                   "try compute.precision: f32",
                   (long long)index);
}

/* Heap order: heavier first, the lower id of equal ones. */
static int precedes(candidate a, candidate b)
{
    return a.weight != b.weight ? a.weight > b.weight : a.id < b.id;
}

static void sink(candidate *heap, int64_t count, int64_t at)
{
    const candidate moved = heap[at];
    for (int64_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && precedes(heap[child + 1], heap[child])) child++;
        if (!precedes(heap[child], moved)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

static void make_heap(candidate *heap, int64_t count)
{
    for (int64_t i = count / 2 - 1; i >= 0; i--) sink(heap, count, i);
}

/* The heap's first, which goes to its end. */
static candidate pop(candidate *heap, int64_t count)
{
    const candidate first = heap[0];
    heap[0] = heap[count - 1];
    heap[count - 1] = first;
    sink(heap, count - 1, 0);
    return first;
}

/* Takes the top_k largest and their ties to the end of the heap; returns where they begin. */
static int64_t keep_top_k(candidate *heap, int64_t count, int64_t top_k)
{
    int64_t left = count;
    candidate last = {0};
    while (left > 0 && (count - left < top_k || heap[0].weight == last.weight))
        last = pop(heap, left--);
    return left;
}

static double sum_weights(const candidate *kept, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += kept[i].weight;
    return sum;
}

/* The heaviest whose sum reaches top_p of `sum`, at the end of the heap; returns where they begin.
 */
static int64_t keep_top_p(candidate *heap, int64_t count, double top_p, double sum)
{
    int64_t left = count;
    double above = 0;
    while (left > 0 && (left == count || above < top_p * sum)) above += pop(heap, left--).weight;
    return left;
}

static int32_t draw(const candidate *kept, int64_t count, double uniform)
{
    const double goal = uniform * sum_weights(kept, count);
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        sum += kept[i].weight;
        if (sum > goal) return kept[i].id;
    }
    return kept[count - 1].id;
}

rf_status sampling_take(const rf_sampling *sampling, const rf_real *logits, int64_t vocab,
                        int64_t index, int64_t token, candidate *heap, int32_t *taken)
{
    RF_TRY(check_finite(logits, vocab, index));
    const int64_t most = largest(logits, vocab);
    *taken = (int32_t)most;
    if (sampling->temperature <= 0) return RF_OK;
    const double top = (double)logits[most];
    for (int64_t i = 0; i < vocab; i++)
        heap[i] = (candidate){((double)logits[i] - top) / sampling->temperature, (int32_t)i};
    const int cuts_k = sampling->top_k > 0 && sampling->top_k < vocab, cuts_p = sampling->top_p < 1;
    int64_t begin = 0;
    if (cuts_k) {
        make_heap(heap, vocab);
        begin = keep_top_k(heap, vocab, sampling->top_k);
    }
    candidate *kept = heap + begin;
    int64_t count = vocab - begin;
    for (int64_t i = 0; i < count; i++) kept[i].weight = exp(kept[i].weight);
    if (cuts_p) {
        const double sum = sum_weights(kept, count);
        make_heap(kept, count);
        begin = keep_top_p(kept, count, sampling->top_p, sum);
        kept += begin;
        count -= begin;
    }
    const uint64_t stream = rf_stream("generate", (uint64_t)index, 0);
    *taken = draw(kept, count, rf_random_uniform(sampling->seed, stream, (uint64_t)token));
    return RF_OK;
}
