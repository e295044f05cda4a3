/**
 * A base model as files, whatever they are: a folder as transformers saves it (config.json,
 * *.safetensors, tokenizer.json) or one GGUF file. All names and shapes are those of the former.
 */
#ifndef RF_IO_MODEL_FILES_H
#define RF_IO_MODEL_FILES_H

#include <mpi.h>

#include "refract/data/tokenizer.h"
#include "refract/io/safetensors.h"
#include "refract/model/config.h"

/** The shape of the model: rf_hf_config_read or rf_gguf_config. Local; RF_INPUT, RF_RESOURCES. */
rf_status rf_model_files_config(rf_model_config *config, const char *path);

/**
 * The table of its tensors: rf_safetensors_open or rf_gguf_model_tensors. The caller owns *tensors.
 * Local; RF_INPUT, RF_RESOURCES.
 */
rf_status rf_model_files_open(rf_safetensors **tensors, const char *path);
/** The same on all ranks; *tensors is NULL everywhere when one failed. Collective over comm. */
rf_status rf_model_files_open_all(rf_safetensors **tensors, MPI_Comm comm, const char *path);

/**
 * Type in which a tensor of such a table is held in memory unless told otherwise: its own if
 * products can be made with it (f32, bf16, q8_0, q4_0, q4_1), else f32 for plain numbers and bf16
 * for other blocks. `tensors` is an rf_safetensors; f32 for a name that is not there. Local.
 */
rf_dtype rf_model_files_storage(const void *tensors, const char *name);

/** Its tokeniser: rf_tokenizer_load or rf_gguf_tokenizer. The caller owns it. Local; the same. */
rf_status rf_model_files_tokenizer(rf_tokenizer **tokenizer, const char *path);

#endif
