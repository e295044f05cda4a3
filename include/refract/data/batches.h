/**
 * Data order and micro-batches: functions of (seed, step) and of the samples alone, never of the
 * ranks.
 */
#ifndef RF_DATA_BATCHES_H
#define RF_DATA_BATCHES_H

#include <stdint.h>

#include "refract/base/status.h"
#include "refract/data/samples.h"

/** One micro-batch: whole samples laid end to end. Arrays are borrowed from the rf_step_batches. */
typedef struct rf_micro {
    int64_t tokens; /**< T */
    int64_t samples;
    int64_t label_tokens;  /**< labels that count */
    const int64_t *begin;  /**< [samples + 1] first row of each sample; begin[samples] = tokens */
    const int64_t *sample; /**< [samples] index into rf_samples */
    const int64_t
        *ordinal;       /**< [samples] position of the sample in the run: step * batch_size + i */
    const int32_t *ids; /**< [tokens] */
    const int32_t *labels;   /**< [tokens]; row t predicts labels[t + 1] of the same sample */
    const int32_t *position; /**< [tokens] position within the sample, from 0 */
} rf_micro;

typedef struct rf_batches rf_batches;

/**
 * Batches of `batch_size` samples, an epoch of ceil(n / batch_size) steps (the last one short),
 * each epoch shuffled by f(seed, epoch) when `shuffle`; a step's samples fill micro-batches in
 * order, a new one starting when the next sample would exceed micro_tokens. Borrows samples. The
 * caller owns *batches. Local; RF_USAGE when a sample is longer than micro_tokens, RF_RESOURCES.
 */
rf_status rf_batches_create(rf_batches **batches, const rf_samples *samples, int64_t batch_size,
                            int64_t micro_tokens, uint64_t seed, int shuffle);
void rf_batches_destroy(rf_batches **batches);

int64_t rf_batches_steps_per_epoch(const rf_batches *batches);

/** What one optimizer step will read; valid until the next call of rf_batches_step. */
typedef struct rf_step_batches {
    int64_t micro_count;
    const rf_micro *micro;                 /**< [micro_count] */
    int64_t samples, tokens, label_tokens; /**< of the whole step */
} rf_step_batches;

/** Lays out step `step` (from 0, over all epochs). Allocates nothing. Local; cannot fail. */
const rf_step_batches *rf_batches_step(rf_batches *batches, int64_t step);

/** Largest number of micro-batches, samples and tokens of any step; bounds for the plan. Local. */
int64_t rf_batches_max_micro(const rf_batches *batches);

#endif
