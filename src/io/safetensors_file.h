/** Inside of rf_safetensors, shared by the files safetensors*.c. */
#ifndef RF_IO_SAFETENSORS_FILE_H
#define RF_IO_SAFETENSORS_FILE_H

#include "refract/io/safetensors.h"

enum { RF_SAFETENSORS_MOST_HEADER = 100000000 };

/** One type of the format. Order of the table = order in which the reference writer puts them,
 * reversed. */
typedef struct rf_safetensors_type {
    const char *name;
    int bits;
    int known; /**< 1: `dtype` holds it */
    rf_dtype dtype;
} rf_safetensors_type;

/** Type by its spelling or by ours; NULL if there is none. Local. */
const rf_safetensors_type *rf_safetensors_type_named(const char *name);
const rf_safetensors_type *rf_safetensors_type_of(rf_dtype dtype);

typedef struct rf_safetensors_file {
    char *path; /**< owned */
    int fd;
} rf_safetensors_file;

struct rf_safetensors {
    rf_safetensors_file *file; /**< owned */
    int file_count;
    rf_tensor_info *tensor; /**< owned with the names; sorted by name once open */
    int64_t count, capacity;
};

/** Opens a file and appends it, nothing read. Local; RF_INPUT, RF_RESOURCES. */
rf_status rf_safetensors_add_file(rf_safetensors *st, const char *path);
/** Sorts the complete table by name. Local; RF_INPUT for a name that is there twice. */
rf_status rf_safetensors_sort(rf_safetensors *st);

/**
 * Checks the header of file number `file`, open at its fd, and appends its tensors. Local;
 * RF_INPUT, RF_RESOURCES.
 */
rf_status rf_safetensors_scan(rf_safetensors *st, int file);

#endif
