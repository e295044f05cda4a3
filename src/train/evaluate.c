#include "refract/train/evaluate.h"

#include <string.h>

#include "refract/comm/stop.h"

rf_status rf_evaluator_create(rf_evaluator *e, const rf_samples *samples, int64_t micro_tokens)
{
    memset(e, 0, sizeof *e);
    RF_TRY(rf_batches_create(&e->batches, samples, samples->count, micro_tokens, 0, 0));
    const rf_step_batches *all = rf_batches_step(e->batches, 0);
    e->micro_count = all->micro_count;
    for (int64_t i = 0; i < all->micro_count; i++) {
        if (all->micro[i].tokens > e->most_tokens) e->most_tokens = all->micro[i].tokens;
        if (all->micro[i].samples > e->most_samples) e->most_samples = all->micro[i].samples;
    }
    return RF_OK;
}

static void layout(rf_evaluator *e, rf_arena *arena, const rf_grid *grid)
{
    rf_collector_layout_as(&e->collector, arena, grid->dp, grid->dp_rank, grid->dp_size,
                           e->micro_count);
    rf_micro_view_layout(&e->view, arena, e->most_tokens);
    e->correct = RF_TAKE(arena, unsigned char, e->most_tokens);
    e->local_loss = RF_TAKE(arena, double, e->micro_count);
    e->local_correct = RF_TAKE(arena, double, e->micro_count);
    e->all = RF_TAKE(arena, double, 2 * e->micro_count);
}

size_t rf_evaluator_bytes(rf_evaluator *e, const rf_grid *grid)
{
    rf_arena plan = rf_arena_counting("evaluation");
    layout(e, &plan, grid);
    return plan.peak;
}

rf_status rf_evaluator_allocate(rf_evaluator *e, const rf_grid *grid)
{
    RF_TRY(rf_arena_create(&e->arena, "evaluation", rf_evaluator_bytes(e, grid)));
    layout(e, &e->arena, grid);
    return RF_OK;
}

void rf_evaluator_destroy(rf_evaluator *e)
{
    rf_batches_destroy(&e->batches);
    rf_arena_destroy(&e->arena);
}

/* Samples whose labels are all the most likely tokens; rows come in token order. */
static int64_t count_correct(const rf_micro *micro, const rf_tokens *tokens,
                             const unsigned char *correct)
{
    int64_t row = 0, samples = 0;
    for (int64_t s = 0; s < micro->samples; s++) {
        int all = 1;
        for (; row < tokens->rows && tokens->row[row] < micro->begin[s + 1]; row++)
            all &= correct[row];
        samples += all;
    }
    return samples;
}

static void evaluate_micro(rf_evaluator *e, rf_decoder *decoder, const rf_micro *micro, int64_t at)
{
    rf_head_result result = {.correct = e->correct};
    const rf_tokens *tokens = rf_micro_view_fill(&e->view, micro, 0, 0);
    rf_decoder_loss(decoder, tokens, 1, &result, NULL);
    e->local_loss[at] = result.loss;
    e->local_correct[at] = (double)count_correct(micro, tokens, e->correct);
}

rf_status rf_evaluate(rf_evaluator *e, rf_decoder *decoder, const rf_stop_watch *watch,
                      rf_evaluation *evaluation)
{
    const rf_grid *grid = decoder->grid;
    const double start = rf_clock_seconds();
    const rf_step_batches *all = rf_batches_step(e->batches, 0);
    const int64_t count = all->micro_count;
    const int64_t begin = rf_part_begin(count, grid->dp_rank, grid->dp_size);
    const int64_t end = rf_part_begin(count, grid->dp_rank + 1, grid->dp_size);
    rf_decoder_prepare(decoder);
    const int64_t rounds = (count + grid->dp_size - 1) / grid->dp_size;
    for (int64_t round = 0; round < rounds; round++) {
        if (watch && rf_stop_agreed(grid->world, watch) != RF_STOP_NONE)
            return rf_fail(RF_STOPPED, "stopped during an evaluation. Run the same command again");
        const int64_t i = begin + round;
        if (i < end) evaluate_micro(e, decoder, &all->micro[i], round);
    }
    double *losses = e->all, *corrects = e->all + count;
    rf_collect_gather(&e->collector, losses, e->local_loss, count);
    rf_collect_gather(&e->collector, corrects, e->local_correct, count);
    *evaluation =
        (rf_evaluation){.loss = rf_tree_sum_doubles(losses, count) / (double)all->label_tokens,
                        .label_tokens = all->label_tokens,
                        .samples = all->samples,
                        .correct = (int64_t)rf_tree_sum_doubles(corrects, count),
                        .seconds = rf_clock_seconds() - start};
    return RF_OK;
}
