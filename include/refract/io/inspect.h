/** What a file of ours holds, in words, and whether its checksums hold. */
#ifndef RF_IO_INSPECT_H
#define RF_IO_INSPECT_H

#include <stdio.h>

#include "refract/base/status.h"

/**
 * Prints what `path` holds: a checkpoint, telemetry, a token store (any HDF5 file of refract),
 * safetensors (a file, an index or a folder), a GGUF file or a PEFT folder. With `verify` every
 * checksum is recomputed and each damaged dataset named; RF_INPUT then, as for a file that cannot
 * be read or is none of these. Local.
 */
rf_status rf_inspect(FILE *out, const char *path, int verify);

#endif
