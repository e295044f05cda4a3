/** The command `eval`: scores a base model, a run, a checkpoint or a PEFT folder. */
#ifndef RF_TRAIN_EVAL_H
#define RF_TRAIN_EVAL_H

#include "refract/train/train.h"

/**
 * Evaluates data.eval with the adapter that eval.adapter names, prints `name = value` lines and
 * writes OUTPUT/eval.json where `output` is set; eval.logits: every logit into an HDF5 file.
 * Collective over world; every status of the program.
 */
rf_status rf_eval(rf_config *config, const rf_environment *environment);

#endif
