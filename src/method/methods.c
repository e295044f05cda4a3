/* The list of methods that a run has chosen. */
#include <stdlib.h>
#include <string.h>

#include "refract/method/method.h"
#include "refract/method/registry.h"

rf_status rf_methods_create(rf_methods *methods, const rf_method_context *context)
{
    *methods = (rf_methods){.context = context};
    for (int i = 0; i < rf_method_count(); i++) {
        const rf_method_entry *entry = rf_method_at(i);
        if (!entry->hooks || entry->hooks->estimates != context->is_estimation ||
            !rf_config_has_method(context->config, entry->name))
            continue;
        RF_ASSERT(methods->count < RF_METHODS_AT_ONCE, "%d methods", methods->count);
        const int at = methods->count++;
        methods->hooks[at] = entry->hooks;
        RF_TRY(entry->hooks->create(&methods->self[at], context));
    }
    return RF_OK;
}

void rf_methods_destroy(rf_methods *methods)
{
    for (int i = 0; i < methods->count; i++)
        if (methods->self[i]) methods->hooks[i]->destroy(methods->self[i]);
    *methods = (rf_methods){0};
}

void rf_methods_layout(rf_methods *methods, rf_arena *run, rf_arena *scratch)
{
    methods->done = RF_TAKE(scratch, unsigned char, methods->context->params->count);
    for (int i = 0; i < methods->count; i++)
        if (methods->hooks[i]->layout) methods->hooks[i]->layout(methods->self[i], run, scratch);
}

void rf_methods_start(rf_methods *methods)
{
    for (int i = 0; i < methods->count; i++)
        if (methods->hooks[i]->start) methods->hooks[i]->start(methods->self[i]);
}

void rf_methods_gradient(rf_methods *methods, rf_real *gradient)
{
    for (int i = 0; i < methods->count; i++)
        if (methods->hooks[i]->after_gradient)
            methods->hooks[i]->after_gradient(methods->self[i], gradient);
}

void rf_methods_update(rf_methods *methods, const rf_method_step *step, rf_real *gradient)
{
    const rf_method_context *context = methods->context;
    memset(methods->done, 0, (size_t)context->params->count);
    for (int i = 0; i < methods->count; i++)
        if (methods->hooks[i]->before_update)
            methods->hooks[i]->before_update(methods->self[i], step, gradient);
    for (int i = 0; i < methods->count; i++)
        if (methods->hooks[i]->update)
            methods->hooks[i]->update(methods->self[i], step, gradient, methods->done);
    rf_adamw_update_others(context->adamw, context->params, gradient, step->scale, step->rate,
                           step->number, methods->done);
    for (int i = 0; i < methods->count; i++)
        if (methods->hooks[i]->after_update)
            methods->hooks[i]->after_update(methods->self[i], step);
}

void rf_methods_event(rf_methods *methods, const rf_method_step *step)
{
    for (int i = 0; i < methods->count; i++)
        if (methods->hooks[i]->event) methods->hooks[i]->event(methods->self[i], step);
}

void rf_methods_importance(const rf_methods *methods, double *importance, int64_t rank_r)
{
    for (int i = 0; i < methods->count; i++)
        if (methods->hooks[i]->importance)
            methods->hooks[i]->importance(methods->self[i], importance, rank_r);
}

rf_status rf_methods_fields(const rf_methods *methods, int64_t step, rf_fields *fields)
{
    for (int i = 0; i < methods->count; i++)
        if (methods->hooks[i]->fields)
            RF_TRY(methods->hooks[i]->fields(methods->self[i], step, fields));
    return RF_OK;
}

rf_status rf_methods_report(const rf_methods *methods, const rf_method_step *step,
                            rf_telemetry *telemetry)
{
    for (int i = 0; i < methods->count; i++)
        if (methods->hooks[i]->report)
            RF_TRY(methods->hooks[i]->report(methods->self[i], step, telemetry));
    return RF_OK;
}

rf_status rf_methods_prune(rf_methods *methods, const rf_method_step *step, rf_telemetry *telemetry,
                           rf_pruned *pruned)
{
    for (int i = 0; i < methods->count; i++)
        if (methods->hooks[i]->prune)
            return methods->hooks[i]->prune(methods->self[i], step, telemetry, pruned);
    RF_ASSERT(0, "no method of this stage prunes (%d methods)", methods->count);
    return RF_OK;
}

void rf_methods_summarise(const rf_methods *methods, rf_log *log)
{
    for (int i = 0; i < methods->count; i++)
        if (methods->hooks[i]->summarise) methods->hooks[i]->summarise(methods->self[i], log);
}
