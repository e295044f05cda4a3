/* How many ranks AdaLoRA keeps at which step, and when it allocates them; private to layer method.
 * Zhang et al. 2023, arXiv:2303.10512, eq. 13. */
#ifndef RF_METHOD_ADALORA_BUDGET_H
#define RF_METHOD_ADALORA_BUDGET_H

#include "refract/method/method.h"

typedef struct adalora_budget {
    int64_t first, target; /* ranks of the whole model at the start and at the end */
    int64_t warmup, final; /* steps before it shrinks, and at the end with fixed ranks */
    int64_t interval, steps;
} adalora_budget;

/* RF_USAGE where warm-up and final phase leave no step between them. */
rf_status adalora_budget_read(adalora_budget *budget, const rf_method_context *context);

/* The step of the last allocation. */
int64_t adalora_budget_last(const adalora_budget *budget);
/* 1 when ranks are allocated after update `step`. */
int adalora_budget_allocates(const adalora_budget *budget, int64_t step);
/* Ranks kept after update `step`: b(t) = target + (first - target) (1 - (t - ti) / (T - tf -
 * ti))^3, rounded down. */
int64_t adalora_budget_at(const adalora_budget *budget, int64_t step);

#endif
