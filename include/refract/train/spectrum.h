/** The command `spectrum`: what training has made of the singular values of every module. */
#ifndef RF_TRAIN_SPECTRUM_H
#define RF_TRAIN_SPECTRUM_H

#include "refract/train/train.h"

/**
 * Singular values of W0, dW and W0 + dW of every module that an adapter (or full training) has
 * changed, with effective ranks and intruder dimensions: a table, and OUTPUT/spectrum.h5. The
 * weights are those that eval.adapter names. Modules of at most linalg.distribute_above elements
 * are shared out over ranks and threads, each by one-thread LAPACK; larger ones go to ScaLAPACK one
 * after another. Collective over world; every status of the program.
 */
rf_status rf_spectrum(rf_config *config, const rf_environment *environment);

#endif
