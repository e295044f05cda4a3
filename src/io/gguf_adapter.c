/* LoRA adapters in GGUF files, opened as if they were PEFT folders. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf_file.h"
#include "peft_folder.h"
#include "refract/comm/agree.h"
#include "refract/io/gguf_model.h"
#include "refract/model/params.h"

static rf_status wants(const rf_gguf *g, const char *key, const char *word)
{
    rf_bytes text = {0};
    RF_TRY(rf_gguf_require(g, key));
    RF_TRY(rf_gguf_text(g, key, &text));
    if (text.length == strlen(word) && memcmp(text.at, word, text.length) == 0) return RF_OK;
    return rf_fail(RF_INPUT, "'%s' is '%.*s', not %s (%s). Give a LoRA adapter of a llama model",
                   key, (int)(text.length < 64 ? text.length : 64), text.at, word, rf_gguf_path(g));
}

/* "blk.0.attn_q.weight.lora_b" -> module "model.layers.0.self_attn.q_proj", and which factor. */
static rf_status module_of(char *module, size_t bytes, const rf_tensor_info *info, int *is_b,
                           int *interleaved, const rf_gguf *g)
{
    char name[256];
    static const char *const tails[] = {".lora_a", ".lora_b"};
    const size_t length = strlen(info->name), tail = strlen(tails[0]);
    for (int k = 0; k < 2 && length > tail && length < sizeof name; k++) {
        if (strcmp(info->name + length - tail, tails[k]) != 0) continue;
        *is_b = k;
        snprintf(name, sizeof name, "%.*s", (int)(length - tail), info->name);
        if (info->dims == 2 && rf_gguf_hf_module(module, bytes, name, interleaved)) return RF_OK;
    }
    return rf_fail(RF_INPUT, "tensor '%s' is no factor of a linear layer of a llama model (%s)",
                   info->name, rf_gguf_path(g));
}

/* What is being put together. */
typedef struct adapter {
    rf_peft *peft;
    char (*module)[RF_NAME_BYTES];  /* [count] of the B factors; owned */
    char (*key)[2 * RF_NAME_BYTES]; /* [count] the same as an expression; owned */
    const char **name;              /* [count] owned */
    rf_pattern *rank, *alpha;       /* [count] owned */
    int count;
} adapter;

static void as_expression(char *key, const char *module)
{
    for (; *module; module++) {
        if (*module == '.') *key++ = '\\';
        *key++ = *module;
    }
    *key = '\0';
}

static rf_status add_tensor(adapter *a, rf_safetensors *to, const rf_tensor_info *from,
                            const rf_gguf *g, double alpha, int64_t d_head)
{
    char module[RF_NAME_BYTES], name[2 * RF_NAME_BYTES];
    int is_b = 0, interleaved = 0;
    rf_tensor_info info = *from;
    RF_TRY(module_of(module, sizeof module, from, &is_b, &interleaved, g));
    snprintf(name, sizeof name, RF_PEFT_PREFIX "%s.lora_%c.weight", module, is_b ? 'B' : 'A');
    info.interleaved = is_b && interleaved ? d_head : 0;
    if (info.interleaved && info.dim[0] % d_head != 0)
        return rf_fail(RF_INPUT, "tensor '%s' has %lld rows, no heads of %lld (%s)", from->name,
                       (long long)info.dim[0], (long long)d_head, rf_gguf_path(g));
    info.name = strdup(name);
    if (!info.name) return rf_fail(RF_RESOURCES, "no memory for the names of tensors");
    to->tensor[to->count++] = info;
    if (!is_b) return RF_OK;
    const int i = a->count++;
    const int64_t r = info.dim[1];
    strcpy(a->module[i], module);
    as_expression(a->key[i], module);
    a->name[i] = a->module[i];
    a->rank[i] = (rf_pattern){a->key[i], (double)r};
    a->alpha[i] = (rf_pattern){a->key[i], alpha == 0 ? (double)r : alpha}; /* 0: a scale of 1 */
    return RF_OK;
}

