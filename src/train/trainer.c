#include "refract/train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "refract/base/stop.h"

const char *rf_step_phase_name(int phase)
{
    static const char *const names[RF_STEP_PHASES] = {"gradients", "tensor", "reduce", "update"};
    return names[phase];
}

/* Buffers for the nodes of this rank's micro-batches: fewer when one rank gets all of them. */
static int gradient_slots(const rf_trainer *t)
{
    const int64_t leaves = rf_batches_max_micro(t->batches);
    const int all = rf_tree_slots(leaves, t->grid->dp_size == 1);
    const int64_t own = (leaves + t->grid->dp_size - 1) / t->grid->dp_size;
    return own + 1 < all ? (int)own + 1 : all;
}

void rf_trainer_layout(rf_trainer *t, rf_arena *run, rf_arena *scratch)
{
    const int64_t leaves = rf_batches_max_micro(t->batches);
    const int64_t items = t->decoder->params.trained_items;
    rf_collector_layout_as(&t->collector, run, t->grid->dp, t->grid->dp_rank, t->grid->dp_size,
                           leaves);
    rf_tree_layout(&t->tree, run, items, gradient_slots(t));
    rf_norm_parts_layout(&t->norm_parts, run, &t->decoder->params, t->grid->slices);
    rf_micro_view_layout(&t->view, run, t->decoder->max_tokens);
    t->local_loss = RF_TAKE(run, double, leaves);
    t->all_loss = RF_TAKE(run, double, leaves);
    if (t->decoder->measures) {
        t->local_ratio = RF_TAKE(run, double, leaves * t->decoder->adapted);
        t->all_ratio = RF_TAKE(run, double, leaves * t->decoder->adapted);
    }
    t->scratch = RF_TAKE(scratch, rf_real, rf_collect_scratch(&t->collector, items, leaves));
    rf_methods_layout(&t->methods, run, scratch);
}

/* "3, 17, 5": the samples of a micro-batch, as far as they fit. */
static void list_samples(char *text, size_t bytes, const rf_micro *micro)
{
    size_t at = 0;
    text[0] = '\0';
    for (int64_t i = 0; i < micro->samples && at + 24 < bytes; i++)
        at += (size_t)snprintf(text + at, bytes - at, "%s%lld", i ? ", " : "",
                               (long long)micro->sample[i]);
}

static rf_status check_losses(const rf_trainer *t, const rf_step_batches *batch)
{
    for (int64_t i = 0; i < batch->micro_count; i++) {
        if (isfinite(t->all_loss[i])) continue;
        char samples[1024];
        list_samples(samples, sizeof samples, &batch->micro[i]);
        return rf_fail(RF_NONFINITE,
                       "the loss is not finite at step %lld (samples %s). No weight was changed: "
                       "lower train.learning_rate or look at these samples",
                       (long long)t->step + 1, samples);
    }
    return RF_OK;
}

static rf_status check_norm(const rf_trainer *t, double norm)
{
    if (isfinite(norm)) return RF_OK;
    const char *tensor = rf_gradient_blame(&t->decoder->params, &t->norm_parts, t->grid->slices);
    return rf_fail(RF_NONFINITE,
                   "the gradient is not finite at step %lld (tensor '%s'). No weight was changed: "
                   "lower train.learning_rate",
                   (long long)t->step + 1, tensor ? tensor : "all together");
}

