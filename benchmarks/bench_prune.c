/* What method light leaves of the model at its default shares, with scores drawn at random. */
#include <stdlib.h>

#include "bench.h"
#include "refract/method/light.h"

static void draw(double *score, int64_t n, uint64_t seed)
{
    uint64_t x = seed;
    for (int64_t i = 0; i < n; i++) { /* Knuth's linear congruential generator */
        x = x * 6364136223846793005u + 1442695040888963407u;
        score[i] = (double)(x >> 11);
    }
}

rf_status bench_prune(rf_pruning **pruning, const rf_model_config *c, int64_t rank_r)
{
    static const rf_light_options shares = {
        .heads = 0.3333, .neurons = 0.3333, .modules = 0.75, .ranks = 0.5};
    const int64_t modules = c->layers * RF_LINEARS, neurons = c->layers * c->d_ff;
    const int64_t ranks = modules * rank_r, most = neurons > ranks ? neurons : ranks;
    RF_TRY(rf_pruning_create(pruning, c));
    double *score = malloc((size_t)(2 * most) * sizeof *score), thresholds[2];
    double *threshold = malloc((size_t)c->layers * sizeof *threshold);
    int64_t *order = malloc((size_t)(4 * most) * sizeof *order);
    int64_t *r = malloc((size_t)modules * sizeof *r);
    uint8_t *kept = malloc((size_t)(modules + ranks));
    const int is_complete = score && threshold && order && r && kept;
    if (is_complete) {
        draw(score, c->layers * c->kv_heads, 1);
        rf_light_select_rows((*pruning)->group_kept, score, c->layers, c->kv_heads, shares.heads, 0,
                             order, threshold);
        draw(score, neurons, 2);
        rf_light_select_rows((*pruning)->neuron_kept, score, c->layers, c->d_ff, shares.neurons, 1,
                             order, threshold);
        draw(score, modules + ranks, 3);
        for (int64_t i = 0; i < modules; i++) r[i] = rank_r;
        rf_light_select_ranks(kept, kept + modules, score, score + modules, r, modules, &shares,
                              order, thresholds);
        for (int64_t i = 0; i < ranks; i++) (*pruning)->rank[i / rank_r] += kept[modules + i];
    }
    free(score);
    free(threshold);
    free(order);
    free(r);
    free(kept);
    return is_complete ? RF_OK : rf_fail(RF_RESOURCES, "no memory for a prune");
}
