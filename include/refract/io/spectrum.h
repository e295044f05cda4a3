/** Spectra of weights: OUTPUT/spectrum.h5 (schema refract/spectrum, version 1). */
#ifndef RF_IO_SPECTRUM_H
#define RF_IO_SPECTRUM_H

#include <stdint.h>

#include "refract/io/checkpoint.h"
#include "refract/io/telemetry.h"

/** The three matrices of a module. */
typedef enum rf_spectrum_part {
    RF_SPECTRUM_BASE,   /**< W0: what training started from */
    RF_SPECTRUM_UPDATE, /**< dW = (W0 + dW) - W0 */
    RF_SPECTRUM_TUNED,  /**< W0 + dW: the merged weight */
    RF_SPECTRUM_PARTS
} rf_spectrum_part;

/** "base", "update", "tuned". Local. */
const char *rf_spectrum_part_name(rf_spectrum_part part);

enum { RF_SPECTRUM_TOP = 10 }; /**< directions of W0 + dW that are compared with W0's */
#define RF_SPECTRUM_COSINE 0.6 /**< below it a direction is an intruder */
#define RF_SPECTRUM_ENERGY 0.99

/** What is known of one module; arrays are borrowed. */
typedef struct rf_spectrum_module {
    rf_telemetry_module module;       /**< r and scaling are 0 where there is no adapter */
    int is_spread;                    /**< 1: by ScaLAPACK */
    int64_t n;                        /**< min(d_in, d_out) */
    int64_t top;                      /**< min(n, RF_SPECTRUM_TOP) */
    double *sigma[RF_SPECTRUM_PARTS]; /**< [n], descending */
    double
        *cosine; /**< [top] of each of W0 + dW's leading left vectors, the largest to any of W0's */
} rf_spectrum_module;

/** Directions of the top ones whose cosine is below RF_SPECTRUM_COSINE. Local. */
int64_t rf_spectrum_intruders(const rf_spectrum_module *module);

/**
 * Writes the file whole or not at all; `attributes` stand beside schema, schema_version and
 * created_utc. Local; RF_WRITE, RF_RESOURCES.
 */
rf_status rf_spectrum_write(const char *path, const rf_spectrum_module *modules, int64_t count,
                            const rf_attribute *attributes, int64_t attribute_count);

#endif