/* Gradients of this rank's micro-batches as nodes of the tree; their losses. */
static void own_gradients(rf_trainer *t, const rf_step_batches *batch)
{
    const int64_t count = batch->micro_count;
    const int64_t begin = rf_part_begin(count, t->grid->dp_rank, t->grid->dp_size);
    const int64_t end = rf_part_begin(count, t->grid->dp_rank + 1, t->grid->dp_size);
    const rf_real scale = (rf_real)(1.0 / (double)batch->label_tokens);
    rf_tree_start(&t->tree, count, begin);
    for (int64_t i = begin; i < end; i++) {
        rf_head_result result = {0};
        const rf_tokens *tokens =
            rf_micro_view_fill(&t->view, &batch->micro[i], t->seed, t->is_dropping);
        rf_decoder_loss(t->decoder, tokens, scale, &result, rf_tree_leaf(&t->tree));
        rf_tree_push(&t->tree);
        t->local_loss[i - begin] = result.loss;
        if (t->decoder->measures)
            memcpy(t->local_ratio + (i - begin) * t->decoder->adapted, t->decoder->ratio,
                   (size_t)t->decoder->adapted * sizeof *t->local_ratio);
    }
}

/* decoder->ratio <- means over all tokens of the step. */
static void mean_ratios(rf_trainer *t, const rf_step_batches *batch)
{
    const int64_t count = t->decoder->adapted;
    if (!t->decoder->measures) return;
    rf_collect_sum_wide(&t->collector, t->all_ratio, t->local_ratio, count, batch->micro_count);
    for (int64_t i = 0; i < count; i++)
        t->decoder->ratio[i] = t->all_ratio[i] / (double)batch->tokens;
}

rf_status rf_trainer_gradient(rf_trainer *t, rf_step_report *report, rf_real **gradient)
{
    const double start = rf_clock_seconds(), tensor = t->decoder->context.reduce_seconds;
    const rf_step_batches *batch = rf_batches_step(t->batches, t->step - t->first);
    *report = (rf_step_report){.step = t->step + 1,
                               .learning_rate = rf_schedule_rate(&t->schedule, t->step - t->first),
                               .tokens = batch->tokens,
                               .label_tokens = batch->label_tokens,
                               .samples = batch->samples};
    rf_decoder_prepare(t->decoder);
    own_gradients(t, batch);
    const double reduce = rf_clock_seconds();
    rf_collect_gather(&t->collector, t->all_loss, t->local_loss, batch->micro_count);
    mean_ratios(t, batch);
    RF_TRY(check_losses(t, batch));
    report->loss =
        rf_tree_sum_doubles(t->all_loss, batch->micro_count) / (double)batch->label_tokens;
    *gradient = t->tree.data[0];
    rf_collect_sum(&t->collector, *gradient, t->tree.data, t->decoder->params.trained_items,
                   batch->micro_count, NULL, t->scratch);
    rf_methods_gradient(&t->methods, *gradient);
    report->grad_norm = rf_gradient_norm(t->grid, &t->decoder->params, *gradient, &t->norm_parts);
    const double end = rf_clock_seconds();
    report->phase[RF_STEP_GRADIENTS] = reduce - start;
    report->phase[RF_STEP_TENSOR] = t->decoder->context.reduce_seconds - tensor;
    report->phase[RF_STEP_REDUCE] = end - reduce;
    report->seconds = end - start;
    return check_norm(t, report->grad_norm);
}

rf_method_step rf_trainer_method_step(const rf_trainer *t, const rf_step_report *report)
{
    return (rf_method_step){.number = report->step - t->first,
                            .scale = rf_clip_scale(report->grad_norm, t->max_grad_norm),
                            .rate = report->learning_rate};
}

void rf_trainer_update(rf_trainer *t, rf_step_report *report, rf_real *gradient)
{
    const double start = rf_clock_seconds();
    const rf_method_step step = rf_trainer_method_step(t, report);
    rf_methods_update(&t->methods, &step, gradient);
    t->step++;
    report->phase[RF_STEP_UPDATE] = rf_clock_seconds() - start;
    report->seconds += report->phase[RF_STEP_UPDATE];
}

void rf_trainer_event(rf_trainer *t, rf_step_report *report)
{
    const double start = rf_clock_seconds();
    const rf_method_step step = rf_trainer_method_step(t, report);
    rf_methods_event(&t->methods, &step);
    const double seconds = rf_clock_seconds() - start;
    report->phase[RF_STEP_UPDATE] += seconds;
    report->seconds += seconds;
}
