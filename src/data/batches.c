#include "refract/data/batches.h"

#include <stdlib.h>

#include "refract/base/rng.h"

struct rf_batches {
    const rf_samples *samples; /* borrowed */
    int64_t batch_size, micro_tokens, steps_per_epoch, most_micro;
    uint64_t seed;
    int shuffle;
    int64_t *order; /* [samples->count] of `epoch` */
    int64_t epoch;  /* -1: none laid out yet */
    rf_micro *micro;
    int64_t *begin, *sample, *ordinal; /* [most_samples + most_micro], [most_samples] twice */
    int32_t *ids, *labels, *position;  /* [most_tokens] */
    rf_step_batches step;
};

typedef struct bounds {
    int64_t samples, tokens, micro;
} bounds;

static int64_t tokens_of(const rf_samples *samples, int64_t i)
{
    return samples->offset[i + 1] - samples->offset[i];
}

static int descending(const void *left, const void *right)
{
    const int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a < b) - (a > b);
}

/*
 * No step holds more tokens than the longest samples together. Two neighbouring micro-batches hold
 * more than micro_tokens, hence at most 2 ceil(tokens / micro_tokens) - 1 of them.
 */
static bounds largest_step(const rf_samples *samples, int64_t batch_size, int64_t micro_tokens,
                           int64_t *scratch)
{
    bounds most = {.samples = batch_size < samples->count ? batch_size : samples->count};
    for (int64_t i = 0; i < samples->count; i++) scratch[i] = tokens_of(samples, i);
    qsort(scratch, (size_t)samples->count, sizeof *scratch, descending);
    for (int64_t i = 0; i < most.samples; i++) most.tokens += scratch[i];
    most.micro = 2 * ((most.tokens + micro_tokens - 1) / micro_tokens) - 1;
    if (most.micro > most.samples) most.micro = most.samples;
    return most;
}

static int take_memory(rf_batches *b, bounds most)
{
    RF_ASSERT(most.samples > 0 && most.tokens > 0 && most.micro > 0, "steps without samples");
    b->micro = calloc((size_t)most.micro, sizeof *b->micro);
    b->begin = calloc((size_t)(most.samples + most.micro), sizeof *b->begin);
    b->sample = calloc((size_t)most.samples, sizeof *b->sample);
    b->ordinal = calloc((size_t)most.samples, sizeof *b->ordinal);
    b->ids = calloc((size_t)most.tokens, sizeof *b->ids);
    b->labels = calloc((size_t)most.tokens, sizeof *b->labels);
    b->position = calloc((size_t)most.tokens, sizeof *b->position);
    return b->micro && b->begin && b->sample && b->ordinal && b->ids && b->labels && b->position;
}

static rf_status set_up(rf_batches *b)
{
    const rf_samples *samples = b->samples;
    b->order = calloc((size_t)samples->count, sizeof *b->order);
    if (!b->order || RF_FAULT_AT("batches.memory"))
        return rf_fail(RF_RESOURCES, "no memory for the order of %lld samples",
                       (long long)samples->count);
    const bounds most = largest_step(samples, b->batch_size, b->micro_tokens, b->order);
    if (!take_memory(b, most))
        return rf_fail(RF_RESOURCES,
                       "no memory for a step of %lld samples, %lld tokens. Use a smaller "
                       "train.batch_size",
                       (long long)most.samples, (long long)most.tokens);
    b->most_micro = most.micro;
    return RF_OK;
}

static rf_status check_samples(const rf_samples *samples, int64_t micro_tokens)
{
    if (samples->count == 0) return rf_fail(RF_INPUT, "no samples to lay out. Check data.*");
    for (int64_t i = 0; i < samples->count; i++) {
        RF_ASSERT(tokens_of(samples, i) > 0, "sample %lld is empty", (long long)i);
        if (tokens_of(samples, i) > micro_tokens)
            return rf_fail(RF_USAGE,
                           "sample %lld has %lld tokens, a micro-batch at most %lld "
                           "(train.micro_tokens). Raise train.micro_tokens or lower "
                           "data.max_length",
                           (long long)i, (long long)tokens_of(samples, i), (long long)micro_tokens);
    }
    return RF_OK;
}

