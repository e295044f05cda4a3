#include "refract/linalg/init.h"

#include "refract/base/rng.h"

static double draw(rf_init init, uint64_t seed, uint64_t stream, uint64_t index)
{
    switch (init.kind) {
    case RF_INIT_ZERO:
        return 0;
    case RF_INIT_ONE:
        return 1;
    case RF_INIT_UNIFORM:
        return init.scale * (2 * rf_random_uniform(seed, stream, index) - 1);
    case RF_INIT_NORMAL:
        return init.scale * rf_random_normal(seed, stream, index);
    }
    return 0;
}

static void fill_slice(rf_real *slice, const rf_shape *shape, int index, rf_init init,
                       uint64_t seed, uint64_t stream)
{
    const int64_t rows = rf_slice_rows(shape, index), cols = rf_slice_cols(shape, index);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++)
        for (int64_t col = 0; col < cols; col++)
            /* through float: both builds start from the same numbers */
            slice[row * cols + col] = (rf_real)(float)draw(
                init, seed, stream, (uint64_t)rf_global_index(shape, index, row, col));
}

void rf_init_fill(rf_real *local, const rf_shape *shape, int slice_begin, int slice_end,
                  rf_init init, uint64_t seed, uint64_t stream)
{
    if (shape->split == RF_REPLICATED) {
        fill_slice(local, shape, 0, init, seed, stream);
        return;
    }
    for (int slice = slice_begin; slice < slice_end; slice++)
        fill_slice(local + rf_slice_offset(shape, slice_begin, slice), shape, slice, init, seed,
                   stream);
}
