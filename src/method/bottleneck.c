/*
 * Bottleneck adapters: a narrow layer behind a branch of each block, before the residual stream.
 * adapter: behind attention and MLP, Houlsby et al. 2019, arXiv:1902.00751; padapter: behind the
 * MLP alone, Pfeiffer et al. 2021, arXiv:2005.00247. Their forward pass is nn/bottleneck.h's.
 */
#include "refract/method/registry.h"

rf_bottlenecks rf_methods_bottlenecks(const rf_config *config)
{
    const int both = rf_config_has_method(config, "adapter");
    if (!both && !rf_config_has_method(config, "padapter")) return (rf_bottlenecks){.size = 0};
    return (rf_bottlenecks){
        .size = rf_config_int(config, "bottleneck.size"),
        .activation = rf_activation_parse(rf_config_string(config, "bottleneck.activation")),
        .behind = {[RF_BRANCH_ATTENTION] = both, [RF_BRANCH_MLP] = 1}};
}
