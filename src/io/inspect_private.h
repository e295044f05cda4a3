/** The kinds of files that can be inspected. */
#ifndef RF_IO_INSPECT_PRIVATE_H
#define RF_IO_INSPECT_PRIVATE_H

#include <stdint.h>

#include "refract/io/inspect.h"

typedef struct rf_inspector {
    const char *name;
    /** 1 when the file is of this kind; head: its first 8 bytes, zeros where it is shorter or a
     * folder. */
    int (*recognises)(const char *path, const unsigned char head[8]);
    rf_status (*print)(FILE *out, const char *path, int verify);
} rf_inspector;

extern const rf_inspector rf_inspector_h5;
extern const rf_inspector rf_inspector_safetensors;
extern const rf_inspector rf_inspector_gguf;
extern const rf_inspector
    rf_inspector_peft; /**< asked before safetensors, which takes any folder */

/** "[2, 3]" into text. Local. */
void rf_inspect_shape(char *text, size_t bytes, const int64_t *size, int dims);
/** "1.5 MiB" into text. Local. */
void rf_inspect_bytes(char *text, size_t bytes, int64_t count);

#endif
