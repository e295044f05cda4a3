#include "refract/base/dtype.h"

#include <string.h>

#include "refract/base/status.h"

static const struct {
    const char *name;
    int64_t block; /* items */
    size_t bytes;  /* of a block */
} types[] = {
    [RF_F32] = {"f32", 1, 4},       [RF_F64] = {"f64", 1, 8},       [RF_BF16] = {"bf16", 1, 2},
    [RF_F16] = {"f16", 1, 2},       [RF_I32] = {"i32", 1, 4},       [RF_I64] = {"i64", 1, 8},
    [RF_U8] = {"u8", 1, 1},         [RF_Q8_0] = {"q8_0", 32, 34},   [RF_Q4_0] = {"q4_0", 32, 18},
    [RF_Q4_1] = {"q4_1", 32, 20},   [RF_Q5_0] = {"q5_0", 32, 22},   [RF_Q5_1] = {"q5_1", 32, 24},
    [RF_Q4_K] = {"q4_k", 256, 144}, [RF_Q6_K] = {"q6_k", 256, 210},
};

size_t rf_dtype_size(rf_dtype dtype)
{
    RF_ASSERT(types[dtype].block == 1, "items of %s have no size of their own", types[dtype].name);
    return types[dtype].bytes;
}

int64_t rf_dtype_block(rf_dtype dtype)
{
    return types[dtype].block;
}

size_t rf_dtype_bytes(rf_dtype dtype, int64_t items)
{
    RF_ASSERT(items % types[dtype].block == 0, "%lld items are no whole blocks of %s",
              (long long)items, types[dtype].name);
    return (size_t)(items / types[dtype].block) * types[dtype].bytes;
}

const char *rf_dtype_name(rf_dtype dtype)
{
    return types[dtype].name;
}

int rf_dtype_named(rf_dtype *dtype, const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].name, name) != 0) continue;
        *dtype = (rf_dtype)i;
        return 1;
    }
    return 0;
}
