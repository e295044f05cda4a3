/** Storage types of numbers in memory and in files. */
#ifndef RF_BASE_DTYPE_H
#define RF_BASE_DTYPE_H

#include <stddef.h>
#include <stdint.h>

/** Plain numbers, then blocks of quantised ones (their layout: linalg/quant.h). */
typedef enum rf_dtype {
    RF_F32,
    RF_F64,
    RF_BF16,
    RF_F16,
    RF_I32,
    RF_I64,
    RF_U8,
    RF_Q8_0,
    RF_Q4_0,
    RF_Q4_1,
    RF_Q5_0,
    RF_Q5_1,
    RF_Q4_K,
    RF_Q6_K
} rf_dtype;
enum { RF_DTYPES = RF_Q6_K + 1 };

/** Bytes of one item; a block type has no such thing (a bug). Local. */
size_t rf_dtype_size(rf_dtype dtype);
/** Items that are kept together as one block, 1 for plain numbers. Local. */
int64_t rf_dtype_block(rf_dtype dtype);
/** Bytes of `items` items, a multiple of the block (else a bug). Local. */
size_t rf_dtype_bytes(rf_dtype dtype, int64_t items);
/** "f32", "bf16", "q4_1", ... Local. */
const char *rf_dtype_name(rf_dtype dtype);
/** The type of that name; 0 where there is none. Local. */
int rf_dtype_named(rf_dtype *dtype, const char *name);

/** The rf_dtype of rf_real in this build. */
#ifdef RF_DOUBLE
#define RF_DTYPE_REAL RF_F64
#else
#define RF_DTYPE_REAL RF_F32
#endif

#endif