rf_status rf_batches_create(rf_batches **batches, const rf_samples *samples, int64_t batch_size,
                            int64_t micro_tokens, uint64_t seed, int shuffle)
{
    RF_ASSERT(batch_size > 0 && micro_tokens > 0, "batch size %lld, micro tokens %lld",
              (long long)batch_size, (long long)micro_tokens);
    *batches = NULL;
    RF_TRY(check_samples(samples, micro_tokens));
    rf_batches *b = calloc(1, sizeof *b);
    if (!b) return rf_fail(RF_RESOURCES, "no memory for the batches");
    b->samples = samples;
    b->batch_size = batch_size;
    b->micro_tokens = micro_tokens;
    b->seed = seed;
    b->shuffle = shuffle;
    b->epoch = -1;
    b->steps_per_epoch = (samples->count - 1) / batch_size + 1;
    const rf_status status = set_up(b);
    if (status != RF_OK) rf_batches_destroy(&b);
    *batches = b;
    return status;
}

void rf_batches_destroy(rf_batches **batches)
{
    rf_batches *b = *batches;
    *batches = NULL;
    if (!b) return;
    free(b->order);
    free(b->micro);
    free(b->begin);
    free(b->sample);
    free(b->ordinal);
    free(b->ids);
    free(b->labels);
    free(b->position);
    free(b);
}

int64_t rf_batches_steps_per_epoch(const rf_batches *batches)
{
    return batches->steps_per_epoch;
}

int64_t rf_batches_max_micro(const rf_batches *batches)
{
    return batches->most_micro;
}

static void lay_out_epoch(rf_batches *b, int64_t epoch)
{
    if (b->epoch == epoch) return;
    const int64_t n = b->samples->count;
    if (b->shuffle)
        rf_random_permutation(b->order, n, b->seed, rf_stream("shuffle", (uint64_t)epoch, 0));
    else
        for (int64_t i = 0; i < n; i++) b->order[i] = i;
    b->epoch = epoch;
}

/* Appends the step's i-th sample, `index`, to its newest micro-batch; the arrays have the room. */
static void append_sample(rf_batches *b, int64_t i, int64_t index, int64_t ordinal)
{
    rf_micro *micro = &b->micro[b->step.micro_count - 1];
    const int64_t from = b->samples->offset[index], tokens = tokens_of(b->samples, index);
    int32_t *ids = b->ids + b->step.tokens, *labels = b->labels + b->step.tokens;
    int32_t *position = b->position + b->step.tokens;
    for (int64_t t = 0; t < tokens; t++) {
        ids[t] = b->samples->ids[from + t];
        labels[t] = b->samples->labels[from + t];
        position[t] = (int32_t)t;
        micro->label_tokens += t > 0 && labels[t] != RF_NO_LABEL;
    }
    b->sample[i] = index;
    b->ordinal[i] = ordinal;
    micro->samples++;
    micro->tokens += tokens;
    b->begin[i + b->step.micro_count] = micro->tokens;
    b->step.tokens += tokens;
}

/* Opens a micro-batch whose first sample is the step's i-th. */
static rf_micro *open_micro(rf_batches *b, int64_t i)
{
    const int64_t count = b->step.micro_count++;
    RF_ASSERT(count < b->most_micro, "micro-batch %lld of at most %lld", (long long)count,
              (long long)b->most_micro);
    b->begin[i + count] = 0;
    b->micro[count] = (rf_micro){.begin = b->begin + i + count,
                                 .sample = b->sample + i,
                                 .ordinal = b->ordinal + i,
                                 .ids = b->ids + b->step.tokens,
                                 .labels = b->labels + b->step.tokens,
                                 .position = b->position + b->step.tokens};
    return &b->micro[count];
}

const rf_step_batches *rf_batches_step(rf_batches *b, int64_t step)
{
    RF_ASSERT(step >= 0, "step %lld", (long long)step);
    lay_out_epoch(b, step / b->steps_per_epoch);
    const int64_t first = step % b->steps_per_epoch * b->batch_size;
    const int64_t left = b->samples->count - first;
    b->step = (rf_step_batches){.micro = b->micro,
                                .samples = left < b->batch_size ? left : b->batch_size};
    rf_micro *micro = NULL;
    for (int64_t i = 0; i < b->step.samples; i++) {
        const int64_t index = b->order[first + i], tokens = tokens_of(b->samples, index);
        if (!micro || micro->tokens + tokens > b->micro_tokens) micro = open_micro(b, i);
        append_sample(b, i, index, step * b->batch_size + i);
    }
    for (int64_t m = 0; m < b->step.micro_count; m++)
        b->step.label_tokens += b->micro[m].label_tokens;
    return &b->step;
}
