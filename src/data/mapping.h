/** A file's bytes, mapped for reading. */
#ifndef RF_DATA_MAPPING_H
#define RF_DATA_MAPPING_H

#include <stddef.h>

#include "refract/base/status.h"

typedef struct rf_mapping {
    const char *bytes; /**< owned; NULL when the file is empty */
    size_t size;
} rf_mapping;

/** Maps a regular file. RF_INPUT names it. Local. */
rf_status rf_mapping_open(rf_mapping *mapping, const char *path);
/** Safe on a zeroed mapping. Local. */
void rf_mapping_close(rf_mapping *mapping);

#endif
