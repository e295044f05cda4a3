/* What the sources of exports share; private to layer train. */
#ifndef RF_TRAIN_EXPORT_PARTS_H
#define RF_TRAIN_EXPORT_PARTS_H

#include <limits.h>

#include "refract/io/safetensors.h"
#include "refract/train/export.h"
#include "refract/train/train.h"

/* A and B of module i of a pruned model, in the whole base's shape with zeros where it was cut;
 * made: to be freed. Collective over world; RF_RESOURCES. */
rf_status export_recover_factors(const rf_decoder *decoder, const rf_pruning *pruning, int64_t i,
                                 rf_field *const factor[2], rf_real *made[2]);

/* What goes out of adapters: fields of the table, some of which point at arrays made for it. */
typedef struct export_outgoing {
    rf_peft_module *modules; /* [count_linears]; owned */
    int64_t count_linears;
    char (*names)[RF_NAME_BYTES]; /* [count_linears]; owned */
    rf_field *fields;             /* owned */
    int64_t count;
    rf_real **made;           /* [count_linears] A and B of one module; owned */
    rf_real *(*recovered)[2]; /* the same for the whole base of a pruned model; owned */
} export_outgoing;

/* Plain factors over the base of the files. Collective over world; RF_USAGE where there are none,
 * RF_RESOURCES. export_outgoing_close is due in any case. */
rf_status export_outgoing_open(export_outgoing *outgoing, const rf_session *session);
void export_outgoing_close(export_outgoing *outgoing);
/* r, alpha and scaling of modules without a pattern. Local. */
rf_adapter_options export_common_options(const rf_session *session);

/* The tensors of the base with what was trained in them, one at a time. */
typedef struct export_merging {
    const rf_decoder *decoder; /* borrowed; prepared */
    rf_field *fields;          /* [count] of type rf_real, without data; owned */
    int64_t count;
    const rf_param **row;       /* [count] the rows they are of; owned */
    const rf_adapter **adapter; /* [count] NULL where there is none; owned */
    rf_real *wide;              /* room for the largest one of this rank; owned */
} export_merging;

/* Local; RF_RESOURCES. export_merging_close is due in any case. */
rf_status export_merging_open(export_merging *merging, const rf_decoder *decoder);
void export_merging_close(export_merging *merging);
/* An rf_field_fill: the tensor widened, its adapter merged in. */
rf_status export_merging_fill(void *merging, int64_t index, const void **data);
/* HF shards in `folder`. Collective over world; RF_WRITE, RF_RESOURCES. */
rf_status export_write_merged(const rf_session *session, const char *folder, rf_dtype dtype);

/* folder/model.gguf, and folder/adapter.gguf. Collective over world; RF_USAGE for what llama.cpp
 * cannot hold, RF_WRITE, RF_RESOURCES. */
rf_status export_write_gguf(const rf_session *session, const char *folder, rf_dtype dtype);
rf_status export_write_gguf_adapter(const rf_session *session, const char *folder);

/* Where tokenizer.json is: the folder of model.tokenizer, else model.path. Local. */
void export_tokenizer_folder(const rf_session *session, char folder[PATH_MAX]);

/* The spelling of config.json. Local. */
void export_name_dtype(rf_model_config *model, rf_dtype dtype);

/* A folder beside `out` that takes its name when complete. */
typedef struct export_stage {
    MPI_Comm world;
    int is_root;
    const char *out;       /* borrowed */
    char folder[PATH_MAX]; /* what is written to */
    int is_open;
} export_stage;

/* Refuses an `out` that is there, unless `force` and it is an earlier export. Collective over
 * world; RF_USAGE, RF_WRITE. */
rf_status export_stage_open(export_stage *stage, MPI_Comm world, const char *out, int force);
/* Gives the folder its name. Collective over world; RF_WRITE. */
rf_status export_stage_publish(export_stage *stage);
/* Removes what was not published. Local. */
void export_stage_close(export_stage *stage);
/* What the README.md of every export says; by it --force knows one. */
#define EXPORT_MARK "Written by refract export"

/* A few rows of tokens, and logits of the trained model on them to compare with. */
typedef struct export_probe {
    int64_t tokens, samples;
    int64_t *begin;          /* [samples + 1]; owned */
    int32_t *ids, *position; /* [tokens]; owned */
    const char *source;      /* data.eval or "a fixed sequence" */
    int64_t vocab;
    rf_real *logits; /* [tokens, vocab]; owned; NULL until taken */
} export_probe;

/* The first samples of data.eval, else a fixed sequence. Collective over world. */
rf_status export_probe_open(export_probe *probe, const rf_session *session);
void export_probe_close(export_probe *probe);
/* Most that a decoder must hold for it. Local. */
rf_bounds export_probe_bounds(const export_probe *probe);
/* Keeps the logits of a prepared decoder. Collective over world; RF_NONFINITE, RF_RESOURCES. */
rf_status export_probe_take(export_probe *probe, rf_decoder *decoder);

/* Largest difference to the logits that were kept. */
typedef struct export_difference {
    double absolute, largest; /* and the largest logit */
} export_difference;
rf_status export_probe_compare(const export_probe *probe, rf_decoder *decoder,
                               export_difference *difference);

#endif
