#include "refract/nn/mask.h"

#include <string.h>

#include "refract/linalg/tiles.h"
#include "refract/linalg/tree.h"
#include "refract/linalg/vecmath.h"

void rf_mask_forward(const rf_mask_pass *p, rf_real *y, const rf_real *x)
{
    const int64_t width = p->count * p->unit;
#pragma omp parallel for schedule(static)
    for (int64_t t = 0; t < p->tokens; t++)
        for (int64_t k = 0; k < p->count; k++) {
            const int64_t at = t * width + k * p->unit;
            for (int64_t i = 0; i < p->unit; i++) y[at + i] = p->mask[k] * x[at + i];
        }
}

int64_t rf_mask_scratch(int64_t tokens, int64_t count)
{
    return rf_token_chunks(tokens) * count;
}

/* sum [count] of one token chunk; dy becomes the gradient of x. */
static void chunk_backward(const rf_mask_pass *p, int64_t chunk, rf_real *dy, const rf_real *x,
                           rf_real *sum)
{
    const int64_t width = p->count * p->unit, first = chunk * RF_TOKEN_CHUNK;
    memset(sum, 0, (size_t)p->count * sizeof *sum);
    for (int64_t t = first; t < first + rf_token_chunk_rows(p->tokens, chunk); t++)
        for (int64_t k = 0; k < p->count; k++) {
            rf_real *d = dy + t * width + k * p->unit;
            const rf_real *row = x + t * width + k * p->unit;
            sum[k] += p->unit == 1 ? d[0] * row[0] : rf_dot(d, row, p->unit);
            for (int64_t i = 0; i < p->unit; i++) d[i] *= p->mask[k];
        }
}

void rf_mask_backward(const rf_mask_pass *p, rf_real *dy, const rf_real *x, rf_real *scratch)
{
    const int64_t chunks = rf_token_chunks(p->tokens);
#pragma omp parallel for schedule(static)
    for (int64_t chunk = 0; chunk < chunks; chunk++)
        chunk_backward(p, chunk, dy, x, scratch + chunk * p->count);
    rf_tree_fold(scratch, chunks, p->count, p->count);
    memcpy(p->dmask, scratch, (size_t)p->count * sizeof *scratch);
}
