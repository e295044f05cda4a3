/* Time of a step and of a run, from what a probe has measured. */
#include <stdio.h>

#include "plan_parts.h"

const char *plan_clock(char text[32], double seconds)
{
    const long whole = (long)(seconds + 0.999);
    snprintf(text, 32, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    return text;
}

/* Seconds of a reduction of `bytes` bytes over p ranks, each of which sends `nodes` nodes. */
static double reduction(const rf_probe *probe, int p, double bytes, double nodes)
{
    if (p == 1 || probe->alpha < 0) return 0;
    return (nodes + 1) * (p - 1) * (probe->alpha + bytes / p * probe->beta);
}

/* Bytes that ride on one reduction of the model's: activations and, beside them, low ranks. */
static double exchanged_bytes(const training *t, double tokens)
{
    const rf_decoder *m = t->session.decoder;
    int64_t most = 0;
    for (int64_t i = 0; i < t->modules.count; i++)
        if (t->modules.item[i].r > most) most = t->modules.item[i].r;
    return tokens * (double)(m->config.d_model + 3 * most) * sizeof(rf_real);
}

/* Most nodes of the tree that a replica sends. */
static int64_t most_nodes(int64_t leaves, int parts)
{
    int64_t most = 0;
    for (int part = 0; part < parts; part++) {
        rf_node nodes[RF_MAX_NODES];
        const int64_t count = rf_tree_nodes(rf_part_begin(leaves, part, parts),
                                            rf_part_begin(leaves, part + 1, parts), leaves, nodes);
        if (count > most) most = count;
    }
    return most;
}

/* The replica with most of the first step's tokens sets the pace. */
static void step_times(const training *t, const rf_probe *probe, const plan_layout *layout,
                       plan_time *time)
{
    const rf_step_batches *batch = rf_batches_step(t->batches, 0);
    const int tp = layout->tensor, dp = layout->ranks / tp;
    const int64_t count = batch->micro_count, layers = t->session.model.layers;
    int64_t most = 0, micros = 0;
    for (int part = 0; part < dp; part++) {
        int64_t tokens = 0;
        const int64_t begin = rf_part_begin(count, part, dp),
                      end = rf_part_begin(count, part + 1, dp);
        for (int64_t i = begin; i < end; i++) tokens += batch->micro[i].tokens;
        if (tokens > most) most = tokens;
        if (end - begin > micros) micros = end - begin;
    }
    /* two reductions in a layer's forward pass, two in its backward pass; embedding and head */
    const double exchanges = (double)(micros * (4 * layers + 2));
    const double bytes = exchanged_bytes(t, micros > 0 ? (double)most / (double)micros : 0);
    const double gradient = (double)t->session.decoder->params.trained_items * sizeof(rf_real);
    time->compute = (double)most * probe->token / tp;
    time->tensor = exchanges * reduction(probe, tp, bytes, 1);
    time->reduce = reduction(probe, dp, gradient, (double)most_nodes(count, dp));
    time->update = probe->update / tp;
    time->step = time->compute + time->tensor + time->reduce + time->update;
}

static int64_t held_out_tokens(const training *t)
{
    return t->held_out ? rf_batches_step(t->evaluator.batches, 0)->tokens : 0;
}

void plan_times(const training *t, const rf_probe *probe, const plan_layout *layout,
                plan_time *time)
{
    const int64_t every = rf_config_int(t->config, "train.eval_every");
    const int64_t save_every = rf_config_int(t->config, "checkpoint.every");
    *time = (plan_time){.knows_reductions = layout->ranks == 1 || probe->alpha >= 0};
    step_times(t, probe, layout, time);
    const double forward = probe->forward / layout->ranks; /* data parallel, tensor parallel */
    time->evaluation = (double)held_out_tokens(t) * forward;
    time->save = training_checkpoint_bytes(t) * probe->save;
    time->evaluations = t->held_out ? (every > 0 ? (t->steps - 1) / every : 0) + 1 : 0;
    time->saves =
        (save_every > 0 ? (t->steps - 1) / save_every : 0) + 2; /* the final folder, too */
    time->whole = probe->load + (double)t->steps * time->step +
                  (double)time->evaluations * time->evaluation + (double)time->saves * time->save;
}
