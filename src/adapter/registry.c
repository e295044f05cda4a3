#include <math.h>
#include <string.h>

#include "refract/adapter/adapter.h"

/* in alphabetical order */
static const rf_adapter_kind *const kinds[] = {
    &rf_adapter_adalora,
    &rf_adapter_beamlora,
    &rf_adapter_dora,
    &rf_adapter_lora,
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

int rf_adapter_count(void)
{
    return KINDS;
}

const rf_adapter_kind *rf_adapter_at(int index)
{
    RF_ASSERT(index >= 0 && index < KINDS, "no adapter number %d", index);
    return kinds[index];
}

const rf_adapter_kind *rf_adapter_find(const char *name)
{
    for (int i = 0; i < KINDS; i++)
        if (strcmp(kinds[i]->name, name) == 0) return kinds[i];
    return NULL;
}

const rf_adapter_kind *rf_adapter_for_config(const rf_config *config)
{
    for (int i = 0; i < KINDS; i++)
        if (kinds[i] != &rf_adapter_lora && rf_config_has_method(config, kinds[i]->name))
            return kinds[i];
    return &rf_adapter_lora;
}

double rf_adapter_scaling(const rf_adapter_options *options)
{
    const double r = (double)options->r + options->rank_shift;
    return options->alpha / (options->use_rslora ? sqrt(r) : r);
}

const rf_adapter_kind *rf_adapter_for_peft(int use_dora)
{
    return use_dora ? &rf_adapter_dora : &rf_adapter_lora;
}

/* The released code: 0.05, and 0.03 for learning rates below 1e-4. */
static double temperature(const rf_config *config)
{
    if (!rf_config_is_auto(config, "beam.temperature"))
        return rf_config_number(config, "beam.temperature");
    return rf_config_number(config, "train.learning_rate") < 1e-4 ? 0.03 : 0.05;
}

static rf_adapter_init init_of(const rf_config *config)
{
    static const struct {
        const char *name;
        rf_adapter_init init;
    } names[] = {{"gaussian", RF_ADAPTER_GAUSSIAN},
                 {"random", RF_ADAPTER_RANDOM},
                 {"pissa", RF_ADAPTER_PISSA}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(rf_config_string(config, "lora.init"), names[i].name) == 0) return names[i].init;
    return RF_ADAPTER_DEFAULT;
}

rf_adapter_options rf_adapter_options_read(const rf_config *config)
{
    return (rf_adapter_options){.r = rf_config_int(config, "lora.r"),
                                .alpha = rf_config_number(config, "lora.alpha"),
                                .dropout = rf_config_number(config, "lora.dropout"),
                                .use_rslora = rf_config_bool(config, "lora.use_rslora"),
                                .init = init_of(config),
                                .lr_ratio = rf_config_has_method(config, "loraplus")
                                                ? rf_config_number(config, "loraplus.ratio")
                                                : 1,
                                .temperature = temperature(config),
                                .rank_shift = rf_config_has_method(config, "adalora") ? 1e-5 : 0,
                                .is_ungated = rf_config_has_method(config, "reflora")};
}
