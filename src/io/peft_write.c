#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "peft_folder.h"
#include "refract/base/file.h"
#include "refract/comm/agree.h"

static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

/* "q_proj" says it for all when every module of that name has an adapter. */
static int all_of_a_name(const rf_peft_options *o, const char *name)
{
    for (int64_t i = 0; i < o->module_count; i++)
        if (o->modules[i].r == 0 && strcmp(last_part(o->modules[i].path), name) == 0) return 0;
    return 1;
}

static int list_has(const json_t *list, const char *text)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(json_string_value(json_array_get(list, i)), text) == 0) return 1;
    return 0;
}

static json_t *target_list(const rf_peft_options *o)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < o->module_count; i++) {
        const char *path = o->modules[i].path, *name = last_part(path);
        if (o->modules[i].r == 0) continue;
        const char *text = all_of_a_name(o, name) ? name : path;
        if (!list_has(list, text)) json_array_append_new(list, json_string(text));
    }
    return list;
}

/* A whole number is written as one: PEFT declares alpha an int. */
static json_t *number(double value)
{
    return value == floor(value) && fabs(value) < 1e15 ? json_integer((json_int_t)value)
                                                       : json_real(value);
}

/* Full paths, of which at most one can match, so their order does not matter. */
static json_t *rank_pattern(const rf_peft_options *o)
{
    json_t *object = json_object();
    for (int64_t i = 0; i < o->module_count; i++)
        if (o->modules[i].r > 0 && o->modules[i].r != o->r)
            json_object_set_new(object, o->modules[i].path, json_integer(o->modules[i].r));
    return object;
}

static json_t *alpha_pattern(const rf_peft_options *o)
{
    json_t *object = json_object();
    for (int64_t i = 0; i < o->module_count; i++)
        if (o->modules[i].r > 0 && o->modules[i].alpha != o->alpha)
            json_object_set_new(object, o->modules[i].path, number(o->modules[i].alpha));
    return object;
}

static json_t *saved_list(const rf_peft_options *o)
{
    if (o->modules_to_save.count == 0) return json_null();
    json_t *list = json_array();
    for (int i = 0; i < o->modules_to_save.count; i++)
        json_array_append_new(list, json_string(o->modules_to_save.name[i]));
    return list;
}

static json_t *config_of(const rf_peft_options *o)
{
    json_t *config = json_pack(
        "{s:s, s:s, s:s?, s:b, s:s, s:b, s:b, s:I, s:o, s:f, s:b, s:b, s:o, s:o, s:o, "
        "s:o, s:s}",
        "peft_type", "LORA", "task_type", "CAUSAL_LM", "base_model_name_or_path", o->base_model,
        "inference_mode", 1, "bias", "none", "fan_in_fan_out", 0, "init_lora_weights", 1, "r",
        (json_int_t)o->r, "lora_alpha", number(o->alpha), "lora_dropout", o->dropout, "use_rslora",
        o->use_rslora, "use_dora", o->use_dora, "target_modules", target_list(o), "rank_pattern",
        rank_pattern(o), "alpha_pattern", alpha_pattern(o), "modules_to_save", saved_list(o),
        "peft_version", "0.13.0");
    /* a key of later versions, written only where it changes something */
    if (config && o->is_tied && o->modules_to_save.count > 0 &&
        json_object_set_new(config, "ensure_weight_tying", json_true()) != 0) {
        json_decref(config);
        return NULL;
    }
    return config;
}

static rf_status write_readme(const rf_peft_options *o, const char *folder)
{
    char path[PATH_MAX], text[4096 + PATH_MAX];
    const char *base = o->base_model ? o->base_model : "";
    snprintf(path, sizeof path, "%s/README.md", folder);
    snprintf(
        text, sizeof text,
        "---\nbase_model: %s\nlibrary_name: peft\n---\n\nA %s adapter (r = %lld, alpha = %g%s), "
        "trained with Refract. Load it with\n`PeftModel.from_pretrained(base_model, "
        "\"this folder\")`.\n",
        base, o->use_dora ? "DoRA" : "LoRA", (long long)o->r, o->alpha,
        o->use_rslora ? ", scaled by 1/sqrt(r)" : "");
    return rf_file_write(path, text, strlen(text));
}

typedef struct paths {
    char config[PATH_MAX], waiting[PATH_MAX];
} paths;

/* The configuration waits under another name until the tensors it speaks of are there. */
static rf_status prepare(const rf_peft_options *o, const char *folder, paths *p)
{
    if (strlen(folder) > PATH_MAX - 64)
        return rf_fail(RF_WRITE, "the path %.200s... is too long", folder);
    RF_TRY(rf_folder_make(folder));
    snprintf(p->config, sizeof p->config, "%s/adapter_config.json", folder);
    snprintf(p->waiting, sizeof p->waiting, "%s/adapter_config.json.new", folder);
    RF_TRY(write_readme(o, folder));
    return rf_json_write(config_of(o), p->waiting);
}

/* Factors are matrices, also where r = 1. */
static uint8_t *mark_factors(const rf_field *fields, int64_t count)
{
    uint8_t *matrix = calloc((size_t)count + 1, 1);
    for (int64_t i = 0; matrix && i < count; i++)
        matrix[i] = strstr(fields[i].path, ".lora_A.") || strstr(fields[i].path, ".lora_B.");
    return matrix;
}

static rf_status write_tensors(const rf_grid *grid, const char *folder, const rf_field *named,
                               int64_t count, const rf_peft_options *o)
{
    uint8_t *matrix = mark_factors(named, count);
    const rf_safetensors_options options = {
        .dtype = o->dtype, .matrix = matrix, .stem = "adapter_model"};
    rf_status status = rf_agree(
        grid->world, matrix ? RF_OK : rf_fail(RF_RESOURCES, "no memory to write %s", folder));
    if (status == RF_OK) status = rf_safetensors_write(grid, folder, named, count, &options);
    free(matrix);
    return status;
}

rf_status rf_peft_write(const rf_grid *grid, const char *folder, const rf_field *fields,
                        int64_t count, const rf_peft_options *options)
{
    const int root = grid->rank == 0;
    paths p = {0};
    rf_field *named = NULL;
    RF_TRY_ALL(grid->world, root ? prepare(options, folder, &p) : RF_OK);
    rf_status status = rf_agree(grid->world, rf_peft_name_fields(&named, fields, count));
    if (status == RF_OK) status = write_tensors(grid, folder, named, count, options);
    free(named);
    if (status != RF_OK && root) unlink(p.waiting);
    RF_TRY(status);
    return rf_agree(grid->world, root ? rf_file_publish(p.waiting, p.config) : RF_OK);
}
