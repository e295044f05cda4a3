#include "refract/model/pruning.h"

#include <stdlib.h>
#include <string.h>

rf_status rf_pruning_create(rf_pruning **pruning, const rf_model_config *c)
{
    const size_t ranks = (size_t)(c->layers * RF_LINEARS) * sizeof(int64_t);
    const size_t groups = (size_t)(c->layers * c->kv_heads),
                 neurons = (size_t)(c->layers * c->d_ff);
    rf_pruning *p = calloc(1, sizeof *p + ranks + groups + neurons);
    *pruning = p;
    if (!p) return rf_fail(RF_RESOURCES, "no memory for what a prune keeps");
    *p = (rf_pruning){.layers = c->layers,
                      .kv_heads = c->kv_heads,
                      .d_ff = c->d_ff,
                      .group = c->heads / c->kv_heads,
                      .d_head = c->d_head,
                      .rank = (int64_t *)(void *)(p + 1)};
    p->group_kept = (uint8_t *)p->rank + ranks;
    p->neuron_kept = p->group_kept + groups;
    memset(p->group_kept, 1, groups + neurons);
    return RF_OK;
}

void rf_pruning_destroy(rf_pruning **pruning)
{
    free(*pruning);
    *pruning = NULL;
}

static int64_t ones(const uint8_t *flag, int64_t count)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < count; i++) sum += flag[i];
    return sum;
}

static int64_t groups_of(const rf_pruning *p, int64_t layer)
{
    return ones(p->group_kept + layer * p->kv_heads, p->kv_heads);
}

static int64_t neurons_of(const rf_pruning *p, int64_t layer)
{
    return ones(p->neuron_kept + layer * p->d_ff, p->d_ff);
}

int64_t rf_layer_kv_heads(const rf_model_config *config, const rf_pruning *p, int64_t layer)
{
    return p ? groups_of(p, layer) : config->kv_heads;
}

int64_t rf_layer_d_ff(const rf_model_config *config, const rf_pruning *p, int64_t layer)
{
    return p ? neurons_of(p, layer) : config->d_ff;
}

int rf_pruning_is_uniform(const rf_pruning *p)
{
    for (int64_t layer = 1; layer < p->layers; layer++)
        if (groups_of(p, layer) != groups_of(p, 0) || neurons_of(p, layer) != neurons_of(p, 0))
            return 0;
    return 1;
}

/* Features of one group or neuron. */
static int64_t unit_of(const rf_pruning *p, rf_linear_kind kind)
{
    if (kind == RF_Q || kind == RF_O) return p->group * p->d_head;
    return kind == RF_K || kind == RF_V ? p->d_head : 1;
}

int64_t rf_pruning_whole(const rf_pruning *p, rf_linear_kind kind)
{
    return (kind <= RF_O ? p->kv_heads : p->d_ff) * unit_of(p, kind);
}

int64_t rf_pruning_features(const rf_pruning *p, int64_t layer, rf_linear_kind kind, int64_t *index)
{
    const int64_t unit = unit_of(p, kind), count = kind <= RF_O ? p->kv_heads : p->d_ff;
    const uint8_t *kept = (kind <= RF_O ? p->group_kept : p->neuron_kept) + layer * count;
    int64_t features = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!kept[i]) continue;
        for (int64_t j = 0; index && j < unit; j++) index[features + j] = i * unit + j;
        features += unit;
    }
    return features;
}
