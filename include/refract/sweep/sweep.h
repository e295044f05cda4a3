/**
 * A sweep: many runs of one base input that differ in a few keys.
 *
 * SWEEP.yaml says which; `plan` turns it into FOLDER/manifest.jsonl, one line a run, which holds
 * all that the runs need. A run is known by its identity, the digest of its effective configuration
 * without `output`: the same run has the same folder FOLDER/runs/ID in every plan.
 */
#ifndef RF_SWEEP_SWEEP_H
#define RF_SWEEP_SWEEP_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include "refract/base/config.h"
#include "refract/base/status.h"

/** Hex digits of an identity with the final NUL: the first half of a SHA-256, cut again. */
enum { RF_SWEEP_ID_BYTES = 17 };

/** A growing list of texts; owns them. Zero-initialise. */
typedef struct rf_texts {
    char **item; /**< [count] */
    int count, capacity;
} rf_texts;

/** Appends a copy. RF_RESOURCES. Local. */
rf_status rf_texts_add(rf_texts *texts, const char *text);
void rf_texts_free(rf_texts *texts);

/** One run: what it sets beyond what all have in common. */
typedef struct rf_sweep_run {
    char id[RF_SWEEP_ID_BYTES];
    rf_texts set; /**< "key=value", in the order of the sweep's keys */
} rf_sweep_run;

typedef struct rf_sweep {
    char folder[PATH_MAX];   /**< where the manifest lies, and the runs' folders below */
    char *source;            /**< the SWEEP.yaml it was planned from */
    char *base, *base_text;  /**< the base input: its name and its text */
    rf_texts common;         /**< "key=value" of every run */
    rf_texts keys;           /**< that the runs differ in, or may */
    rf_sweep_run *run;       /**< [count] */
    int64_t count, capacity; /**< runs */
} rf_sweep;

void rf_sweep_free(rf_sweep *sweep);

/**
 * Reads SWEEP.yaml (`text`, `name` for messages), reads its base input, expands grid, list, random
 * sample and seeds into runs and checks the configuration of each. overrides: "key=value" for all
 * runs. The caller frees *sweep in any case. Local; RF_USAGE names key and line, or the run, and
 * two runs that are the same; RF_INPUT; RF_RESOURCES.
 */
rf_status rf_sweep_plan(rf_sweep *sweep, const char *text, size_t length, const char *name,
                        const char *const *overrides, int override_count);

/** Writes FOLDER/manifest.jsonl, whole or not at all; path [PATH_MAX] gets its name. Local;
 * RF_WRITE. */
rf_status rf_sweep_write(const rf_sweep *sweep, char *path);

/**
 * Takes a manifest's text apart; `path` is where it lies. The caller frees *sweep in any case.
 * Local; RF_INPUT where it is malformed, from a newer version, or was changed since it was written.
 */
rf_status rf_sweep_read(rf_sweep *sweep, const char *text, size_t length, const char *path);

/**
 * The checked configuration of run number `index`; output is FOLDER/runs/ID. The caller owns
 * *config. Local; RF_USAGE, RF_RESOURCES; RF_CONFLICT where this program gives the run another
 * identity than the one that planned it.
 */
rf_status rf_sweep_config(const rf_sweep *sweep, int64_t index, rf_config **config);

/** The identity of a configuration, see above. Local; RF_RESOURCES. */
rf_status rf_sweep_identity(const rf_config *config, char id[RF_SWEEP_ID_BYTES]);

/** Writes FOLDER/AREA/ID SUFFIX into path [PATH_MAX]. Local; RF_USAGE where it is too long. */
rf_status rf_sweep_path(const rf_sweep *sweep, int64_t index, const char *area, const char *suffix,
                        char *path);

/** "lora.r=8 train.seed=3": what a run sets, into text. Local. */
void rf_sweep_describe(const rf_sweep_run *run, char *text, size_t bytes);

#endif
