#include "refract/nn/embedding.h"

#include <string.h>

#include "refract/linalg/convert.h"
#include "refract/linalg/vecmath.h"

/* Place of a token's row among this rank's rows, -1 where another rank holds it. */
static int64_t local_row(const rf_linear_context *context, const rf_linear *table, int32_t id)
{
    const rf_cut cut = table->shape.cut;
    const int64_t begin = rf_cut_begin(cut, context->grid->slice_begin);
    const int64_t end = rf_cut_begin(cut, context->grid->slice_end);
    return id >= begin && id < end ? id - begin : -1;
}

void rf_embedding_forward(rf_linear_context *context, const rf_linear *table, rf_real *h,
                          const int32_t *ids, int64_t tokens)
{
    const int64_t d = table->shape.cols;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < tokens; t++) {
        const int64_t row = local_row(context, table, ids[t]);
        if (row < 0)
            memset(h + t * d, 0, (size_t)d * sizeof *h);
        else
            rf_convert(h + t * d, RF_DTYPE_REAL,
                       (const char *)table->w + rf_dtype_bytes(table->dtype, row * d), table->dtype,
                       d);
    }
    rf_collect_assemble(context->grid->tp, h, tokens * d);
}

enum { COLUMNS = 64 };

void rf_embedding_backward(const rf_linear_context *context, const rf_linear *table,
                           const rf_real *dh, const int32_t *ids, int64_t tokens)
{
    const int64_t d = table->shape.cols;
#pragma omp parallel for schedule(static)
    for (int64_t col = 0; col < d; col += COLUMNS)
        for (int64_t t = 0; t < tokens; t++) {
            const int64_t row = local_row(context, table, ids[t]);
            if (row < 0) continue;
            rf_add(table->dw + row * d + col, dh + t * d + col,
                   d - col < COLUMNS ? d - col : COLUMNS);
        }
}
