/* What the sources of `eval` share; private to layer train. */
#ifndef RF_TRAIN_EVAL_PARTS_H
#define RF_TRAIN_EVAL_PARTS_H

#include "refract/train/evaluate.h"
#include "refract/train/session.h"
#include "refract/train/train.h"

/*
 * eval.logits: /logits [tokens, vocab], /sample and /position [tokens] of every position, in the
 * order of the samples. Every replica computes them, root writes. Collective over world; RF_WRITE,
 * RF_RESOURCES; RF_STOPPED when `watch` says so between micro-batches.
 */
rf_status eval_write_logits(const rf_session *session, rf_evaluator *evaluator, const char *path,
                            const rf_stop_watch *watch);

/*
 * eval.task gsm8k, math, commonsense, humaneval: completes the prompts of data.eval, greedily, and
 * judges the completions; OUTPUT/eval-TASK.jsonl and OUTPUT/eval.json. Collective over world; as
 * rf_eval.
 */
rf_status eval_by_generation(rf_config *config, const rf_environment *environment);

#endif
