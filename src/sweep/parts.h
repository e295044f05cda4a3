/** What the sources of a sweep's plan share; private to layer sweep. */
#ifndef RF_SWEEP_PARTS_H
#define RF_SWEEP_PARTS_H

#include "refract/sweep/sweep.h"

/** A key with what it may be: all of `value`, or a draw. */
typedef enum sweep_draw { DRAW_NONE, DRAW_CHOICE, DRAW_UNIFORM, DRAW_LOG, DRAW_INTEGER } sweep_draw;

typedef struct sweep_axis {
    char *key;      /* owned */
    rf_texts value; /* as they are written after KEY= */
    sweep_draw draw;
    double low, high;
} sweep_axis;

/** Some axes; owns them. */
typedef struct sweep_axes {
    sweep_axis *item;
    int count;
} sweep_axes;

/** What a SWEEP.yaml says; owned. */
typedef struct sweep_text {
    char *base, *output;
    rf_texts common;   /* set: "key=value" */
    sweep_axes grid;   /* every combination */
    sweep_axes *point; /* list: [points], each key with one value */
    int points;
    sweep_axes random; /* each with a draw */
    int64_t samples, random_seed;
    rf_texts seeds; /* of train.seed */
} sweep_text;

/** Reads SWEEP.yaml; checks every key against the schema. RF_USAGE, RF_RESOURCES. Local. */
rf_status sweep_text_read(sweep_text *sweep, const char *text, size_t length, const char *name);
void sweep_text_free(sweep_text *sweep);

/** Makes the runs that it asks for, without identities. RF_USAGE, RF_RESOURCES. Local. */
rf_status sweep_expand(const sweep_text *from, rf_sweep *sweep);

/** A further run, empty. RF_RESOURCES. Local. */
rf_status sweep_add_run(rf_sweep *sweep, rf_sweep_run **run);

#endif
