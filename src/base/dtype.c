#include "refract/base/dtype.h"

size_t rf_dtype_size(rf_dtype dtype)
{
    switch (dtype) {
    case RF_F64:
    case RF_I64:
        return 8;
    case RF_F32:
    case RF_I32:
        return 4;
    case RF_BF16:
    case RF_F16:
        return 2;
    case RF_U8:
        return 1;
    }
    return 0;
}

const char *rf_dtype_name(rf_dtype dtype)
{
    static const char *const names[] = {"f32", "f64", "bf16", "f16", "i32", "i64", "u8"};
    return names[dtype];
}
