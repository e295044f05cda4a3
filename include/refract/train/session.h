/** What a command works with: model, tokeniser, layout and memory, built from the configuration. */
#ifndef RF_TRAIN_SESSION_H
#define RF_TRAIN_SESSION_H

#include <mpi.h>

#include "refract/adapter/targets.h"
#include "refract/base/arena.h"
#include "refract/base/config.h"
#include "refract/base/log.h"
#include "refract/comm/grid.h"
#include "refract/comm/shared.h"
#include "refract/data/samples.h"
#include "refract/data/tokenizer.h"
#include "refract/io/peft.h"
#include "refract/method/method.h"
#include "refract/model/config.h"
#include "refract/model/decoder.h"
#include "refract/train/resident.h"

typedef struct rf_session {
    rf_config *config;        /**< borrowed; `auto` values are resolved in it */
    const rf_config *trained; /**< borrowed: method and lora.* are read from here; mostly config */
    rf_log *log;              /**< borrowed */
    MPI_Comm world;           /**< borrowed */
    int threads;
    rf_trained_choice *trains;   /**< tensors of the base that are trained instead of adapters */
    rf_bottlenecks bottleneck;   /**< trained instead of low-rank adapters; size 0: none */
    const rf_adapter_kind *kind; /**< of the adapters; NULL where there are none */
    rf_model_config model;
    rf_tokenizer *tokenizer;  /**< owned; NULL where the model folder has none */
    rf_targets *targets;      /**< owned; NULL without adapters */
    rf_peft *start;           /**< owned; the PEFT folder to start from, or NULL */
    rf_names saved;           /**< modules trained in full beside adapters; names borrowed */
    const char **saved_names; /**< owned */
    int is_estimating;   /**< 1: the stage before a prune: trained masks beside plain adapters */
    rf_pruning *pruning; /**< owned; what a prune has left of the model; NULL: all */
    rf_grid grid;
    int imagined_size; /**< > 0: plan for that many ranks, of which this is imagined_rank */
    int imagined_rank, imagined_tensor; /**< imagined_tensor > 0: in place of parallel.tensor */
    rf_decoder *decoder;                /**< owned */
    rf_arena run, step, scratch;
    const rf_resident *resident; /**< a base that is held already; NULL = none; borrowed */
    int borrows_base;            /**< 1: all base weights are the resident ones */
    rf_shared shared; /**< frozen base weights of the ranks of a node that hold the same; owned */
    char base_digest[65]; /**< SHA-256 of the base model; "" until weights are loaded */
} rf_session;

/** Most that one micro-batch and one step will hold. */
typedef struct rf_bounds {
    int64_t tokens, samples, length; /**< of a micro-batch; of a sample */
    int64_t leaves;                  /**< micro-batches of a step */
} rf_bounds;

/**
 * Reads model configuration, tokeniser and target rules; `trained` is the configuration that names
 * the adapters (config itself, or that of a checkpoint). The session is zeroed first. Collective
 * over world; RF_USAGE, RF_INPUT, RF_RESOURCES. rf_session_close is due in any case. The caller may
 * set `resident` before the plan.
 */
rf_status rf_session_open(rf_session *session, rf_config *config, const rf_config *trained,
                          rf_log *log, MPI_Comm world, int threads);

/** For training: takes lora.start, if set; its rules replace lora.*, which may not contradict.
 * Collective over world; RF_USAGE, RF_INPUT. */
rf_status rf_session_take_start(rf_session *session);

/** Takes the adapter of a PEFT folder, or, where a checkpoint's configuration names the method,
 * only its rules: the folder the run began with. Collective over world; RF_INPUT. */
rf_status rf_session_start_from(rf_session *session, const char *folder);

/** The smallest micro-batch limit that the configuration allows: train.micro_tokens resolved.
 * Local. */
int64_t rf_session_micro_tokens(rf_session *session);

/**
 * Settles parallel.tensor and model.storage, makes grid and decoder and counts the arenas (their
 * `peak`); no memory is taken yet. with_adapter = 0: the base model alone. Collective over world.
 */
rf_status rf_session_plan(rf_session *session, const rf_bounds *bounds, int training,
                          int with_adapter);

/** Takes the plan back, so that another can be made; not after memory was taken. Collective over
 * world. */
void rf_session_unplan(rf_session *session);

/**
 * Gives decoder and memory back and plans anew on the same grid, by what is_estimating and pruning
 * now say. Collective over world.
 */
rf_status rf_session_replan(rf_session *session, const rf_bounds *bounds, int training);

/**
 * Before the plan: the stage of a method with a prune that a checkpoint is of (is_estimating,
 * pruning). Nothing is done for other methods. Collective over world; RF_INPUT, RF_RESOURCES.
 */
rf_status rf_session_follow(rf_session *session, const rf_checkpoint *checkpoint);

/** What a prune has left as fields of a checkpoint below /pruning. Local; RF_RESOURCES. */
rf_status rf_session_pruning_fields(const rf_pruning *pruning, rf_fields *fields);

/** linalg.distribute_above, `auto` resolved: most elements of a matrix that one rank factorises.
 * Local. */
int64_t rf_session_distribute_above(rf_session *session);

/** Root prints the plan: memory per rank by arena. Local. */
void rf_session_print_plan(const rf_session *session);

/**
 * Takes the memory that the counting arenas have counted (the caller's layouts after the plan
 * included), cuts the decoder out of it and binds its layers. Collective over world; RF_RESOURCES.
 */
rf_status rf_session_allocate(rf_session *session);

/** Reads (or draws) base weights, draws adapters or reads lora.start. Collective over world. */
rf_status rf_session_weights(rf_session *session);

void rf_session_close(rf_session *session);

#endif
