#include "refract/io/peft.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "peft_folder.h"
#include "refract/comm/agree.h"

static rf_status open_tensors(rf_peft *peft, const char *folder)
{
    char path[PATH_MAX], pickled[PATH_MAX];
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder);
    snprintf(pickled, sizeof pickled, "%s/adapter_model.bin", folder);
    if (access(path, F_OK) != 0 && access(pickled, F_OK) == 0)
        return rf_fail(RF_INPUT,
                       "%s is pickled, which is not read. Load it in PEFT and save it "
                       "again with safe_serialization=True",
                       pickled);
    return rf_safetensors_open(&peft->tensors, path);
}

static rf_status open_folder(rf_peft **peft, const char *folder, rf_log *log)
{
    *peft = calloc(1, sizeof **peft);
    if (!*peft) return rf_fail(RF_RESOURCES, "no memory to open %s", folder);
    RF_TRY(rf_peft_read_config(*peft, folder, log));
    return open_tensors(*peft, folder);
}

rf_status rf_peft_open(rf_peft **peft, MPI_Comm comm, const char *folder, rf_log *log)
{
    const rf_status status = rf_agree(comm, open_folder(peft, folder, log));
    if (status != RF_OK) rf_peft_close(peft);
    return status;
}

void rf_peft_close(rf_peft **peft)
{
    rf_peft *p = *peft;
    if (!p) return;
    rf_targets_destroy(&p->targets);
    rf_safetensors_close(&p->tensors);
    free((char **)(uintptr_t)p->modules_to_save.name);
    free(p->config_path);
    json_decref(p->document);
    free(p);
    *peft = NULL;
}

static rf_status match_all(const rf_peft *peft, const char *const *modules, int64_t count,
                           rf_target *targets)
{
    int any = 0;
    for (int64_t i = 0; i < count; i++) {
        RF_TRY(rf_targets_match(peft->targets, modules[i], &targets[i]));
        any |= targets[i].targeted;
    }
    if (any) return RF_OK;
    return rf_fail(RF_INPUT,
                   "'target_modules' matches no module of this model (%s). Was it made for "
                   "another one?",
                   peft->config_path);
}

rf_status rf_peft_match(const rf_peft *peft, const char *const *modules, int64_t count,
                        rf_target *targets, rf_log *log)
{
    enum { MOST = 16 };
    rf_unmatched unmatched[MOST];
    int found = 0;
    rf_status status = rf_targets_unmatched(peft->targets, modules, count, unmatched, MOST, &found);
    if (status == RF_OK) status = match_all(peft, modules, count, targets);
    if (status == RF_USAGE) return rf_fail(RF_INPUT, "%s", rf_status_message());
    RF_TRY(status);
    for (int i = 0; i < found && i < MOST && log && log->rank == 0; i++)
        rf_log_warning(log, "'%s' of '%s' matches no module (%s)", unmatched[i].key,
                       unmatched[i].list, peft->config_path);
    return RF_OK;
}

rf_status rf_peft_name_fields(rf_field **named, const rf_field *fields, int64_t count)
{
    *named = malloc(((size_t)count + 1) * sizeof **named);
    if (!*named) return rf_fail(RF_RESOURCES, "no memory for the names of an adapter");
    for (int64_t i = 0; i < count; i++) {
        rf_field *field = &(*named)[i];
        *field = fields[i];
        const int length =
            snprintf(field->path, sizeof field->path, RF_PEFT_PREFIX "%s", fields[i].path);
        if (length < (int)sizeof field->path) continue;
        free(*named);
        *named = NULL;
        return rf_fail(RF_USAGE, "the module name %s is too long", fields[i].path);
    }
    return RF_OK;
}

/* Some versions of PEFT wrote magnitudes with the suffix .weight. */
static void follow_magnitude(const rf_peft *peft, rf_field *field)
{
    static const char magnitude[] = ".lora_magnitude_vector", suffix[] = ".weight";
    char longer[sizeof field->path];
    const size_t length = strlen(field->path);
    if (length < sizeof magnitude || length + sizeof suffix > sizeof longer) return;
    if (strcmp(field->path + length - (sizeof magnitude - 1), magnitude) != 0) return;
    if (rf_safetensors_find(peft->tensors, field->path)) return;
    memcpy(longer, field->path, length);
    memcpy(longer + length, suffix, sizeof suffix);
    if (rf_safetensors_find(peft->tensors, longer)) memcpy(field->path, longer, sizeof longer);
}

/* A head that is the embedding stands in the file a second time. */
static int is_tied(const rf_peft *peft, const rf_field *fields, int64_t count)
{
    int has_embedding = 0, has_head = 0;
    for (int64_t i = 0; i < count; i++) {
        has_embedding |= strcmp(fields[i].path, "model.embed_tokens.weight") == 0;
        has_head |= strcmp(fields[i].path, "lm_head.weight") == 0;
    }
    return has_embedding && !has_head &&
           json_is_true(json_object_get(peft->document, "ensure_weight_tying"));
}

rf_status rf_peft_read(const rf_peft *peft, const rf_grid *grid, const rf_field *fields,
                       int64_t count)
{
    static const char *const head[] = {RF_PEFT_PREFIX "lm_head.weight"};
    rf_field *named = NULL;
    rf_status status = rf_agree(grid->world, rf_peft_name_fields(&named, fields, count));
    const int ignored = is_tied(peft, fields, count) ? 1 : 0;
    for (int64_t i = 0; status == RF_OK && named && i < count; i++)
        follow_magnitude(peft, &named[i]);
    if (status == RF_OK)
        status = rf_safetensors_read(peft->tensors, grid, named, count, head, ignored);
    free(named);
    return status;
}
