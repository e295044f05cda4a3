/* What the sources of Light-PEFT share; private to layer method. */
#ifndef RF_METHOD_LIGHT_PARTS_H
#define RF_METHOD_LIGHT_PARTS_H

#include "hooks.h"
#include "refract/comm/collect.h"
#include "refract/method/light.h"

typedef struct light {
    rf_method_context context;
    rf_light_options options;
    int64_t ranks; /* of all modules together */
    rf_collector collector;
    double *own_sums,
        *all_sums; /* [own slices, 2, ranks], [slices, 2, ranks]: sums of A dA, B dB */
    double *score; /* [ranks] of a step */
    double *module_sum, *rank_sum; /* [modules], [ranks] over the counted steps */
} light;

/* The hook `prune`. */
rf_status light_prune(void *self, const rf_method_step *step, rf_telemetry *telemetry,
                      rf_pruned *pruned);

#endif
