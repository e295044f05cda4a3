#include "refract/io/model_files.h"

#include "refract/comm/agree.h"
#include "refract/io/gguf_model.h"
#include "refract/io/hf_config.h"
#include "refract/linalg/quant.h"

/* What is wanted of a GGUF file. */
typedef struct wish {
    rf_model_config *config;
    rf_safetensors **tensors;
    rf_tokenizer **tokenizer;
} wish;

static rf_status fulfil(const wish *w, const rf_gguf *gguf)
{
    rf_model_config config;
    if (w->tokenizer) return rf_gguf_tokenizer(w->tokenizer, gguf);
    RF_TRY(rf_gguf_config(w->config ? w->config : &config, gguf));
    return w->tensors ? rf_gguf_model_tensors(w->tensors, gguf, &config) : RF_OK;
}

static rf_status ask_gguf(const char *path, wish w)
{
    rf_gguf *gguf = NULL;
    RF_TRY(rf_gguf_open(&gguf, path));
    const rf_status status = fulfil(&w, gguf);
    rf_gguf_close(&gguf);
    return status;
}

rf_status rf_model_files_config(rf_model_config *config, const char *path)
{
    if (!rf_gguf_recognises(path)) return rf_hf_config_read(config, path);
    return ask_gguf(path, (wish){.config = config});
}

rf_status rf_model_files_open(rf_safetensors **tensors, const char *path)
{
    *tensors = NULL;
    if (!rf_gguf_recognises(path)) return rf_safetensors_open(tensors, path);
    return ask_gguf(path, (wish){.tensors = tensors});
}

rf_status rf_model_files_open_all(rf_safetensors **tensors, MPI_Comm comm, const char *path)
{
    const rf_status status = rf_agree(comm, rf_model_files_open(tensors, path));
    if (status != RF_OK) rf_safetensors_close(tensors);
    return status;
}

rf_dtype rf_model_files_storage(const void *tensors, const char *name)
{
    const rf_tensor_info *info = rf_safetensors_find(tensors, name);
    if (!info || !info->known) return RF_F32;
    if (info->type == RF_BF16 || rf_dtype_is_held_block(info->type)) return info->type;
    return rf_dtype_block(info->type) > 1 ? RF_BF16 : RF_F32;
}

rf_status rf_model_files_tokenizer(rf_tokenizer **tokenizer, const char *path)
{
    *tokenizer = NULL;
    if (!rf_gguf_recognises(path)) return rf_tokenizer_load(tokenizer, path);
    return ask_gguf(path, (wish){.tokenizer = tokenizer});
}
