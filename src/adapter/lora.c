/* LoRA: y = x W^T + s (drop(x) A^T) B^T. Hu et al. 2021, arXiv:2106.09685, eq. 3 and section 4.1.
 */
#include "refract/adapter/adapter.h"

#include <math.h>

/* A: uniform in +-1/sqrt(d_in) (Kaiming with a = sqrt(5)) over the global width, or normal; B:
 * zero. */
static int lora_tensors(const rf_shape *weight, const rf_adapter_options *options,
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
    const rf_init start = options->gaussian
                              ? (rf_init){RF_INIT_NORMAL, 1.0 / (double)options->r}
                              : (rf_init){RF_INIT_UNIFORM, 1.0 / sqrt((double)weight->cols)};
    tensors[0] = (rf_adapter_tensor){"lora_A.weight", "A", a, start};
    tensors[1] = (rf_adapter_tensor){"lora_B.weight", "B", b, {RF_INIT_ZERO, 0}};
    return 2;
}

static void lora_bind(rf_lowrank *lowrank, const rf_adapter_options *options,
                      rf_real *const *values, rf_real *const *gradients)
{
    lowrank->r = options->r;
    lowrank->scaling = (rf_real)rf_adapter_scaling(options);
    lowrank->dropout = options->dropout;
    lowrank->a = values[0];
    lowrank->b = values[1];
    lowrank->da = gradients[0];
    lowrank->db = gradients[1];
}

const rf_adapter_kind rf_adapter_lora = {
    .name = "lora",
    .paper = "Hu et al. 2021, arXiv:2106.09685",
    .tensors = lora_tensors,
    .bind = lora_bind,
};
