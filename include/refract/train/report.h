/** Figures of an evaluation, printed and written. */
#ifndef RF_TRAIN_REPORT_H
#define RF_TRAIN_REPORT_H

#include "refract/base/log.h"
#include "refract/train/evaluate.h"

/** `name = value` lines from root. Local. */
void rf_report_evaluation(rf_log *log, const rf_evaluation *evaluation);

/**
 * Root writes folder/eval.json (the folder is made if missing): one flat object with task, loss,
 * perplexity, label_tokens, samples, correct, total, score, low, high (95 % interval, Wilson 1927)
 * and seconds. Collective over comm; RF_WRITE, RF_RESOURCES.
 */
rf_status rf_report_write(MPI_Comm comm, const char *folder, const rf_evaluation *evaluation,
                          const char *task);

#endif
