/**
 * `config.json` of LLaMA-family models, in the spellings of transformers 4.x (rope_theta,
 * rope_scaling, torch_dtype) and 5.x (rope_parameters, dtype). Source: transformers
 * `models/{llama,mistral}/ configuration_*.py`, `modeling_rope_utils.py`.
 */
#ifndef RF_IO_HF_CONFIG_H
#define RF_IO_HF_CONFIG_H

#include "refract/model/config.h"

/**
 * Reads `path`, a model folder or a config.json itself, and the end tokens of a
 * generation_config.json beside it. Keys that are absent have the defaults of transformers; sizes
 * must be there. What is not implemented (another model_type or activation, stretched rotary
 * frequencies other than linear and llama3, quantised weights, ...) is refused by name. Local;
 * RF_INPUT names file and key, RF_RESOURCES.
 */
rf_status rf_hf_config_read(rf_model_config *config, const char *path);

/** Writes folder/config.json in the 4.x spelling, which both understand. Local; RF_WRITE,
 * RF_RESOURCES. */
rf_status rf_hf_config_write(const rf_model_config *config, const char *folder);

#endif
