/**
 * Samples: token ids with labels, laid end to end, held by every rank; and the account of every
 * input row (used, truncated, skipped).
 */
#ifndef RF_DATA_SAMPLES_H
#define RF_DATA_SAMPLES_H

#include <mpi.h>
#include <stdint.h>

#include "refract/base/log.h"
#include "refract/base/status.h"
#include "refract/data/tokenizer.h"

enum { RF_NO_LABEL = -100 };

/**
 * What became of the input rows. A row of plain text may give several samples; a window of a .txt
 * file counts as a row.
 */
typedef struct rf_account {
    int64_t rows;          /**< read */
    int64_t used;          /**< samples kept, truncated ones included */
    int64_t truncated;     /**< kept, but cut to max_length */
    int64_t tokens_lost;   /**< cut off by truncation */
    int64_t skipped_empty; /**< no tokens, or no label left to predict */
    int64_t skipped_limit; /**< beyond data.max_samples */
} rf_account;

/**
 * Sample i has tokens ids[offset[i] .. offset[i+1]), and labels beside them: label j is the token
 * to be predicted at j (from j-1), RF_NO_LABEL = none. Label 0 of a sample is never counted.
 */
typedef struct rf_samples {
    int64_t count;
    int64_t *offset; /**< [count + 1]; owned */
    int32_t *ids;    /**< [offset[count]]; owned */
    int32_t *labels; /**< [offset[count]]; owned */
    int64_t longest; /**< tokens of the longest sample */
    rf_account account;
    char digest[65]; /**< SHA-256 (hex) over offsets, ids and labels */
} rf_samples;

/** What turns files into samples; strings are borrowed. */
typedef struct rf_data_options {
    const char *const *paths; /**< .jsonl, .json (array), .txt or .h5 (token store) */
    int path_count;
    const char *format;   /**< data.format, "auto" allowed */
    const char *template; /**< data.template, "auto" allowed */
    int64_t max_length;
    int64_t max_samples; /**< 0 = all */
    int train_on_inputs;
    int64_t vocab; /**< ids must be below it; 0 = unchecked */
} rf_data_options;

/**
 * Reads and tokenises; the rows are shared out over the ranks and every rank ends with the same
 * samples. tokenizer may be NULL for data that are tokens already. Collective over comm; arguments
 * equal on all ranks. RF_INPUT names file and line; RF_USAGE for a format or template that does not
 * fit; RF_RESOURCES.
 */
rf_status rf_samples_load(rf_samples **samples, MPI_Comm comm, const rf_data_options *options,
                          const rf_tokenizer *tokenizer, rf_log *log);
void rf_samples_destroy(rf_samples **samples);

/**
 * Writes the samples as a token store (HDF5, schema `refract/tokens`, version 1), whole or not at
 * all, for rf_samples_load to read: /offset /ids /labels, /sources/{path,sha256}, and as attributes
 * of the root the account, digests of samples and tokenizer, and the options they were made with.
 * tokenizer may be NULL. Collective over comm, one rank writes; RF_WRITE, RF_INPUT where a source
 * has gone.
 */
rf_status rf_samples_write(const rf_samples *samples, MPI_Comm comm, const char *path,
                           const rf_data_options *options, const rf_tokenizer *tokenizer);

#endif
