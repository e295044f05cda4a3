/**
 * Rows of a data file: JSON objects, one per line (JSONL) or in one array, told apart by the file's
 * first character. A byte-order mark and blank lines are passed over. Files are mapped, never held
 * twice; a row is parsed when it is asked for.
 */
#ifndef RF_DATA_ROWS_H
#define RF_DATA_ROWS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "refract/base/status.h"

typedef struct rf_rows rf_rows;

/** Opens `path`, standing before its first row. The caller owns *rows. RF_INPUT, RF_RESOURCES.
 * Local. */
rf_status rf_rows_open(rf_rows **rows, const char *path);
void rf_rows_close(rf_rows **rows);

/** Size of the file in bytes. Local. */
int64_t rf_rows_bytes(const rf_rows *rows);

/**
 * From now on only the rows that begin in bytes [begin, end) of the file, from the first of them:
 * disjoint ranges that cover the file give every row once. Local.
 */
void rf_rows_share(rf_rows *rows, int64_t begin, int64_t end);

/**
 * The next row, an object that the caller owns (json_decref); NULL behind the last. A broken row is
 * RF_INPUT, with file and line. Local.
 */
rf_status rf_rows_next(rf_rows *rows, json_t **row);

/** Counts the rows that are left, unparsed, and goes behind them. Local. */
int64_t rf_rows_count(rf_rows *rows);

/** Line (from 1) on which the row last returned begins. Reads the file up to there. Local. */
int64_t rf_rows_line(const rf_rows *rows);

/** Completes a failure's text by file and line of the row last returned, and a hint. Local. */
rf_status rf_rows_fail(const rf_rows *rows, rf_status status, const char *hint);

#endif
