/**
 * What a method does between backward and the next step, and the list of those a run has chosen.
 *
 * Order within a step: gradients (after_gradient), clip, refactoring of gradients (before_update),
 * update (update, or AdamW), rescaling and snapshot (after_update), event, telemetry, checkpoint.
 * Several methods act one after another in the registry's order. Whatever they do, every rank does
 * it from the same bits, and the bits do not depend on the layout.
 */
#ifndef RF_METHOD_METHOD_H
#define RF_METHOD_METHOD_H

#include <stdint.h>

#include "refract/base/arena.h"
#include "refract/base/config.h"
#include "refract/base/log.h"
#include "refract/comm/grid.h"
#include "refract/io/checkpoint.h"
#include "refract/io/telemetry.h"
#include "refract/model/decoder.h"
#include "refract/model/params.h"
#include "refract/optim/adamw.h"

/** One adapted module: its tensors as rows of the table. */
typedef struct rf_module {
    char name[RF_NAME_BYTES]; /**< "model.layers.0.self_attn.q_proj" */
    int64_t d_in, d_out, r;
    double scaling;
    int64_t a, b; /**< rows of A [r, d_in] and B [d_out, r] */
    int64_t gate; /**< row of the gate's logits [r]; -1 = none */
    int64_t e;    /**< row of AdaLoRA's diagonal E [r]; -1 = none */
} rf_module;

/** All of them in model order, which also breaks ties. */
typedef struct rf_modules {
    rf_module *item; /**< [count]; owned */
    int64_t count;
    int64_t most_r;
} rf_modules;

/** Lists the decoder's adapted modules; rf_modules_destroy is due. Local; RF_RESOURCES. */
rf_status rf_modules_of(rf_modules *modules, const rf_decoder *decoder);
void rf_modules_destroy(rf_modules *modules);

/** What methods work with; everything is borrowed for the life of the list. */
typedef struct rf_method_context {
    rf_config *config; /**< checked; `auto` values of the methods are resolved in it */
    const rf_grid *grid;
    rf_params *params;
    const rf_modules *modules;
    const rf_decoder *decoder;
    const rf_adamw *adamw;
    rf_log *log;
    int64_t steps;     /**< of the stage: the whole run, or one of a run's two */
    int is_estimation; /**< 1: the stage before a prune */
    int threads;
} rf_method_context;

/** One step: what all hooks of that step are given. */
typedef struct rf_method_step {
    int64_t number; /**< of the update in its stage, from 1 */
    double scale;   /**< what clipping multiplies gradients by; the update applies it */
    double rate;    /**< learning rate */
} rf_method_step;

/** A growing table of checkpoint fields. */
typedef struct rf_fields {
    rf_field *item; /**< [count]; owned */
    int64_t count, capacity;
} rf_fields;

/** Adds a field; path is formatted like printf. Local; RF_RESOURCES. */
rf_status rf_fields_add(rf_fields *fields, rf_shape shape, rf_dtype dtype, void *data,
                        const char *path, ...) __attribute__((format(printf, 5, 6)));

/** What a prune leaves. */
typedef struct rf_pruned {
    rf_pruning *pruning; /**< owned by the caller */
    uint8_t *rank_kept;  /**< [ranks of all modules, one after another]; owned by the caller */
} rf_pruned;

