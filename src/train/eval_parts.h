/* What the sources of `eval` share; private to layer train. */
#ifndef RF_TRAIN_EVAL_PARTS_H
#define RF_TRAIN_EVAL_PARTS_H

#include "refract/train/evaluate.h"
#include "refract/train/session.h"

/*
 * eval.logits: /logits [tokens, vocab], /sample and /position [tokens] of every position, in the
 * order of the samples. Every replica computes them, root writes. Collective over world; RF_WRITE,
 * RF_RESOURCES; RF_STOPPED when `watch` says so between micro-batches.
 */
rf_status eval_write_logits(const rf_session *session, rf_evaluator *evaluator, const char *path,
                            const rf_stop_watch *watch);

#endif
