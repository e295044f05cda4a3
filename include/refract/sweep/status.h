/** What is done of a sweep, for people and programs; its results in one file. */
#ifndef RF_SWEEP_STATUS_H
#define RF_SWEEP_STATUS_H

#include <stdio.h>

#include "refract/base/log.h"
#include "refract/sweep/record.h"

/** All runs at one moment. Zero-initialise. */
typedef struct rf_sweep_survey {
    rf_sweep_record *record; /**< [runs]; owned */
    int64_t count[RF_SWEEP_STATES];
    double mean;  /**< seconds of a run that is done; 0 while none is */
    double rest;  /**< seconds until all but the failed are done, at today's pace; -1 = not known */
    int64_t pace; /**< runs at a time that `rest` is for */
} rf_sweep_survey;

/** Looks at every run. Local; RF_RESOURCES, RF_USAGE. rf_sweep_survey_free is due in any case. */
rf_status rf_sweep_survey_take(rf_sweep_survey *survey, const rf_sweep *sweep);
void rf_sweep_survey_free(rf_sweep_survey *survey);

/** Counts, estimate, and a line for every run that is running, failed, stopped or vanished, or
 * (all = 1) for each. Local. */
void rf_sweep_print(FILE *out, const rf_sweep *sweep, const rf_sweep_survey *survey, int all);

/** The same, every run, as one JSON object. Local; RF_RESOURCES. */
rf_status rf_sweep_print_json(FILE *out, const rf_sweep *sweep, const rf_sweep_survey *survey);

/** What the telemetry of a run says by now; NaN and -1 where it says nothing. */
typedef struct rf_sweep_result {
    int64_t steps, total_steps, tokens, parameters, trained_parameters;
    int64_t eval_label_tokens, eval_correct, eval_total; /**< of the last evaluation */
    double loss, eval_loss, step_seconds;                /**< of the last step; of all steps */
} rf_sweep_result;

/**
 * Reads FOLDER/runs/ID/run.h5: a closed file, or (is_live) one that is growing. One whose writer
 * was killed is refused: where it was cut short HDF5 would wait for the missing part. Local;
 * RF_INPUT.
 */
rf_status rf_sweep_result_read(rf_sweep_result *result, const rf_sweep *sweep, int64_t index,
                               int is_live);

/**
 * Writes FOLDER/sweep.h5 (schema refract/sweep, version 1): /runs/NAME a column a run, /keys/KEY
 * what the run sets, /traces/ID a link to the run's run.h5. What cannot be read is a warning and a
 * row without numbers. path [PATH_MAX] gets its name. Local; RF_WRITE, RF_RESOURCES.
 */
rf_status rf_sweep_collect(const rf_sweep *sweep, const rf_sweep_survey *survey, rf_log *log,
                           char *path);

#endif