/** How a method takes part; every hook but create and destroy may be NULL. `self` is its own. */
typedef struct rf_method_hooks {
    int estimates; /**< 1: acts in the stage before a prune, and in no other */
    /** Makes the method, resolves its keys. Local, the same on all ranks; RF_USAGE, RF_RESOURCES.
     */
    rf_status (*create)(void **self, const rf_method_context *context);
    void (*destroy)(void *self);
    /** Cuts its memory out of the arenas, as rf_decoder_layout does. Local. */
    void (*layout)(void *self, rf_arena *run, rf_arena *scratch);
    /** Once, when a run begins, with the initial values in place. Collective over world. */
    void (*start)(void *self);
    /** Makes the summed gradient [trained_items] what its norm is taken of. Collective. */
    void (*after_gradient)(void *self, rf_real *gradient);
    /** Refactors the gradient [trained_items], not yet scaled by step->scale. Collective. */
    void (*before_update)(void *self, const rf_method_step *step, rf_real *gradient);
    /** Updates tensors in AdamW's place and sets done[row] of the table. Collective. */
    void (*update)(void *self, const rf_method_step *step, rf_real *gradient, unsigned char *done);
    /** After the update. Collective over world. */
    void (*after_update)(void *self, const rf_method_step *step);
    /** After `after_update` and the measuring of ranks. Collective over world. */
    void (*event)(void *self, const rf_method_step *step);
    /** importance [modules, rank_r] of every rank, where the method has its own measure. Local. */
    void (*importance)(const void *self, double *importance, int64_t rank_r);
    /** State after `step` updates, beside parameters and moments. Local; RF_RESOURCES. */
    rf_status (*fields)(void *self, int64_t step, rf_fields *fields);
    /** Rows of telemetry for the step just done; root's alone may write. Local; RF_WRITE. */
    rf_status (*report)(const void *self, const rf_method_step *step, rf_telemetry *telemetry);
    /**
     * At the end of the estimation: decides what is kept and tells telemetry (root's alone may
     * write). Collective over world; RF_RESOURCES, RF_WRITE, not agreed on.
     */
    rf_status (*prune)(void *self, const rf_method_step *step, rf_telemetry *telemetry,
                       rf_pruned *pruned);
    /** What the end of a run says. Local. */
    void (*summarise)(const void *self, rf_log *log);
} rf_method_hooks;

enum { RF_METHODS_AT_ONCE = 8 };

/** The chosen methods. Zero-initialise. */
typedef struct rf_methods {
    const rf_method_hooks *hooks[RF_METHODS_AT_ONCE];
    void *self[RF_METHODS_AT_ONCE]; /**< owned */
    int count;
    const rf_method_context *context; /**< borrowed */
    unsigned char *done;              /**< [rows] of the table that a method updated itself */
} rf_methods;

/** Makes the methods that `method` names. Local, the same on all ranks; RF_USAGE, RF_RESOURCES. */
rf_status rf_methods_create(rf_methods *methods, const rf_method_context *context);
void rf_methods_destroy(rf_methods *methods);

void rf_methods_layout(rf_methods *methods, rf_arena *run, rf_arena *scratch);

/** Before the first step of a run, not after a resume. Collective over world. */
void rf_methods_start(rf_methods *methods);
/** Once the gradient is summed over all ranks, before its norm. Collective over world. */
void rf_methods_gradient(rf_methods *methods, rf_real *gradient);
/**
 * Refactoring, update of every trained tensor, rescaling and snapshot of one step; the gradient's
 * content is lost. Collective over world.
 */
void rf_methods_update(rf_methods *methods, const rf_method_step *step, rf_real *gradient);
/** The step's events. Collective over world. */
void rf_methods_event(rf_methods *methods, const rf_method_step *step);

/** Replaces importance [modules, rank_r] by the measure of a method that has its own. Local. */
void rf_methods_importance(const rf_methods *methods, double *importance, int64_t rank_r);
/** Adds every method's fields. Local; RF_RESOURCES. */
rf_status rf_methods_fields(const rf_methods *methods, int64_t step, rf_fields *fields);
rf_status rf_methods_report(const rf_methods *methods, const rf_method_step *step,
                            rf_telemetry *telemetry);
/** The prune that ends an estimation, by the method that estimates. Collective over world. */
rf_status rf_methods_prune(rf_methods *methods, const rf_method_step *step, rf_telemetry *telemetry,
                           rf_pruned *pruned);
void rf_methods_summarise(const rf_methods *methods, rf_log *log);

#endif
