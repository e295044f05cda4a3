/*
 * DoRA: y = (m / c) (x W^T + s (drop(x) A^T) B^T) + b, c = row norms of V = W + s B A, a constant
 * for the backward pass. Liu et al. 2024, arXiv:2402.09353, eq. 5 and section 4.3. Magnitudes m
 * start at c, so that nothing is scaled.
 *
 * V is never formed: c_i^2 = |W_i|^2 + 2 s sum_k B_ik (W A^T + s/2 B A A^T)_ik, of which |W_i|^2 is
 * kept. Row-parallel layers add the terms of their slices.
 */
#include <math.h>
#include <string.h>

#include "parts.h"
#include "refract/linalg/convert.h"
#include "refract/linalg/vecmath.h"

enum { BLOCK = 96 }; /* rows of W at a time */

/* Rows of W that this rank has a magnitude for. */
static int64_t local_rows(const rf_adapter *adapter)
{
    const rf_cut cut = adapter->shape.cut;
    if (adapter->shape.split != RF_ROWS) return adapter->shape.rows;
    return rf_cut_begin(cut, adapter->slice_end) - rf_cut_begin(cut, adapter->slice_begin);
}

static int dora_tensors(const rf_shape *weight, const rf_adapter_options *options,
                        rf_adapter_tensor tensors[RF_ADAPTER_TENSORS])
{
    const int count = factor_tensors(weight, options, tensors);
    rf_shape shape = rf_shape_replicated(weight->rows, 1);
    if (weight->split == RF_ROWS) shape = (rf_shape){weight->rows, 1, RF_ROWS, weight->cut};
    tensors[count] = (rf_adapter_tensor){.suffix = "lora_magnitude_vector",
                                         .field = "magnitude",
                                         .shape = shape,
                                         .init = {RF_INIT_ZERO, 0},
                                         .lr_scale = faster(options)};
    return count + 1;
}

/* derived: c, m / c, dL/d(m / c); derived_wide: |W_i|^2, |V_i|^2 - |W_i|^2. */
static void dora_layout(rf_adapter *adapter, rf_arena *arena)
{
    const int64_t n = local_rows(adapter);
    adapter->derived = RF_TAKE(arena, rf_real, 3 * n);
    adapter->derived_wide = RF_TAKE(arena, double, 2 * n);
}

static void dora_bind(rf_adapter *adapter)
{
    const int64_t n = local_rows(adapter);
    factor_bind(adapter);
    adapter->lowrank->out_scale = adapter->derived + n;
    adapter->lowrank->dout_scale = adapter->gradient[TENSOR_OWN] ? adapter->derived + 2 * n : NULL;
}

/* A block of W widened, G = A A^T, and W A^T of a block. */
static int64_t dora_scratch(const rf_adapter *adapter)
{
    const int64_t r = adapter->options->r, cols = adapter->shape.cols;
    const rf_weight block = {.dtype = adapter->dtype, .rows = BLOCK, .cols = cols};
    return rf_weight_scratch(&block, BLOCK) + cols + r * r + r * BLOCK;
}

static int64_t dora_parts(const rf_adapter *adapter)
{
    return adapter->shape.split == RF_COLS ? adapter->shape.rows : 0;
}

/* out [rows of the slice] = |W_i|^2 over the slice's columns. */
static void squares(const rf_weight *w, double *out, rf_real *scratch)
{
    const size_t row_bytes = rf_dtype_bytes(w->dtype, w->cols);
    for (int64_t i = 0; i < w->rows; i++) {
        rf_convert(scratch, RF_DTYPE_REAL, (const char *)w->data + (size_t)i * row_bytes, w->dtype,
                   w->cols);
        out[i] = rf_sum_squares_wide(scratch, w->cols);
    }
}

