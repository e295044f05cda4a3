/** The one table of what a telemetry file holds. */
#ifndef RF_IO_TELEMETRY_TABLE_H
#define RF_IO_TELEMETRY_TABLE_H

#include "refract/base/dtype.h"

/** Datasets that grow together, row by row. */
typedef enum rf_table {
    RF_TABLE_STEPS,
    RF_TABLE_EVALS,
    RF_TABLE_RANKS,
    RF_TABLE_BEAM_EVENTS,
    RF_TABLE_BEAM_PAIRS,
    RF_TABLE_REFLORA,
    RF_TABLE_LIGHT,
    RF_TABLES_BY_STEP, /**< those above: their first column is the step, and a resume keeps their
                          rows */
    RF_TABLE_MODULES = RF_TABLES_BY_STEP,
    RF_TABLE_PHASES,
    RF_TABLE_DATA,
    RF_TABLES
} rf_table;

/** Extent of one row. */
typedef enum rf_extent {
    RF_ONE,
    RF_TEXT,       /**< a string of RF_COLUMN_TEXT bytes */
    RF_PER_MODULE, /**< [M] */
    RF_PER_RANK,   /**< [M, R] */
    RF_PER_PHASE,  /**< [P] */
    RF_PER_LAYER,  /**< [layers] */
    RF_PER_HEAD,   /**< [layers, heads] */
    RF_PER_NEURON  /**< [layers, d_ff] */
} rf_extent;

enum { RF_COLUMN_TEXT = 128 };

typedef struct rf_column {
    rf_table table;
    const char *path;
    rf_dtype dtype;
    rf_extent extent;
    const char *unit, *description;
} rf_column;

/** All columns, those of one table next to each other. A method adds its rows here. Local. */
extern const rf_column rf_columns[];
int rf_column_count(void);

/** First column of a table and their number. Local. */
const rf_column *rf_table_columns(rf_table table, int *count);

#endif
