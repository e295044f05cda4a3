#include "refract/method/registry.h"

#include <stdio.h>
#include <string.h>

#include "hooks.h"
#include "refract/adapter/adapter.h"
#include "refract/base/nearest.h"

/* name, paper, summary, sections, partners, hooks, trains; in alphabetical order */
static const rf_method_entry methods[] = {
    {"adalora", "Zhang et al. 2023, arXiv:2303.10512",
     "lora with a diagonal between A and B, whose budget of ranks moves to where they matter",
     "lora adalora", "lora", &adalora_hooks, NULL},
    {"adapter", "Houlsby et al. 2019, arXiv:1902.00751",
     "a trained bottleneck behind the attention and behind the MLP of every block", "bottleneck",
     "", NULL, NULL},
    {"beamlora", "Gu et al. 2025, ACL 2025 long 582",
     "lora with gates between A and B; weak ranks give way to versions of strong ones", "lora beam",
     "lora reflora rslora", &beamlora_hooks, NULL},
    {"bitfit", "Ben-Zaken et al. 2022, arXiv:2106.10199",
     "only the biases are trained; where the model has none, the weights of its norms", "", "",
     NULL, bitfit_trains},
    {"dora", "Liu et al. 2024, arXiv:2402.09353",
     "lora whose sum W + (alpha / r) B A has its row norms trained as magnitudes", "lora",
     "loraplus pissa rslora", NULL, NULL},
    {"full", "", "every weight of the model is trained, without adapters", "", "", NULL,
     full_trains},
    {"light", "Gu et al. 2024, Findings of ACL 2024.447",
     "lora after an estimation that cuts heads, neurons, modules and ranks out of the model",
     "lora light", "beamlora lora loraplus reflora reflora-s rslora", &light_hooks, NULL},
    {"lora", "Hu et al. 2021, arXiv:2106.09685", "y = W x + (alpha / r) B A x with W frozen",
     "lora", "rslora", NULL, NULL},
    {"loraplus", "Hayou et al. 2024, arXiv:2402.12354",
     "B and magnitudes learn loraplus.ratio times as fast as A", "lora loraplus",
     "beamlora dora light lora pissa reflora reflora-s rslora", NULL, NULL},
    {"lorapro", "Wang et al. 2025, arXiv:2407.18242",
     "lora whose steps change W as nearly as full fine-tuning by Adam as rank r allows", "lora",
     "lora pissa rslora", &lorapro_hooks, NULL},
    {"lorarite", "Yen et al. 2025, arXiv:2410.20625",
     "lora by Adam with matrix moments in the other factor's basis, whatever the split of B A",
     "lora", "lora pissa rslora", &lorarite_hooks, NULL},
    {"padapter", "Pfeiffer et al. 2021, arXiv:2005.00247",
     "a trained bottleneck behind the MLP of every block", "bottleneck", "", NULL, NULL},
    {"pissa", "Meng et al. 2024, arXiv:2404.02948",
     "lora that starts from the leading singular vectors of W", "lora",
     "beamlora dora lora loraplus reflora reflora-s rslora", NULL, NULL},
    {"preclora", "Zhang, Pilanci 2024, arXiv:2402.02347",
     "lora by scaled AdamW: each factor's gradient preconditioned by the other's Gram matrix",
     "lora preclora", "lora loraplus pissa rslora", &preclora_hooks, NULL},
    {"reflora", "Zhang, Li, Giannakis 2025, arXiv:2505.18877",
     "lora whose gradients are those of the balanced factorisation of B A", "lora reflora",
     "lora rslora", &reflora_hooks, NULL},
    {"reflora-s", "Zhang, Li, Giannakis 2025, arXiv:2505.18877",
     "lora whose factors and moments are rescaled to |A| = |B| after every update", "lora reflora",
     "lora rslora", &reflora_scalar_hooks, NULL},
    {"rslora", "Kalajdzievski 2023, arXiv:2312.03732", "lora with the scale alpha / sqrt(r)",
     "lora", "beamlora light lora reflora reflora-s", NULL, NULL},
};
enum { METHODS = sizeof methods / sizeof methods[0], NAME_BYTES = 64 };

int rf_method_count(void)
{
    return METHODS;
}

const rf_method_entry *rf_method_at(int index)
{
    RF_ASSERT(index >= 0 && index < METHODS, "no method number %d", index);
    return &methods[index];
}

const rf_method_entry *rf_method_find(const char *name)
{
    for (int i = 0; i < METHODS; i++)
        if (strcmp(methods[i].name, name) == 0) return &methods[i];
    return NULL;
}

