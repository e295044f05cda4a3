/** What the files of telemetry share. */
#ifndef RF_IO_TELEMETRY_PRIVATE_H
#define RF_IO_TELEMETRY_PRIVATE_H

#include "refract/io/telemetry.h"
#include "refract/store/h5.h"
#include "telemetry_table.h"

struct rf_telemetry {
    rf_h5 *file;      /* owned */
    rf_h5_set **sets; /* [rf_column_count()], owned; as rf_columns */
};

/** Appends one row to a table: one pointer per column, in the table's order, without a flush. */
rf_status rf_telemetry_append(rf_telemetry *telemetry, rf_table table, const void *const *values,
                              int count);

/** Makes the rows of a table visible to readers. */
rf_status rf_telemetry_flush(rf_telemetry *telemetry, rf_table table);

/** Copies the rows of the earlier file as far as the options say; RF_INPUT where it is not what it
 * should be. */
rf_status rf_telemetry_copy(rf_telemetry *telemetry, const rf_telemetry_options *options);

#endif
