/** Data as the configuration names them: read for a run, or written to token stores beforehand. */
#ifndef RF_DATA_PREPARE_H
#define RF_DATA_PREPARE_H

#include <mpi.h>
#include <stdint.h>
#include <stdio.h>

#include "refract/base/config.h"
#include "refract/base/log.h"
#include "refract/base/status.h"
#include "refract/data/samples.h"
#include "refract/data/tokenizer.h"

/** 1 when `key` (data.train or data.eval) names files. Local. */
int rf_data_is_set(const rf_config *config, const char *key);

/** 1 when the data under `key` cannot be read without a tokenizer. Local. */
int rf_data_needs_tokenizer(const rf_config *config, const char *key);

/** How a tokenizer is read from a path: rf_tokenizer_load, or one that knows more kinds of files.
 */
typedef rf_status rf_tokenizer_loader(rf_tokenizer **tokenizer, const char *path);

/**
 * Loads the tokenizer that model.tokenizer (auto: model.path) names, on every rank. Where nothing
 * needs one and none can be had *tokenizer is NULL. The caller owns it. Collective over comm;
 * RF_USAGE, RF_INPUT.
 */
rf_status rf_data_tokenizer(rf_tokenizer **tokenizer, MPI_Comm comm, const rf_config *config,
                            rf_tokenizer_loader *load);

/**
 * rf_samples_load for data.train or data.eval with what data.* says (data.eval: at most
 * eval.max_samples samples). vocab as in rf_data_options. Collective over comm; as rf_samples_load.
 */
rf_status rf_data_load(rf_samples **samples, MPI_Comm comm, const rf_config *config,
                       const char *key, const rf_tokenizer *tokenizer, int64_t vocab, rf_log *log);

/**
 * Writes OUTPUT/train.h5 and, where data.eval is set, OUTPUT/eval.h5: token stores to name as
 * data.train and data.eval. Tells the account of each and where it is; root prints the first `show`
 * samples of data.train. Collective over comm; RF_USAGE without data.train, RF_INPUT, RF_WRITE.
 */
rf_status rf_prepare_run(MPI_Comm comm, const rf_config *config, const rf_tokenizer *tokenizer,
                         int64_t show, rf_log *log);

/**
 * Prints sample `index`: runs of given and of learnt tokens as the vocabulary spells them, parted
 * by a bar; ids without a tokenizer. A label that is another token than the one it stands beside
 * follows it as "=> label". Local.
 */
void rf_sample_print(FILE *out, const rf_samples *samples, int64_t index,
                     const rf_tokenizer *tokenizer);

#endif
