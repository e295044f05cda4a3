/* The factors A and B that low-rank kinds have in common. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parts.h"
#include "refract/linalg/convert.h"
#include "refract/linalg/dense.h"
#include "refract/linalg/vecmath.h"

static rf_init start_of_a(const rf_shape *weight, const rf_adapter_options *options)
{
    if (options->init == RF_ADAPTER_GAUSSIAN)
        return (rf_init){RF_INIT_NORMAL, 1.0 / (double)options->r};
    /* Kaiming with a = sqrt(5), over the global width */
    return (rf_init){RF_INIT_UNIFORM, 1.0 / sqrt((double)weight->cols)};
}

static rf_init start_of_b(const rf_adapter_options *options)
{
    if (options->init == RF_ADAPTER_RANDOM)
        return (rf_init){RF_INIT_UNIFORM, 1.0 / sqrt((double)options->r)};
    return (rf_init){RF_INIT_ZERO, 0};
}

double faster(const rf_adapter_options *options)
{
    return options->lr_ratio > 0 ? options->lr_ratio : 1;
}

int factor_tensors(const rf_shape *weight, const rf_adapter_options *options,
                   rf_adapter_tensor tensors[RF_ADAPTER_TENSORS])
{
    rf_shape a = rf_shape_replicated(options->r, weight->cols);
    rf_shape b = rf_shape_replicated(weight->rows, options->r);
    if (weight->split == RF_COLS) {
        a.split = RF_COLS;
        a.cut = weight->cut;
    } else if (weight->split == RF_ROWS) {
        b.split = RF_ROWS;
        b.cut = weight->cut;
    }
    tensors[TENSOR_A] = (rf_adapter_tensor){.suffix = "lora_A.weight",
                                            .field = "A",
                                            .shape = a,
                                            .init = start_of_a(weight, options),
                                            .lr_scale = 1};
    tensors[TENSOR_B] = (rf_adapter_tensor){.suffix = "lora_B.weight",
                                            .field = "B",
                                            .shape = b,
                                            .init = start_of_b(options),
                                            .lr_scale = faster(options)};
    return 2;
}

void factor_bind(rf_adapter *adapter)
{
    rf_lowrank *lowrank = adapter->lowrank;
    lowrank->r = adapter->options->r;
    lowrank->scaling = (rf_real)rf_adapter_scaling(adapter->options);
    lowrank->dropout = adapter->options->dropout;
    lowrank->a = adapter->value[TENSOR_A];
    lowrank->b = adapter->value[TENSOR_B];
    lowrank->da = adapter->gradient[TENSOR_A];
    lowrank->db = adapter->gradient[TENSOR_B];
}

adapter_slice adapter_slice_of(const rf_adapter *adapter, int slice, const rf_real *a,
                               const rf_real *b)
{
    const rf_shape *shape = &adapter->shape;
    const int64_t r = adapter->options->r;
    const int64_t offset = rf_slice_offset(shape, adapter->slice_begin, slice);
    const int64_t before =
        rf_cut_begin(shape->cut, slice) - rf_cut_begin(shape->cut, adapter->slice_begin);
    const int column = shape->split == RF_ROWS;
    return (adapter_slice){
        .w = {.dtype = adapter->dtype,
              .data = (const char *)adapter->w + rf_dtype_bytes(adapter->dtype, offset),
              .rows = rf_slice_rows(shape, slice),
              .cols = rf_slice_cols(shape, slice)},
        .a = column ? a : a + r * before,
        .b = column ? b + r * before : b,
        .row = column ? before : 0};
}

void rf_adapter_merge(const rf_adapter *adapter, int slice, rf_real *w)
{
    const rf_lowrank *lr = adapter->lowrank;
    const adapter_slice s = adapter_slice_of(adapter, slice, lr->a, lr->b);
    rf_gemm(RF_N, RF_N, s.w.rows, s.w.cols, lr->r, lr->scaling, s.b, lr->r, s.a, s.w.cols, 1, w,
            s.w.cols);
    for (int64_t i = 0; lr->out_scale && i < s.w.rows; i++)
        rf_scale(w + i * s.w.cols, lr->out_scale[s.row + i], s.w.cols);
}

/* w [rows, cols] += s B A of one slice, in double. */
static rf_status add_wide(double *w, const adapter_slice *s, int64_t r, double scaling)
{
    const int64_t rows = s->w.rows, cols = s->w.cols;
    double *a = malloc((size_t)(r * (rows + cols) + 1) * sizeof *a);
    if (!a) return rf_fail(RF_RESOURCES, "no memory to widen an adapter");
    double *b = a + r * cols;
    rf_convert(a, RF_F64, s->a, RF_DTYPE_REAL, r * cols);
    rf_convert(b, RF_F64, s->b, RF_DTYPE_REAL, rows * r);
    rf_dense_gemm(RF_N, RF_N, rows, cols, r, scaling, b, r, a, cols, 1, w, cols);
    free(a);
    return RF_OK;
}

rf_status rf_adapter_wide(const rf_adapter *adapter, int slice, double *start, double *merged)
{
    const rf_lowrank *lr = adapter->lowrank;
    const adapter_slice s = adapter_slice_of(adapter, slice, lr->a, lr->b);
    const int64_t items = s.w.rows * s.w.cols;
    if (items == 0) return RF_OK;
    rf_convert(merged, RF_F64, s.w.data, s.w.dtype, items);
    memcpy(start, merged, (size_t)items * sizeof *start);
    if (rf_adapter_moves_base(adapter->options)) {
        const adapter_slice first =
            adapter_slice_of(adapter, slice, adapter->start[TENSOR_A], adapter->start[TENSOR_B]);
        RF_TRY(add_wide(start, &first, lr->r, (double)lr->scaling));
    }
    RF_TRY(add_wide(merged, &s, lr->r, (double)lr->scaling));
    for (int64_t i = 0; lr->out_scale && i < s.w.rows; i++)
        for (int64_t j = 0; j < s.w.cols; j++)
            merged[i * s.w.cols + j] *= (double)lr->out_scale[s.row + i];
    return RF_OK;
}
