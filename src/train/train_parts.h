/* What the sources of `train` share; private to layer train. */
#ifndef RF_TRAIN_PARTS_H
#define RF_TRAIN_PARTS_H

#include "refract/io/telemetry.h"
#include "refract/train/evaluate.h"
#include "refract/train/run.h"
#include "refract/train/session.h"
#include "refract/train/state.h"
#include "refract/train/train.h"
#include "refract/train/trainer.h"
#include "spectrum_parts.h"

/* What is written to run.h5, and the memory for it. */
typedef struct rf_recorder {
    rf_telemetry *file;          /* owned; NULL but on root */
    rf_telemetry_module *module; /* [modules] of the whole run; owned */
    char (*names)[RF_NAME_BYTES];
    int64_t modules, rank_r;
    int64_t *row;            /* [modules] which of them the stage's modules are; owned */
    int64_t own, own_rank_r; /* modules of the stage, and their largest rank */
    double *parts; /* [2, modules, R, slices] squares of A's rows and B's columns; owned */
    double *norms; /* [3, modules, R] importance, norm_a, norm_b; owned */
    double before[RF_PHASES]; /* the decoder's clocks at the step before */
} rf_recorder;

/* One run of `train`. */
typedef struct training {
    const rf_environment *env;
    rf_config *config;
    rf_log *log;
    rf_run run;
    rf_session session;
    rf_modules modules;       /* that carry adapters */
    rf_method_context method; /* what the trainer's methods work with */
    rf_trainer trainer;
    rf_samples *samples, *held_out;
    rf_batches *batches;
    rf_evaluator evaluator; /* of the held-out samples, if any */
    rf_bounds bounds;
    int64_t steps;          /* of the whole run */
    int64_t estimation;     /* of them before a prune; 0: there is none */
    int64_t saved_step;     /* of the newest checkpoint, -1 if none */
    int64_t evaluated_step; /* of the last evaluation, -1 if none */
    double saved_at;        /* clock of the last save */
    double save_seconds;    /* the longest one */
    double step_seconds;    /* of all steps of this start */
    int64_t steps_here, tokens_here;
    double phase[RF_STEP_PHASES];
    rf_evaluation evaluation;
    rf_recorder recorder;
    spectrum_list spectra;     /* of telemetry.spectrum_every; empty without */
    rf_checkpoint *checkpoint; /* to restore; owned */
    char *hosts;               /* of all ranks, each once; owned */
    char *yaml;                /* effective configuration; owned */
} training;

/* Reads model configuration and data, lays out batches. Collective over world. */
rf_status training_read(training *t);
/* Plans memory: the arenas count. training_unplan takes it back. Collective over world. */
rf_status training_plan(training *t);
void training_unplan(training *t);
/* Both. Collective over world. */
rf_status training_prepare(training *t);
/* RF_STOPPED where the run should stop before its first step. Collective over world. */
rf_status training_go_on_loading(const training *t);
/* Plans the stage that session.is_estimating and session.pruning say: trainer and methods on a
 * decoder, without memory; then memory and weights for it. Collective over world. */
rf_status training_plan_stage(training *t);
rf_status training_take_memory(training *t);
/* After the last step of an estimation: what is left goes on. Collective over world. */
rf_status training_prune(training *t, const rf_step_report *report);
/* Takes memory, loads weights, restores the newest checkpoint. Collective over world. */
rf_status training_start(training *t);

/* Writes a checkpoint of the present state unless the newest one already holds it. Collective. */
rf_status training_save(training *t);
/* Opens the newest checkpoint, if there is one, and goes to its stage. Collective over world. */
rf_status training_find_state(training *t);
/* Restores that checkpoint; checks that it is this run's. Collective over world. */
rf_status training_restore(training *t);

/* Where files of this run come from; borrows from t. */
rf_origin training_origin(const training *t);

/* Telemetry: opened after the restore, a row per step and evaluation. Collective over world. */
rf_status training_record_open(training *t);
/* Lists the modules of the whole run, by the first stage's plan. Local; RF_RESOURCES. */
rf_status training_record_modules(training *t);
/* The stage's modules among them. Local; RF_RESOURCES. */
rf_status training_record_stage(training *t);
rf_status training_record_step(training *t, const rf_step_report *report);
/* Takes down the ranks as they are between update and event, if this step records them. */
void training_record_ranks(training *t, int64_t step);
rf_status training_record_evaluation(training *t);
/* Local. */
rf_status training_record_close(training *t);

/* Keeps what the spectra of this stage compare with: after its base weights were read, before a
 * checkpoint. Collective over world; RF_RESOURCES, RF_USAGE where no matrix is trained. */
rf_status training_spectrum_start(training *t);
/* Writes the spectrum of the present state, if it is due. Collective over world. */
rf_status training_spectrum(training *t);

/* What the run prints. */
void training_print_banner(const training *t);
void training_print_steps(const training *t);
void training_print_progress(const training *t, const rf_step_report *report);
void training_print_step(const training *t, const rf_step_report *report);
void training_print_end(const training *t);
/* Disk that checkpoints and the final folder will take, in bytes (whole job). */
double training_checkpoint_bytes(const training *t);

/* OUTPUT/adapter or OUTPUT/model of the present state. Collective over world. */
rf_status training_export(training *t);

/* The bottlenecks as a folder of their own kind. Collective over world. */
rf_status training_export_bottlenecks(training *t, const char *folder);

/* train.gradients: every gradient of the first step, before clipping. Collective over world. */
rf_status training_write_gradients(training *t, const char *path, const rf_real *gradient);

#endif
