/** Models and adapters as folders that others read, and the command `export`. */
#ifndef RF_TRAIN_EXPORT_H
#define RF_TRAIN_EXPORT_H

#include "refract/train/session.h"
#include "refract/train/train.h"

typedef enum rf_export_format {
    RF_EXPORT_PEFT,        /**< an adapter over the base of the files */
    RF_EXPORT_MERGED,      /**< an HF folder of the whole model */
    RF_EXPORT_PRUNED,      /**< an HF folder of what a prune has left */
    RF_EXPORT_GGUF,        /**< the whole model as model.gguf */
    RF_EXPORT_GGUF_ADAPTER /**< an adapter for llama.cpp as adapter.gguf */
} rf_export_format;

/** "peft", "merged", ...; 0 where there is no such format. Local. */
int rf_export_format_named(rf_export_format *format, const char *name);

typedef struct rf_export_options {
    rf_export_format format;
    const char *out;   /**< the folder to make; borrowed */
    const char *dtype; /**< type of a model's numbers; NULL = the base's own, f32 if quantised */
    int force;         /**< 1: an earlier export of that name is replaced */
} rf_export_options;

/**
 * Writes the state that eval.adapter names (the run's newest one, mostly) beside `out`, loads it
 * again from there, compares logits with the trained model's (on the first rows of data.eval, else
 * a fixed sequence), prints the largest difference, puts it into README.md, and gives the folder
 * its name. The same bytes on every layout. Collective over world; every status of the program;
 * nothing stays under the name when it fails.
 */
rf_status rf_export(rf_config *config, const rf_environment *environment,
                    const rf_export_options *options);

/** 1 when rf_export_pruned can write the session's model: a prune left every layer as large. Local.
 */
int rf_export_fits_pruned(const rf_session *session);

/**
 * What a prune has left, adapters merged into it, as an HF folder: config.json with the
 * heads, key/value heads and intermediate size left, *.safetensors, tokeniser files. A session
 * with weights in place. Collective over world; RF_USAGE where layers differ in size or nothing was
 * pruned, RF_WRITE, RF_RESOURCES.
 */
rf_status rf_export_pruned(const rf_session *session, const char *folder, rf_dtype dtype);

/**
 * The adapters as a PEFT folder over the base of the files: gates multiplied into B, the difference
 * of twice the rank where the base was moved, zeros where a prune has cut. Collective over world;
 * RF_USAGE where there are none, RF_WRITE, RF_RESOURCES.
 */
rf_status rf_export_adapter(const rf_session *session, const char *folder);

/**
 * Files beside the weights: config.json of `model`, and the tokeniser's as they are. Local;
 * RF_WRITE.
 */
rf_status rf_export_side_files(const rf_session *session, const rf_model_config *model,
                               const char *folder);

#endif
