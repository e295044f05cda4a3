/* What a probe measures; private to layer train. */
#ifndef RF_TRAIN_PLAN_PROBE_H
#define RF_TRAIN_PLAN_PROBE_H

#include "train_parts.h"

/*
 * Times of one run's arithmetic on one kind of machine. A reduction of b bytes over p ranks, an
 * Alltoallv and an Allgatherv, is taken to cost 2 (p-1) alpha + 2 (p-1)/p b beta (Hockney 1994).
 */
typedef struct rf_probe {
    int64_t ranks, threads;              /* that measured, and threads of each */
    int64_t parameters, trained, tokens; /* of the model; of the micro-batch that was timed */
    double token;   /* seconds of a token, forward and backward, on one rank that holds all */
    double forward; /* of it, an evaluation */
    double update;  /* seconds of an update of all trained numbers on one rank */
    double load;    /* seconds of loading the weights */
    double save;    /* seconds per byte that is saved */
    double alpha;   /* seconds; < 0 where one rank measured and there was nothing to talk to */
    double beta;    /* seconds per byte */
} rf_probe;

/* Measures on the ranks of t's world. t has been read, not planned; it is used up. Collective. */
rf_status probe_measure(rf_probe *probe, training *t);

/* Reads the file; *found = 0 where there is none. RF_INPUT where it is malformed. Local. */
rf_status probe_read(rf_probe *probe, const char *path, int *found);
/* RF_WRITE. Local. */
rf_status probe_write(const rf_probe *probe, const char *path);

#endif
