/** What the files of telemetry share. */
#ifndef RF_IO_TELEMETRY_PRIVATE_H
#define RF_IO_TELEMETRY_PRIVATE_H

#include "refract/io/telemetry.h"
#include "refract/store/h5.h"
#include "telemetry_table.h"

struct rf_telemetry {
    rf_h5 *file;              /* owned */
    rf_h5_set **sets;         /* [rf_column_count()], owned; as rf_columns */
    int64_t modules, rank_r;  /* of the file */
    rf_telemetry_stage stage; /* its rows are `row` */
    int64_t *row;             /* [stage.module_count], owned; NULL: modules as in the file */
    double *spread;           /* [modules, rank_r] of one row of the file; owned */
};

/** Appends one row to a table: one pointer per column, in the table's order, without a flush. */
rf_status rf_telemetry_append(rf_telemetry *telemetry, rf_table table, const void *const *values,
                              int count);

/** A step, a module and a column's row of the stage as the file has them. */
int64_t rf_telemetry_step_of(const rf_telemetry *telemetry, int64_t step);
int64_t rf_telemetry_module_of(const rf_telemetry *telemetry, int64_t module);
const void *rf_telemetry_spread(rf_telemetry *telemetry, const rf_column *column,
                                const void *values);

/** Makes the rows of a table visible to readers. */
rf_status rf_telemetry_flush(rf_telemetry *telemetry, rf_table table);

/** Copies the rows of the earlier file as far as the options say; RF_INPUT where it is not what it
 * should be. */
rf_status rf_telemetry_copy(rf_telemetry *telemetry, const rf_telemetry_options *options);

#endif
