/* Tensors of a GGUF file under the names of transformers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gguf_file.h"
#include "refract/io/gguf_model.h"
#include "refract/io/gguf_write.h"

typedef struct name_pair {
    const char *gguf, *hf;
    int interleaved; /* heads stand as pairs (i, i + half) */
} name_pair;

static const name_pair whole[] = {
    {"token_embd", "model.embed_tokens", 0},
    {"output_norm", "model.norm", 0},
    {"output", "lm_head", 0},
};

/* Below blk.N. and model.layers.N. */
static const name_pair in_block[] = {
    {"attn_norm", "input_layernorm", 0},    {"attn_q", "self_attn.q_proj", 1},
    {"attn_k", "self_attn.k_proj", 1},      {"attn_v", "self_attn.v_proj", 0},
    {"attn_output", "self_attn.o_proj", 0}, {"ffn_norm", "post_attention_layernorm", 0},
    {"ffn_gate", "mlp.gate_proj", 0},       {"ffn_up", "mlp.up_proj", 0},
    {"ffn_down", "mlp.down_proj", 0},
};

static const name_pair *look_up(const name_pair *pairs, size_t count, const char *stem,
                                size_t length)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(pairs[i].gguf) == length && memcmp(pairs[i].gguf, stem, length) == 0)
            return &pairs[i];
    return NULL;
}

/* The pair of a name and the block it is in (-1: none); NULL for a name that no such model has. */
static const name_pair *split_name(const char *name, long *block, const char **suffix)
{
    const char *stem = name, *dot = strrchr(name, '.');
    *block = -1;
    if (!dot || (strcmp(dot, ".weight") != 0 && strcmp(dot, ".bias") != 0)) return NULL;
    *suffix = dot;
    if (strncmp(name, "blk.", 4) != 0)
        return look_up(whole, sizeof whole / sizeof *whole, stem, (size_t)(dot - stem));
    char *end = NULL;
    if (name[4] < '0' || name[4] > '9') return NULL;
    *block = strtol(name + 4, &end, 10);
    if (*end != '.' || end >= dot) return NULL;
    stem = end + 1;
    return look_up(in_block, sizeof in_block / sizeof *in_block, stem, (size_t)(dot - stem));
}

/* Frequencies that the configuration has taken in already. */
static int is_computed(const char *name)
{
    return strcmp(name, "rope_freqs.weight") == 0 || strstr(name, "attn_rot_embd") != NULL ||
           strstr(name, "rotary_emb.inv_freq") != NULL;
}

static rf_status rename_tensor(rf_tensor_info *info, const rf_gguf *g, int64_t d_head)
{
    char name[256];
    long block = -1;
    const char *suffix = "";
    const name_pair *pair = split_name(info->name, &block, &suffix);
    if (!pair)
        return rf_fail(RF_INPUT, "tensor '%s' is of no llama model (%s)", info->name,
                       rf_gguf_path(g));
    if (block < 0)
        snprintf(name, sizeof name, "%s%s", pair->hf, suffix);
    else
        snprintf(name, sizeof name, "model.layers.%ld.%s%s", block, pair->hf, suffix);
    if (pair->interleaved) info->interleaved = d_head;
    if (info->interleaved && info->dims > 0 && info->dim[0] % d_head != 0)
        return rf_fail(RF_INPUT, "tensor '%s' has %lld rows, no heads of %lld (%s)", info->name,
                       (long long)info->dim[0], (long long)d_head, rf_gguf_path(g));
    info->name = strdup(name);
    return info->name ? RF_OK : rf_fail(RF_RESOURCES, "no memory for the names of tensors");
}

static rf_status copy_table(rf_safetensors *to, const rf_gguf *g, int64_t d_head)
{
    const rf_safetensors *from = g->table;
    to->tensor = calloc((size_t)from->count + 1, sizeof *to->tensor);
    if (!to->tensor) return rf_fail(RF_RESOURCES, "no memory for the names of tensors");
    to->capacity = from->count;
    RF_TRY(rf_safetensors_add_file(to, g->path));
    for (int64_t i = 0; i < from->count; i++) {
        rf_tensor_info info = from->tensor[i];
        if (is_computed(info.name)) continue;
        RF_TRY(rename_tensor(&info, g, d_head));
        to->tensor[to->count++] = info;
    }
    return rf_safetensors_sort(to);
}

rf_status rf_gguf_model_tensors(rf_safetensors **tensors, const rf_gguf *gguf,
                                const rf_model_config *config)
{
    *tensors = calloc(1, sizeof **tensors);
    if (!*tensors) return rf_fail(RF_RESOURCES, "no memory to open %s", gguf->path);
    const rf_status status = copy_table(*tensors, gguf, config->d_head);
    if (status != RF_OK) rf_safetensors_close(tensors);
    return status;
}

static const name_pair *look_up_hf(const name_pair *pairs, size_t count, const char *stem,
                                   size_t length)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(pairs[i].hf) == length && memcmp(pairs[i].hf, stem, length) == 0)
            return &pairs[i];
    return NULL;
}

int rf_gguf_tensor_name(char *name, size_t bytes, const char *hf, int *interleaved)
{
    static const char layers[] = "model.layers.";
    const char *stem = hf, *dot = strrchr(hf, '.');
    char block[32] = "";
    const name_pair *pair = NULL;
    if (!dot) return 0;
    if (strncmp(hf, layers, sizeof layers - 1) == 0) {
        char *end = NULL;
        const long number = strtol(hf + sizeof layers - 1, &end, 10);
        if (*end != '.' || end >= dot) return 0;
        snprintf(block, sizeof block, "blk.%ld.", number);
        stem = end + 1;
        pair = look_up_hf(in_block, sizeof in_block / sizeof *in_block, stem, (size_t)(dot - stem));
    } else {
        pair = look_up_hf(whole, sizeof whole / sizeof *whole, stem, (size_t)(dot - stem));
    }
    if (!pair) return 0;
    *interleaved = pair->interleaved;
    return snprintf(name, bytes, "%s%s%s", block, pair->gguf, dot) < (int)bytes;
}

int rf_gguf_hf_module(char *module, size_t bytes, const char *name, int *interleaved)
{
    long block = -1;
    const char *suffix = "";
    const name_pair *pair = split_name(name, &block, &suffix);
    if (!pair || block < 0 || strcmp(suffix, ".weight") != 0 || !strstr(pair->hf, "_proj"))
        return 0;
    *interleaved = pair->interleaved;
    return snprintf(module, bytes, "model.layers.%ld.%s", block, pair->hf) < (int)bytes;
}
