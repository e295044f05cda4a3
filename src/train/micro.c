#include "refract/train/micro.h"

void rf_micro_view_layout(rf_micro_view *view, rf_arena *arena, int64_t max_tokens)
{
    view->row = RF_TAKE(arena, int64_t, max_tokens);
    view->target = RF_TAKE(arena, int32_t, max_tokens);
    view->row_key = RF_TAKE(arena, uint64_t, max_tokens);
}

const rf_tokens *rf_micro_view_fill(rf_micro_view *view, const rf_micro *micro, uint64_t seed,
                                    int is_dropping)
{
    int64_t rows = 0;
    for (int64_t s = 0; s < micro->samples; s++)
        for (int64_t t = micro->begin[s]; t < micro->begin[s + 1]; t++) {
            if (is_dropping)
                view->row_key[t] = rf_dropout_row_key(micro->ordinal[s], micro->position[t]);
            if (t == micro->begin[s] || micro->labels[t] == RF_NO_LABEL) continue;
            view->row[rows] = t - 1;
            view->target[rows++] = micro->labels[t];
        }
    view->dropout = (rf_dropout){.seed = seed, .row_key = view->row_key};
    view->tokens = (rf_tokens){.tokens = micro->tokens,
                               .samples = micro->samples,
                               .begin = micro->begin,
                               .ids = micro->ids,
                               .position = micro->position,
                               .rows = rows,
                               .row = view->row,
                               .target = view->target,
                               .dropout = is_dropping ? &view->dropout : NULL};
    return &view->tokens;
}
