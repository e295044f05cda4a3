/** Micro-batches as the model reads them. */
#ifndef RF_TRAIN_MICRO_H
#define RF_TRAIN_MICRO_H

#include "refract/base/arena.h"
#include "refract/data/batches.h"
#include "refract/model/decoder.h"

/** Arrays beside a micro-batch's own, for up to max_tokens tokens. */
typedef struct rf_micro_view {
    int64_t *row; /**< positions that predict a label */
    int32_t *target;
    uint64_t *row_key; /**< of dropout */
    rf_dropout dropout;
    rf_tokens tokens;
} rf_micro_view;

/** Cuts the arrays out of an arena. Local. */
void rf_micro_view_layout(rf_micro_view *view, rf_arena *arena, int64_t max_tokens);

/** Fills the view of one micro-batch; is_dropping: keys of dropout too. Local. */
const rf_tokens *rf_micro_view_fill(rf_micro_view *view, const rf_micro *micro, uint64_t seed,
                                    int is_dropping);

#endif
