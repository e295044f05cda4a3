/** What one rank makes of its share of a file, before all shares are joined. */
#ifndef RF_DATA_SHARE_H
#define RF_DATA_SHARE_H

#include "refract/data/formatter.h"
#include "refract/data/samples.h"

/** One sample that came out of a row, or none. */
typedef struct rf_entry {
    int64_t tokens; /**< 0: nothing to learn here */
    int64_t lost;   /**< tokens cut off */
    int64_t opens;  /**< 1: the first entry of its row */
} rf_entry;

/** Zero-initialise; rf_share_free when done. */
typedef struct rf_share {
    rf_ids ids, labels; /**< of all entries, end to end */
    rf_entry *entries;  /**< [count]; owned */
    int64_t count, capacity;
    int64_t kept;   /**< entries with tokens */
    int64_t unread; /**< rows behind the limit, counted only */
} rf_share;

void rf_share_free(rf_share *share);

/**
 * Cuts the ids appended since `begin` into entries: one of at most max_length tokens, or windows of
 * it where the row is plain text. Entries without a label that counts lose their tokens.
 * RF_RESOURCES. Local.
 */
rf_status rf_share_cut(rf_share *share, int64_t begin, int64_t max_length, int windows);

/** RF_INPUT when an id or label since `begin` is not below vocab (0 = unchecked). Local. */
rf_status rf_share_check(const rf_share *share, int64_t begin, int64_t vocab);

/**
 * Rows of part `part` of `parts` of a JSON file; ends once `limit` samples are kept (0 = none) and
 * counts the rest. On failure the share holds what came before. Local; RF_INPUT names file and
 * line.
 */
rf_status rf_share_rows(rf_share *share, const char *path, int part, int parts,
                        const rf_formatter *formatter, const rf_data_options *options,
                        int64_t limit);

/** Ids of part `part` of `parts` of a text file: one stream, not yet cut. Local; RF_INPUT. */
rf_status rf_share_stream(rf_share *share, const char *path, int part, int parts,
                          const rf_formatter *formatter);

#endif
