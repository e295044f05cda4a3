/**
 * Adapter folders of PEFT: adapter_config.json, adapter_model.safetensors, README.md. Tensors are
 * named here by module path and suffix, e.g. "model.layers.0.self_attn.q_proj.lora_A.weight"; on
 * disk "base_model.model." stands before it. Suffixes: ".lora_A.weight" [r, in], ".lora_B.weight"
 * [out, r],
 * ".lora_magnitude_vector" [out]; a module trained in full has its plain names. Source:
 * huggingface/peft docs/source/developer_guides/checkpoint.md, src/peft/tuners/lora/config.py,
 * utils/save_and_load.py.
 */
#ifndef RF_IO_PEFT_H
#define RF_IO_PEFT_H

#include "refract/adapter/targets.h"
#include "refract/base/log.h"
#include "refract/io/checkpoint.h"
#include "refract/io/safetensors.h"

/** A linear module of the model and its adapter; r = 0 where it has none. */
typedef struct rf_peft_module {
    const char *path; /**< borrowed */
    int64_t r;
    double alpha;
} rf_peft_module;

/** What goes into adapter_config.json; strings are borrowed. */
typedef struct rf_peft_options {
    const rf_peft_module *modules; /**< every linear of the model: target_modules follow from it */
    int64_t module_count;
    int64_t
        r; /**< modules that differ go into rank_pattern and alpha_pattern, by their full paths */
    double alpha, dropout;
    int use_rslora, use_dora;
    rf_names modules_to_save;
    int is_tied;            /**< 1: the head follows a saved embedding */
    const char *base_model; /**< path or name of the base model */
    const rf_dtype *dtype;  /**< type of the tensors in the file, NULL = as in memory */
} rf_peft_options;

/**
 * Writes folder (made if missing) from fields named as above. Collective over the grid's world;
 * arguments equal on all ranks. RF_WRITE, RF_RESOURCES; an older adapter in the folder then stays
 * as it was.
 */
rf_status rf_peft_write(const rf_grid *grid, const char *folder, const rf_field *fields,
                        int64_t count, const rf_peft_options *options);

/** An adapter folder opened for reading. */
typedef struct rf_peft {
    int64_t r; /**< where no pattern says otherwise */
    double alpha, dropout;
    int use_rslora, use_dora;
    rf_targets *targets;      /**< owned; which modules, r and alpha of each */
    rf_names modules_to_save; /**< owned */
    const char *base_model;   /**< owned; NULL if not said */
    rf_safetensors *tensors;  /**< owned */
    char *config_path;        /**< owned */
    void *document;           /**< owned; the parsed configuration */
} rf_peft;

/**
 * Opens a folder. What is not implemented (another peft_type, biases, replicated layers,
 * initialisations that change the base, ...) is refused by name; unknown keys are warned of (log
 * may be NULL). Collective over comm; RF_INPUT names file and key, RF_RESOURCES.
 */
rf_status rf_peft_open(rf_peft **peft, MPI_Comm comm, const char *folder, rf_log *log);
/**
 * The same for a LoRA adapter of a llama model in a GGUF file, whose q and k heads have d_head
 * rows. Collective over comm; RF_INPUT names file and tensor or key, RF_RESOURCES.
 */
rf_status rf_peft_open_gguf(rf_peft **peft, MPI_Comm comm, const char *path, int64_t d_head);
void rf_peft_close(rf_peft **peft);

/**
 * Applies the folder's rules to the linear modules of the model; a rule that matches nothing is
 * warned of. RF_INPUT when no module is targeted. Local.
 */
rf_status rf_peft_match(const rf_peft *peft, const char *const *modules, int64_t count,
                        rf_target *targets, rf_log *log);

/**
 * Reads this rank's slices of every field (named as above). Every tensor of the file must be a
 * field's and every field's tensor there, with its shape; the first that is not is named.
 * Collective over the grid's world; RF_INPUT.
 */
rf_status rf_peft_read(const rf_peft *peft, const rf_grid *grid, const rf_field *fields,
                       int64_t count);

#endif
