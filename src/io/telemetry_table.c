#include "telemetry_table.h"

#include <stddef.h>

/* clang-format off */
const rf_column rf_columns[] = {
    {RF_TABLE_STEPS, "/steps/step", RF_I64, RF_ONE, "1", "updates done; the first row is 1"},
    {RF_TABLE_STEPS, "/steps/loss", RF_F64, RF_ONE, "nats per label token", "training loss: sum over the label tokens of the step divided by their number"},
    {RF_TABLE_STEPS, "/steps/grad_norm", RF_F64, RF_ONE, "1", "2-norm of the gradient of every trained tensor, before clipping"},
    {RF_TABLE_STEPS, "/steps/learning_rate", RF_F64, RF_ONE, "1", "learning rate of the update"},
    {RF_TABLE_STEPS, "/steps/tokens", RF_I64, RF_ONE, "tokens", "tokens read in the step"},
    {RF_TABLE_STEPS, "/steps/label_tokens", RF_I64, RF_ONE, "tokens", "tokens that carry a label"},
    {RF_TABLE_STEPS, "/steps/samples", RF_I64, RF_ONE, "samples", "samples read in the step"},
    {RF_TABLE_STEPS, "/steps/seconds", RF_F64, RF_ONE, "s", "wall time of the step"},
    {RF_TABLE_STEPS, "/timing/seconds", RF_F64, RF_PER_PHASE, "s", "time by phase (/timing/phases), mean over ranks; rows as /steps"},

    {RF_TABLE_EVALS, "/evals/step", RF_I64, RF_ONE, "1", "updates done before the evaluation"},
    {RF_TABLE_EVALS, "/evals/loss", RF_F64, RF_ONE, "nats per label token", "loss on the evaluation data"},
    {RF_TABLE_EVALS, "/evals/label_tokens", RF_I64, RF_ONE, "tokens", "tokens that carry a label"},
    {RF_TABLE_EVALS, "/evals/correct", RF_I64, RF_ONE, "samples", "samples all of whose label tokens are the most likely ones"},
    {RF_TABLE_EVALS, "/evals/total", RF_I64, RF_ONE, "samples", "samples evaluated"},

    {RF_TABLE_RANKS, "/ranks/step", RF_I64, RF_ONE, "1", "updates done; the state after the update and before an event of that step"},
    {RF_TABLE_RANKS, "/ranks/importance", RF_F64, RF_PER_RANK, "1", "importance of each rank [module, rank]: BeamLoRA's sigma, else |b_i| |a_i| s; NaN where a rank does not exist"},
    {RF_TABLE_RANKS, "/ranks/norm_a", RF_F64, RF_PER_RANK, "1", "2-norm of row i of A [module, rank]"},
    {RF_TABLE_RANKS, "/ranks/norm_b", RF_F64, RF_PER_RANK, "1", "2-norm of column i of B [module, rank]"},

    {RF_TABLE_BEAM_EVENTS, "/beam/events/step", RF_I64, RF_ONE, "1", "step of the event (only events with a threshold below 1)"},
    {RF_TABLE_BEAM_EVENTS, "/beam/events/keep", RF_F64, RF_ONE, "1", "keep-threshold of the dynamic Top-P"},
    {RF_TABLE_BEAM_EVENTS, "/beam/events/pruned", RF_I64, RF_ONE, "ranks", "ranks pruned in all modules, after the cap"},
    {RF_TABLE_BEAM_EVENTS, "/beam/pruned", RF_I64, RF_PER_MODULE, "ranks", "ranks pruned in each module; rows as /beam/events"},

    {RF_TABLE_BEAM_PAIRS, "/beam/pairs/step", RF_I64, RF_ONE, "1", "step of the event"},
    {RF_TABLE_BEAM_PAIRS, "/beam/pairs/module", RF_I64, RF_ONE, "1", "row of /modules, from 0"},
    {RF_TABLE_BEAM_PAIRS, "/beam/pairs/pruned", RF_I64, RF_ONE, "1", "rank that was pruned, from 0"},
    {RF_TABLE_BEAM_PAIRS, "/beam/pairs/promising", RF_I64, RF_ONE, "1", "rank it was made from, from 0"},
    {RF_TABLE_BEAM_PAIRS, "/beam/pairs/score_pruned", RF_F64, RF_ONE, "1", "sigma of the pruned rank before the event"},
    {RF_TABLE_BEAM_PAIRS, "/beam/pairs/score_promising", RF_F64, RF_ONE, "1", "sigma of the promising rank before the event"},

    {RF_TABLE_REFLORA, "/reflora/step", RF_I64, RF_ONE, "1", "step of the refactoring"},
    {RF_TABLE_REFLORA, "/reflora/condition", RF_F64, RF_PER_MODULE, "1", "larger condition number of the two Gram matrices of each module"},
    {RF_TABLE_REFLORA, "/reflora/norm_a", RF_F64, RF_PER_MODULE, "1", "Frobenius norm of A"},
    {RF_TABLE_REFLORA, "/reflora/norm_b", RF_F64, RF_PER_MODULE, "1", "Frobenius norm of B"},
    {RF_TABLE_REFLORA, "/reflora/fallback", RF_U8, RF_PER_MODULE, "1", "1 where the scalar S was used, else 0"},

    {RF_TABLE_LIGHT, "/light/step", RF_I64, RF_ONE, "1", "step of the prune"},
    {RF_TABLE_LIGHT, "/light/head_score", RF_F64, RF_PER_HEAD, "1", "mask of each head [layer, head] at the end of the estimation"},
    {RF_TABLE_LIGHT, "/light/head_kept", RF_U8, RF_PER_HEAD, "1", "1 where the head was kept"},
    {RF_TABLE_LIGHT, "/light/head_threshold", RF_F64, RF_PER_LAYER, "1", "heads above it were kept, by layer"},
    {RF_TABLE_LIGHT, "/light/neuron_score", RF_F64, RF_PER_NEURON, "1", "mask of each neuron [layer, neuron] at the end of the estimation"},
    {RF_TABLE_LIGHT, "/light/neuron_kept", RF_U8, RF_PER_NEURON, "1", "1 where the neuron was kept"},
    {RF_TABLE_LIGHT, "/light/neuron_threshold", RF_F64, RF_PER_LAYER, "1", "neurons above it were kept, by layer"},
    {RF_TABLE_LIGHT, "/light/module_score", RF_F64, RF_PER_MODULE, "1", "importance of each module: mean ratio of the adapter's output to the layer's"},
    {RF_TABLE_LIGHT, "/light/module_kept", RF_U8, RF_PER_MODULE, "1", "1 where the module kept its adapter"},
    {RF_TABLE_LIGHT, "/light/module_threshold", RF_F64, RF_ONE, "1", "modules above it were kept"},
    {RF_TABLE_LIGHT, "/light/rank_score", RF_F64, RF_PER_RANK, "1", "Taylor score of each rank [module, rank], mean over the second half of the estimation"},
    {RF_TABLE_LIGHT, "/light/rank_kept", RF_U8, RF_PER_RANK, "1", "1 where the rank was kept"},
    {RF_TABLE_LIGHT, "/light/rank_threshold", RF_F64, RF_ONE, "1", "ranks above it were kept"},

    {RF_TABLE_MODULES, "/modules/name", RF_U8, RF_TEXT, "1", "adapted module, named as in the HF model"},
    {RF_TABLE_MODULES, "/modules/kind", RF_U8, RF_TEXT, "1", "which of a layer's modules it is"},
    {RF_TABLE_MODULES, "/modules/layer", RF_I64, RF_ONE, "1", "layer, from 0; -1 outside the layers"},
    {RF_TABLE_MODULES, "/modules/d_in", RF_I64, RF_ONE, "1", "input features"},
    {RF_TABLE_MODULES, "/modules/d_out", RF_I64, RF_ONE, "1", "output features"},
    {RF_TABLE_MODULES, "/modules/r", RF_I64, RF_ONE, "1", "LoRA rank at the start"},
    {RF_TABLE_MODULES, "/modules/scaling", RF_F64, RF_ONE, "1", "scaling s of B A"},

    {RF_TABLE_PHASES, "/timing/phases", RF_U8, RF_TEXT, "1", "names of the phases of a step"},

    {RF_TABLE_DATA, "/data/role", RF_U8, RF_TEXT, "1", "what the data are used for"},
    {RF_TABLE_DATA, "/data/rows", RF_I64, RF_ONE, "rows", "input rows read"},
    {RF_TABLE_DATA, "/data/used", RF_I64, RF_ONE, "samples", "samples kept, truncated ones included"},
    {RF_TABLE_DATA, "/data/truncated", RF_I64, RF_ONE, "samples", "samples cut to data.max_length"},
    {RF_TABLE_DATA, "/data/tokens_lost", RF_I64, RF_ONE, "tokens", "tokens cut off"},
    {RF_TABLE_DATA, "/data/skipped_empty", RF_I64, RF_ONE, "rows", "rows without tokens or without a label to predict"},
    {RF_TABLE_DATA, "/data/skipped_limit", RF_I64, RF_ONE, "rows", "rows beyond data.max_samples"},
};
/* clang-format on */

int rf_column_count(void)
{
    return (int)(sizeof rf_columns / sizeof rf_columns[0]);
}

const rf_column *rf_table_columns(rf_table table, int *count)
{
    const rf_column *first = NULL;
    *count = 0;
    for (int i = 0; i < rf_column_count(); i++) {
        if (rf_columns[i].table != table) continue;
        if (!first) first = &rf_columns[i];
        (*count)++;
    }
    return first;
}