static rf_status take_lists(adapter *a, int64_t most)
{
    const size_t n = (size_t)most + 1;
    a->module = calloc(n, sizeof *a->module);
    a->key = calloc(n, sizeof *a->key);
    a->name = calloc(n, sizeof *a->name);
    a->rank = calloc(n, sizeof *a->rank);
    a->alpha = calloc(n, sizeof *a->alpha);
    if (a->module && a->key && a->name && a->rank && a->alpha) return RF_OK;
    return rf_fail(RF_RESOURCES, "no memory for the modules of an adapter");
}

static rf_status copy_table(adapter *a, const rf_gguf *g, double alpha, int64_t d_head)
{
    const rf_safetensors *from = g->table;
    rf_safetensors *to = calloc(1, sizeof *to);
    a->peft->tensors = to;
    if (to) to->tensor = calloc((size_t)from->count + 1, sizeof *to->tensor);
    if (!to || !to->tensor) return rf_fail(RF_RESOURCES, "no memory for the names of tensors");
    to->capacity = from->count;
    RF_TRY(rf_safetensors_add_file(to, rf_gguf_path(g)));
    for (int64_t i = 0; i < from->count; i++)
        RF_TRY(add_tensor(a, to, &from->tensor[i], g, alpha, d_head));
    return rf_safetensors_sort(to);
}

static rf_status make_targets(adapter *a, const rf_gguf *g)
{
    if (a->count == 0)
        return rf_fail(RF_INPUT, "the adapter holds no factors (%s). Make it again",
                       rf_gguf_path(g));
    a->peft->r = (int64_t)a->rank[0].value;
    a->peft->alpha = a->alpha[0].value;
    const rf_target_rules rules = {.r = a->peft->r,
                                   .alpha = a->peft->alpha,
                                   .modules = {a->name, a->count},
                                   .rank_pattern = a->rank,
                                   .rank_pattern_count = a->count,
                                   .alpha_pattern = a->alpha,
                                   .alpha_pattern_count = a->count,
                                   .where = rf_gguf_path(g),
                                   .foreign = 1};
    const rf_status status = rf_targets_create(&a->peft->targets, &rules);
    return status == RF_USAGE ? rf_fail(RF_INPUT, "%s", rf_status_message()) : status;
}

static rf_status read_all(adapter *a, const rf_gguf *g, int64_t d_head)
{
    double alpha = 0;
    RF_TRY(wants(g, "general.type", "adapter"));
    RF_TRY(wants(g, "general.architecture", "llama"));
    RF_TRY(wants(g, "adapter.type", "lora"));
    RF_TRY(rf_gguf_number(g, "adapter.lora.alpha", -1e9, 1e9, &alpha));
    a->peft->config_path = strdup(rf_gguf_path(g));
    if (!a->peft->config_path) return rf_fail(RF_RESOURCES, "no memory for a path");
    RF_TRY(take_lists(a, g->table->count));
    RF_TRY(copy_table(a, g, alpha, d_head));
    return make_targets(a, g);
}

static rf_status open_file(rf_peft **peft, const char *path, int64_t d_head)
{
    rf_gguf *g = NULL;
    adapter a = {.peft = *peft = calloc(1, sizeof **peft)};
    if (!a.peft) return rf_fail(RF_RESOURCES, "no memory to open %s", path);
    rf_status status = rf_gguf_open(&g, path);
    if (status == RF_OK) status = read_all(&a, g, d_head);
    rf_gguf_close(&g);
    free(a.module);
    free(a.key);
    free(a.name);
    free(a.rank);
    free(a.alpha);
    return status;
}

rf_status rf_peft_open_gguf(rf_peft **peft, MPI_Comm comm, const char *path, int64_t d_head)
{
    const rf_status status = rf_agree(comm, open_file(peft, path, d_head));
    if (status != RF_OK) rf_peft_close(peft);
    return status;
}
