/*
 * BitFit: the biases alone are trained. LLaMA-like models mostly have none; then the weights of
 * their norms are, which scale features as biases shift them. Ben-Zaken et al. 2022,
 * arXiv:2106.10199.
 */
#include <string.h>

#include "hooks.h"

static int ends_with(const char *name, const char *tail)
{
    const size_t length = strlen(name), tail_length = strlen(tail);
    return length >= tail_length && strcmp(name + length - tail_length, tail) == 0;
}

int bitfit_trains(const rf_model_config *config, const char *name)
{
    if (config->attention_bias || config->mlp_bias) return ends_with(name, ".bias");
    return ends_with(name, "norm.weight");
}
