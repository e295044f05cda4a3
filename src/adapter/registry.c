#include "refract/adapter/adapter.h"

#include <math.h>
#include <string.h>

static const rf_adapter_kind *const kinds[] = {
    &rf_adapter_lora,
};

const rf_adapter_kind *rf_adapter_find(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i]->name, name) == 0) return kinds[i];
    return NULL;
}

double rf_adapter_scaling(const rf_adapter_options *options)
{
    return options->alpha / (options->use_rslora ? sqrt((double)options->r) : (double)options->r);
}