/* Is `word` one of the words of `list`, which `separator` divides? */
static int has_word(const char *list, char separator, const char *word)
{
    const size_t length = strlen(word);
    while (*list) {
        const char *end = strchrnul(list, separator);
        if ((size_t)(end - list) == length && strncmp(list, word, length) == 0) return 1;
        list = *end ? end + 1 : end;
    }
    return 0;
}

int rf_method_joins(const rf_method_entry *a, const rf_method_entry *b)
{
    return has_word(a->partners, ' ', b->name) || has_word(b->partners, ' ', a->name);
}

rf_trained_choice *rf_methods_trains(const rf_config *config)
{
    for (int i = 0; i < METHODS; i++)
        if (methods[i].trains && rf_config_has_method(config, methods[i].name))
            return methods[i].trains;
    return NULL;
}

static rf_status unknown(const rf_config *config, const char *name)
{
    rf_nearest search = rf_nearest_start(name);
    for (int i = 0; i < METHODS; i++) rf_nearest_offer(&search, methods[i].name);
    const char *where = rf_config_where(config, "method");
    if (!search.best)
        return rf_fail(RF_USAGE, "unknown method '%s' (%s). See refract methods", name, where);
    return rf_fail(RF_USAGE, "unknown method '%s' (%s). Did you mean '%s'?", name, where,
                   search.best);
}

/* Why the two cannot be joined. */
static const char *why_not(const rf_method_entry *a, const rf_method_entry *b)
{
    if (a->trains || b->trains)
        return "One of them trains weights of the model itself, without adapters for the other to "
               "act on";
    if (has_word(a->sections, ' ', "bottleneck") || has_word(b->sections, ' ', "bottleneck"))
        return "A bottleneck stands behind a branch and has no low-rank factors for the other to "
               "act on";
    if (rf_adapter_find(a->name) && rf_adapter_find(b->name))
        return "A module carries one adapter, and each of the two is one: choose";
    if (a->hooks && b->hooks)
        return "Each changes gradients, factors or their update within a step, and no paper says "
               "what both together are";
    return "The one is defined for other factors, or for other learning rates, than the other "
           "leaves";
}

static rf_status check_pairs(const rf_config *config, const rf_method_entry *const *chosen,
                             int count)
{
    const rf_method_entry *last = chosen[count - 1];
    const char *where = rf_config_where(config, "method");
    for (int i = 0; i < count - 1; i++) {
        if (chosen[i] == last)
            return rf_fail(RF_USAGE, "method '%s' is named twice (%s). Keep one", last->name,
                           where);
        if (!rf_method_joins(chosen[i], last))
            return rf_fail(RF_USAGE,
                           "methods '%s' and '%s' cannot be joined (%s). %s. See refract methods "
                           "for what combines",
                           chosen[i]->name, last->name, where, why_not(chosen[i], last));
    }
    return RF_OK;
}

rf_status rf_methods_check(const rf_config *config)
{
    const rf_method_entry *chosen[METHODS + 1];
    int count = 0;
    const char *at = rf_config_string(config, "method");
    for (;;) {
        char name[NAME_BYTES];
        const size_t span = strcspn(at, "+");
        snprintf(name, sizeof name, "%.*s", span < NAME_BYTES ? (int)span : NAME_BYTES - 1, at);
        chosen[count] = rf_method_find(name);
        if (!chosen[count]) return unknown(config, name);
        RF_TRY(check_pairs(config, chosen, ++count));
        if (!at[span]) return RF_OK;
        at += span + 1;
    }
}

static int section_has_reader(const rf_config *config, const char *section, int chosen_only)
{
    for (int i = 0; i < METHODS; i++)
        if (has_word(methods[i].sections, ' ', section) &&
            (!chosen_only || rf_config_has_method(config, methods[i].name)))
            return 1;
    return 0;
}

int rf_methods_unread_keys(const rf_config *config, char *text, size_t bytes)
{
    int count = 0;
    size_t used = 0;
    if (bytes) text[0] = '\0';
    for (int i = 0; i < rf_config_key_count(); i++) {
        const char *key = rf_config_key(i);
        char section[NAME_BYTES];
        snprintf(section, sizeof section, "%.*s", (int)strcspn(key, "."), key);
        if (!section_has_reader(config, section, 0) || section_has_reader(config, section, 1) ||
            !rf_config_is_set(config, key) || rf_config_is_default(config, key))
            continue;
        if (used < bytes)
            used += (size_t)snprintf(text + used, bytes - used, "%s%s (%s)", count ? "\n" : "", key,
                                     rf_config_where(config, key));
        count++;
    }
    return count;
}
