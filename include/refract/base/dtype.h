/** Storage types of numbers in memory and in files. */
#ifndef RF_BASE_DTYPE_H
#define RF_BASE_DTYPE_H

#include <stddef.h>

typedef enum rf_dtype { RF_F32, RF_F64, RF_BF16, RF_F16, RF_I32, RF_I64, RF_U8 } rf_dtype;

/** Bytes of one item. Local. */
size_t rf_dtype_size(rf_dtype dtype);
/** "f32", "bf16", ... Local. */
const char *rf_dtype_name(rf_dtype dtype);

/** The rf_dtype of rf_real in this build. */
#ifdef RF_DOUBLE
#define RF_DTYPE_REAL RF_F64
#else
#define RF_DTYPE_REAL RF_F32
#endif

#endif
