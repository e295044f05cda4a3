#include "adalora_budget.h"

rf_status adalora_budget_read(adalora_budget *b, const rf_method_context *context)
{
    const rf_config *c = context->config;
    const int64_t target = rf_config_int(c, "adalora.target_r");
    *b = (adalora_budget){.target = target * context->modules->count,
                          .warmup = rf_config_int(c, "adalora.tinit"),
                          .final = rf_config_int(c, "adalora.tfinal"),
                          .interval = rf_config_int(c, "adalora.interval"),
                          .steps = context->steps};
    for (int64_t m = 0; m < context->modules->count; m++) b->first += context->modules->item[m].r;
    if (b->warmup + b->final < b->steps) return RF_OK;
    return rf_fail(RF_USAGE,
                   "adalora.tinit %lld and adalora.tfinal %lld leave none of the run's %lld steps "
                   "to shrink in (%s). Lower them",
                   (long long)b->warmup, (long long)b->final, (long long)b->steps,
                   rf_config_where(c, b->warmup > 0 ? "adalora.tinit" : "adalora.tfinal"));
}

int64_t adalora_budget_last(const adalora_budget *b)
{
    return b->steps - b->final;
}

int adalora_budget_allocates(const adalora_budget *b, int64_t step)
{
    const int64_t last = adalora_budget_last(b);
    if (step == last) return 1;
    return step > b->warmup && step < last && step % b->interval == 0;
}

int64_t adalora_budget_at(const adalora_budget *b, int64_t step)
{
    if (step <= b->warmup) return b->first;
    const double left =
        1 - (double)(step - b->warmup) / (double)(adalora_budget_last(b) - b->warmup);
    return (int64_t)((double)(b->first - b->target) * left * left * left + (double)b->target);
}
