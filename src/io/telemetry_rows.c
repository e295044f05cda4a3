#include "telemetry_private.h"

/* One row, at once visible. */
static rf_status put_row(rf_telemetry *telemetry, rf_table table, const void *const *values,
                         int count)
{
    RF_TRY(rf_telemetry_append(telemetry, table, values, count));
    return rf_telemetry_flush(telemetry, table);
}

rf_status rf_telemetry_step(rf_telemetry *telemetry, const rf_step_row *row)
{
    const void *values[] = {&row->step,          &row->loss,    &row->grad_norm,
                            &row->learning_rate, &row->tokens,  &row->label_tokens,
                            &row->samples,       &row->seconds, row->phase_seconds};
    return telemetry ? put_row(telemetry, RF_TABLE_STEPS, values, 9) : RF_OK;
}

rf_status rf_telemetry_eval(rf_telemetry *telemetry, const rf_eval_row *row)
{
    const void *values[] = {&row->step, &row->loss, &row->label_tokens, &row->correct, &row->total};
    return telemetry ? put_row(telemetry, RF_TABLE_EVALS, values, 5) : RF_OK;
}

rf_status rf_telemetry_ranks(rf_telemetry *telemetry, int64_t step, const double *importance,
                             const double *norm_a, const double *norm_b)
{
    const void *values[] = {&step, importance, norm_a, norm_b};
    return telemetry ? put_row(telemetry, RF_TABLE_RANKS, values, 4) : RF_OK;
}

rf_status rf_telemetry_beam_event(rf_telemetry *telemetry, int64_t step, double keep,
                                  int64_t pruned, const int64_t *pruned_of)
{
    if (!telemetry) return RF_OK;
    const int64_t at = rf_telemetry_step_of(telemetry, step);
    const void *values[] = {&at, &keep, &pruned, pruned_of};
    return put_row(telemetry, RF_TABLE_BEAM_EVENTS, values, 4);
}

rf_status rf_telemetry_beam_pairs(rf_telemetry *telemetry, const rf_beam_pair *pairs, int64_t count)
{
    if (!telemetry || count == 0) return RF_OK;
    for (int64_t i = 0; i < count; i++) {
        const rf_beam_pair *pair = &pairs[i];
        const int64_t step = rf_telemetry_step_of(telemetry, pair->step);
        const int64_t module = rf_telemetry_module_of(telemetry, pair->module);
        const void *values[] = {&step,
                                &module,
                                &pair->pruned,
                                &pair->promising,
                                &pair->score_pruned,
                                &pair->score_promising};
        RF_TRY(rf_telemetry_append(telemetry, RF_TABLE_BEAM_PAIRS, values, 6));
    }
    return rf_telemetry_flush(telemetry, RF_TABLE_BEAM_PAIRS);
}

rf_status rf_telemetry_reflora(rf_telemetry *telemetry, int64_t step, const double *condition,
                               const double *norm_a, const double *norm_b, const uint8_t *fallback)
{
    if (!telemetry) return RF_OK;
    const int64_t at = rf_telemetry_step_of(telemetry, step);
    const void *values[] = {&at, condition, norm_a, norm_b, fallback};
    return put_row(telemetry, RF_TABLE_REFLORA, values, 5);
}

rf_status rf_telemetry_light(rf_telemetry *telemetry, const rf_light_row *row)
{
    const void *values[] = {
        &row->step,          row->head_score,        row->head_kept,        row->head_threshold,
        row->neuron_score,   row->neuron_kept,       row->neuron_threshold, row->module_score,
        row->module_kept,    &row->module_threshold, row->rank_score,       row->rank_kept,
        &row->rank_threshold};
    return telemetry ? put_row(telemetry, RF_TABLE_LIGHT, values, 13) : RF_OK;
}
