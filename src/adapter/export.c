/* An adapter as plain factors over the base of the files, as others read it. */
#include <math.h>
#include <string.h>

#include "parts.h"

int rf_adapter_is_plain(const rf_adapter *adapter)
{
    return !adapter->lowrank->mid && !rf_adapter_moves_base(adapter->options);
}

rf_adapter_options rf_adapter_export_options(const rf_adapter_options *own)
{
    rf_adapter_options options = *own;
    options.rank_shift = 0;
    if (rf_adapter_moves_base(&options)) { /* s stays what it was */
        options.r *= 2;
        options.alpha *= options.use_rslora ? sqrt(2) : 2;
    }
    return options;
}

/* a [r', cols] of one block <- A [r, cols], and below it what A started with. */
static void export_a(const rf_adapter *adapter, rf_real *a, int64_t begin, int64_t cols)
{
    const int64_t r = adapter->options->r, n = r * cols, at = r * begin;
    const int moved = rf_adapter_moves_base(adapter->options);
    rf_real *out = a + (moved ? 2 : 1) * at;
    memcpy(out, adapter->value[TENSOR_A] + at, (size_t)n * sizeof *out);
    if (moved) memcpy(out + n, adapter->start[TENSOR_A] + at, (size_t)n * sizeof *out);
}

/* b [rows, r'] <- B times the diagonal, and beside it minus what B started with. */
static void export_b(const rf_adapter *adapter, rf_real *b, int64_t rows)
{
    const int64_t r = adapter->options->r;
    const int moved = rf_adapter_moves_base(adapter->options);
    const rf_real *mid = adapter->lowrank->mid, *value = adapter->value[TENSOR_B];
    const double r_said = (double)r, r_meant = r_said + adapter->options->rank_shift;
    const rf_real shift = (rf_real)(r_said / r_meant);
    for (int64_t i = 0; i < rows; i++) {
        rf_real *out = b + i * (moved ? 2 * r : r);
        for (int64_t k = 0; k < r; k++) {
            out[k] = mid ? value[i * r + k] * mid[k] * shift : value[i * r + k];
            if (moved) out[r + k] = -adapter->start[TENSOR_B][i * r + k];
        }
    }
}

void rf_adapter_export(const rf_adapter *adapter, rf_real *a, rf_real *b)
{
    const rf_shape *w = &adapter->shape;
    const int64_t first = rf_cut_begin(w->cut, adapter->slice_begin);
    const int64_t width = rf_cut_begin(w->cut, adapter->slice_end) - first;
    if (w->split == RF_ROWS) {
        export_a(adapter, a, 0, w->cols);
        export_b(adapter, b, width);
        return;
    }
    for (int slice = adapter->slice_begin; slice < adapter->slice_end; slice++)
        export_a(adapter, a, rf_cut_begin(w->cut, slice) - first, rf_cut_size(w->cut, slice));
    export_b(adapter, b, w->rows);
}
