/* Sessions whose adapters come from a folder, and what its rules say of this model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refract/comm/agree.h"
#include "refract/io/gguf.h"
#include "session_parts.h"

/* A key that the user set must say what the folder says. */
static rf_status contradiction(const rf_session *s, const char *key, double folder)
{
    const double wish = strcmp(key, "lora.r") == 0 ? (double)rf_config_int(s->config, key)
                                                   : rf_config_number(s->config, key);
    if (!rf_config_is_set(s->config, key) || wish == folder) return RF_OK;
    return rf_fail(RF_USAGE, "%s = %g, but the folder '%s' has %g (%s). Leave the key out", key,
                   wish, rf_config_string(s->config, "lora.start"), folder,
                   rf_config_where(s->config, key));
}

static rf_status check_start(rf_session *s)
{
    if (s->start->use_dora && !s->kind->is_dora)
        return rf_fail(RF_USAGE,
                       "the folder '%s' holds a DoRA adapter, the method is %s (%s). Use method: "
                       "dora or start from a LoRA folder",
                       rf_config_string(s->config, "lora.start"),
                       rf_config_string(s->config, "method"), rf_config_where(s->config, "method"));
    RF_TRY(contradiction(s, "lora.r", (double)s->start->r));
    RF_TRY(contradiction(s, "lora.alpha", s->start->alpha));
    if (rf_config_is_set(s->config, "lora.use_rslora") &&
        rf_config_bool(s->config, "lora.use_rslora") != s->start->use_rslora)
        return rf_fail(RF_USAGE, "lora.use_rslora contradicts the folder '%s' (%s). Leave it out",
                       rf_config_string(s->config, "lora.start"),
                       rf_config_where(s->config, "lora.use_rslora"));
    if (rf_config_is_set(s->config, "lora.target_modules"))
        return rf_fail(RF_USAGE,
                       "lora.target_modules is set beside lora.start (%s). The folder names its "
                       "own modules: leave the key out",
                       rf_config_where(s->config, "lora.target_modules"));
    rf_config_resolve_int(s->config, "lora.r", s->start->r);
    rf_config_resolve_number(s->config, "lora.alpha", s->start->alpha);
    return RF_OK;
}

static rf_status open_start(rf_session *s, const char *folder)
{
    int is_gguf = rf_gguf_recognises(folder); /* one rank looks */
    MPI_Bcast(&is_gguf, 1, MPI_INT, 0, s->world);
    RF_TRY(is_gguf ? rf_peft_open_gguf(&s->start, s->world, folder, s->model.d_head)
                   : rf_peft_open(&s->start, s->world, folder, s->log));
    s->saved = s->start->modules_to_save;
    return RF_OK;
}

rf_status rf_session_take_start(rf_session *s)
{
    const char *folder = rf_config_string(s->config, "lora.start");
    if (!folder || s->trains) return RF_OK;
    RF_TRY(open_start(s, folder));
    return rf_agree(s->world, check_start(s));
}

rf_status rf_session_start_from(rf_session *s, const char *folder)
{
    RF_TRY(open_start(s, folder));
    if (s->trained == s->config) s->kind = rf_adapter_for_peft(s->start->use_dora);
    return RF_OK;
}

/* Paths of all linear modules, and what the rules say of each. */
static rf_status match(const rf_session *s, char (*path)[RF_NAME_BYTES], const char **name,
                       rf_target *target)
{
    const rf_decoder *m = s->decoder;
    const int64_t count = m->config.layers * RF_LINEARS;
    if (!path || !name || !target) return rf_fail(RF_RESOURCES, "no memory for names of modules");
    for (int64_t i = 0; i < count; i++) {
        const char *tensor = m->block[i / RF_LINEARS].linear[i % RF_LINEARS].name;
        snprintf(path[i], RF_NAME_BYTES, "%.*s", (int)(strlen(tensor) - strlen(".weight")), tensor);
        name[i] = path[i];
    }
    return rf_peft_match(s->start, name, count, target, s->log);
}

rf_status session_match_start(const rf_session *s)
{
    const size_t count = (size_t)(s->decoder->config.layers * RF_LINEARS) + 1;
    char(*path)[RF_NAME_BYTES] = calloc(count, sizeof *path);
    const char **name = calloc(count, sizeof *name);
    rf_target *target = calloc(count, sizeof *target);
    const rf_status status = match(s, path, name, target);
    free(path);
    free(name);
    free(target);
    return status;
}
