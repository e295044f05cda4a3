/* The hooks of every method, one file each; private to layer method. */
#ifndef RF_METHOD_HOOKS_H
#define RF_METHOD_HOOKS_H

#include "refract/method/method.h"

extern const rf_method_hooks adalora_hooks;
extern const rf_method_hooks beamlora_hooks;
extern const rf_method_hooks light_hooks;
extern const rf_method_hooks lorapro_hooks;
extern const rf_method_hooks lorarite_hooks;
extern const rf_method_hooks preclora_hooks;
extern const rf_method_hooks reflora_hooks;
extern const rf_method_hooks reflora_scalar_hooks;

/* Of methods that train tensors of the base model. */
rf_trained_choice bitfit_trains, full_trains;

#endif
