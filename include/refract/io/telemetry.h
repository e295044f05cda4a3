/**
 * Telemetry: OUTPUT/run.h5, written by root while the job runs and readable all the time (HDF5
 * SWMR; h5py: h5py.File(path, libver="latest", swmr=True)).
 *
 * One table says what the file holds (src/io/telemetry_table.c): every dataset with type, extent,
 * unit and description. All are there from the start; rows are appended and flushed one by one. All
 * calls are local and do nothing when the handle is NULL, as it is on every rank but root; a
 * failure (RF_WRITE) is root's alone until the caller agrees on it.
 */
#ifndef RF_IO_TELEMETRY_H
#define RF_IO_TELEMETRY_H

#include <stdint.h>

#include "refract/base/log.h"
#include "refract/base/status.h"
#include "refract/data/samples.h"
#include "refract/io/checkpoint.h"

typedef struct rf_telemetry rf_telemetry;

/** One adapted module. */
typedef struct rf_telemetry_module {
    const char *name; /**< as in the HF model */
    const char *kind; /**< "q_proj", ... */
    int64_t layer, d_in, d_out, r;
    double scaling;
} rf_telemetry_module;

/** One data set and what became of its rows. */
typedef struct rf_telemetry_data {
    const char *role; /**< "train" or "eval" */
    rf_account account;
} rf_telemetry_data;

/** What is known before the first step; everything is borrowed during the call. */
typedef struct rf_telemetry_options {
    const char *path;
    int64_t resume_step; /**< rows of an earlier job up to this step are kept; 0 = none */
    int64_t
        evaluated_step; /**< of /evals: up to the last evaluation that the resumed state knows */
    const rf_attribute *attributes; /**< of the root, beside schema, schema_version, created_utc */
    int64_t attribute_count;
    const rf_telemetry_module *modules;
    int64_t module_count;
    int64_t rank_r; /**< R: largest LoRA rank */
    const char *const *phases;
    int64_t phase_count;
    const rf_telemetry_data *data;
    int64_t data_count;
    int64_t layers, heads, d_ff; /**< of the model */
} rf_telemetry_options;

/**
 * Makes the file anew (temporary name, rename), with the rows of the file that was there as far as
 * resume_step; a file that cannot be read is kept as PATH.old with a warning. *telemetry is NULL
 * unless `rank` is 0; the caller owns it.
 */
rf_status rf_telemetry_open(rf_telemetry **telemetry, int rank, rf_log *log,
                            const rf_telemetry_options *options);
rf_status rf_telemetry_close(rf_telemetry **telemetry);

/**
 * Where a stage stands whose steps and modules are counted anew: from now on steps of /beam and
 * /reflora are that much later, and a module of the caller is that row of /modules. Other modules
 * then have NaN, in counts 0.
 */
typedef struct rf_telemetry_stage {
    int64_t first_step; /**< steps of the run before the stage */
    const int64_t *row; /**< [module_count] */
    int64_t module_count;
    int64_t rank_r; /**< of the caller's arrays */
} rf_telemetry_stage;
/** Copies the stage. Local; RF_RESOURCES. */
rf_status rf_telemetry_enter(rf_telemetry *telemetry, const rf_telemetry_stage *stage);

/** One row of /steps and /timing. */
typedef struct rf_step_row {
    int64_t step; /**< updates done: the first row is 1 */
    double loss, grad_norm, learning_rate;
    int64_t tokens, label_tokens, samples;
    double seconds;
    const double *phase_seconds; /**< [phase_count] mean over ranks */
} rf_step_row;
rf_status rf_telemetry_step(rf_telemetry *telemetry, const rf_step_row *row);

/** One row of /evals. */
typedef struct rf_eval_row {
    int64_t step;
    double loss;
    int64_t label_tokens, correct, total;
} rf_eval_row;
rf_status rf_telemetry_eval(rf_telemetry *telemetry, const rf_eval_row *row);

/** One row of /ranks; arrays [module_count, rank_r], NaN where a rank does not exist. */
rf_status rf_telemetry_ranks(rf_telemetry *telemetry, int64_t step, const double *importance,
                             const double *norm_a, const double *norm_b);

/** One row of /beam/events and /beam/pruned: pruned_of [module_count]. */
rf_status rf_telemetry_beam_event(rf_telemetry *telemetry, int64_t step, double keep,
                                  int64_t pruned, const int64_t *pruned_of);

/** Rows of /beam/pairs. */
typedef struct rf_beam_pair {
    int64_t step, module, pruned, promising;
    double score_pruned, score_promising;
} rf_beam_pair;
rf_status rf_telemetry_beam_pairs(rf_telemetry *telemetry, const rf_beam_pair *pairs,
                                  int64_t count);

/** One row of /reflora; arrays [module_count], fallback 1 where the scalar S was used. */
rf_status rf_telemetry_reflora(rf_telemetry *telemetry, int64_t step, const double *condition,
                               const double *norm_a, const double *norm_b, const uint8_t *fallback);

/** One row of /light, at the prune; NULL arrays are not allowed, NaN and 0 are. */
typedef struct rf_light_row {
    int64_t step;
    const double *head_score;                                         /**< [layers, heads] */
    const double *neuron_score;                                       /**< [layers, d_ff] */
    const double *module_score;                                       /**< [module_count] */
    const double *rank_score;                                         /**< [module_count, rank_r] */
    const uint8_t *head_kept, *neuron_kept, *module_kept, *rank_kept; /**< as the scores */
    const double *head_threshold;                                     /**< [layers] */
    const double *neuron_threshold; /**< [layers]; all equal under neuron_scope: global */
    double module_threshold, rank_threshold;
} rf_light_row;
rf_status rf_telemetry_light(rf_telemetry *telemetry, const rf_light_row *row);

#endif
