/* The types of GGUF files: of metadata and of tensors. */
#include "gguf_file.h"

static const struct {
    const char *name;
    size_t bytes;
} value_types[RF_GGUF_TYPES] = {
    [RF_GGUF_U8] = {"u8", 1},       [RF_GGUF_I8] = {"i8", 1},     [RF_GGUF_U16] = {"u16", 2},
    [RF_GGUF_I16] = {"i16", 2},     [RF_GGUF_U32] = {"u32", 4},   [RF_GGUF_I32] = {"i32", 4},
    [RF_GGUF_F32] = {"f32", 4},     [RF_GGUF_BOOL] = {"bool", 1}, [RF_GGUF_STRING] = {"string", 0},
    [RF_GGUF_ARRAY] = {"array", 0}, [RF_GGUF_U64] = {"u64", 8},   [RF_GGUF_I64] = {"i64", 8},
    [RF_GGUF_F64] = {"f64", 8},
};

/* Types that are not read are listed with their sizes, so that places can be checked all the same.
 */
static const rf_ggml_type tensor_types[] = {
    [0] = {"F32", 1, 4, 1, RF_F32},
    [1] = {"F16", 1, 2, 1, RF_F16},
    [2] = {"Q4_0", 32, 18, 1, RF_Q4_0},
    [3] = {"Q4_1", 32, 20, 1, RF_Q4_1},
    [6] = {"Q5_0", 32, 22, 1, RF_Q5_0},
    [7] = {"Q5_1", 32, 24, 1, RF_Q5_1},
    [8] = {"Q8_0", 32, 34, 1, RF_Q8_0},
    [9] = {"Q8_1", 32, 36, 0, 0},
    [10] = {"Q2_K", 256, 84, 0, 0},
    [11] = {"Q3_K", 256, 110, 0, 0},
    [12] = {"Q4_K", 256, 144, 1, RF_Q4_K},
    [13] = {"Q5_K", 256, 176, 0, 0},
    [14] = {"Q6_K", 256, 210, 1, RF_Q6_K},
    [15] = {"Q8_K", 256, 292, 0, 0},
    [16] = {"IQ2_XXS", 256, 66, 0, 0},
    [17] = {"IQ2_XS", 256, 74, 0, 0},
    [18] = {"IQ3_XXS", 256, 98, 0, 0},
    [19] = {"IQ1_S", 256, 50, 0, 0},
    [20] = {"IQ4_NL", 32, 18, 0, 0},
    [21] = {"IQ3_S", 256, 110, 0, 0},
    [22] = {"IQ2_S", 256, 82, 0, 0},
    [23] = {"IQ4_XS", 256, 136, 0, 0},
    [24] = {"I8", 1, 1, 0, 0},
    [25] = {"I16", 1, 2, 0, 0},
    [26] = {"I32", 1, 4, 1, RF_I32},
    [27] = {"I64", 1, 8, 1, RF_I64},
    [28] = {"F64", 1, 8, 1, RF_F64},
    [29] = {"IQ1_M", 256, 56, 0, 0},
    [30] = {"BF16", 1, 2, 1, RF_BF16},
    [34] = {"TQ1_0", 256, 54, 0, 0},
    [35] = {"TQ2_0", 256, 66, 0, 0},
    [39] = {"MXFP4", 32, 17, 0, 0},
};

const char *rf_gguf_type_name(rf_gguf_type type)
{
    return value_types[type].name;
}

size_t rf_gguf_type_bytes(rf_gguf_type type)
{
    return value_types[type].bytes;
}

const rf_ggml_type *rf_ggml_type_of(uint32_t number)
{
    const size_t count = sizeof tensor_types / sizeof *tensor_types;
    return number < count && tensor_types[number].name ? &tensor_types[number] : NULL;
}

uint32_t rf_ggml_number_of(rf_dtype dtype)
{
    const uint32_t count = sizeof tensor_types / sizeof *tensor_types;
    uint32_t number = 0;
    while (number < count && !(tensor_types[number].known && tensor_types[number].dtype == dtype))
        number++;
    RF_ASSERT(number < count, "no number for %s", rf_dtype_name(dtype));
    return number;
}