/* out [rows of the slice] = |V_i|^2 - |W_i|^2 over the slice's columns. */
static void cross_terms(const rf_adapter *adapter, const adapter_slice *s, double *out,
                        rf_real *scratch)
{
    const int64_t r = adapter->options->r, cols = s->w.cols;
    const double scaling = rf_adapter_scaling(adapter->options);
    rf_real *gram = scratch, *wa = gram + r * r, *widen = wa + r * BLOCK;
    rf_gemm(RF_N, RF_T, r, r, cols, 1, s->a, cols, s->a, cols, 0, gram, r);
    for (int64_t row = 0; row < s->w.rows; row += BLOCK) {
        const int64_t n = s->w.rows - row < BLOCK ? s->w.rows - row : BLOCK;
        rf_weight_nt(wa, n, s->a, cols, r, &s->w, row, n, 0, widen);
        rf_gemm(RF_N, RF_T, r, n, r, (rf_real)(scaling / 2), gram, r, s->b + row * r, r, 1, wa, n);
        for (int64_t i = 0; i < n; i++) {
            double sum = 0;
            for (int64_t k = 0; k < r; k++)
                sum += (double)s->b[(row + i) * r + k] * (double)wa[k * n + i];
            out[row + i] = 2 * scaling * sum;
        }
    }
}

static void dora_measure(const rf_adapter *adapter, rf_adapter_stage stage, int slice,
                         double *parts, rf_real *scratch)
{
    const adapter_slice s =
        adapter_slice_of(adapter, slice, adapter->value[TENSOR_A], adapter->value[TENSOR_B]);
    if (s.w.cols == 0)
        memset(parts, 0, (size_t)s.w.rows * sizeof *parts);
    else if (stage == RF_ADAPTER_BASE)
        squares(&s.w, parts, scratch);
    else
        cross_terms(adapter, &s, parts, scratch);
}

/* c and m / c from kept and new terms; a row of zeros is left alone. */
static void set_norms(rf_adapter *adapter, int is_fresh)
{
    const int64_t n = local_rows(adapter);
    const double *kept = adapter->derived_wide, *terms = kept + n;
    rf_real *norm = adapter->derived, *scale = norm + n, *magnitude = adapter->value[TENSOR_OWN];
    for (int64_t i = 0; i < n; i++) {
        const double square = kept[i] + terms[i];
        norm[i] = (rf_real)(square > 0 ? sqrt(square) : 0);
        if (is_fresh) magnitude[i] = norm[i];
        scale[i] = norm[i] > 0 ? magnitude[i] / norm[i] : 1;
    }
}

static void dora_prepare(rf_adapter *adapter, rf_adapter_stage stage, const double *sums,
                         rf_real *scratch)
{
    const int64_t n = local_rows(adapter);
    double *terms = adapter->derived_wide + (stage == RF_ADAPTER_BASE ? 0 : n);
    if (adapter->shape.split == RF_COLS) {
        memcpy(terms, sums, (size_t)n * sizeof *terms);
    } else {
        for (int slice = adapter->slice_begin; slice < adapter->slice_end; slice++) {
            const int64_t row = rf_cut_begin(adapter->shape.cut, slice) -
                                rf_cut_begin(adapter->shape.cut, adapter->slice_begin);
            dora_measure(adapter, stage, slice, terms + row, scratch);
        }
    }
    if (stage != RF_ADAPTER_BASE) set_norms(adapter, stage == RF_ADAPTER_FRESH);
}

static void dora_finish(rf_adapter *adapter)
{
    const int64_t n = local_rows(adapter);
    const rf_real *norm = adapter->derived, *dscale = norm + 2 * n;
    rf_real *dmagnitude = adapter->gradient[TENSOR_OWN];
    for (int64_t i = 0; i < n; i++) dmagnitude[i] = norm[i] > 0 ? dscale[i] / norm[i] : 0;
}

const rf_adapter_kind rf_adapter_dora = {
    .name = "dora",
    .paper = "Liu et al. 2024, arXiv:2402.09353",
    .is_dora = 1,
    .scales_output = 1,
    .tensors = dora_tensors,
    .layout = dora_layout,
    .bind = dora_bind,
    .scratch = dora_scratch,
    .parts = dora_parts,
    .measure = dora_measure,
    .prepare = dora_prepare,
    .finish = dora_finish,
};
