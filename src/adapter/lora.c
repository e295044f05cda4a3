/* LoRA: y = x W^T + s (drop(x) A^T) B^T. Hu et al. 2021, arXiv:2106.09685, eq. 3 and section 4.1.
 */
#include "parts.h"

const rf_adapter_kind rf_adapter_lora = {
    .name = "lora",
    .paper = "Hu et al. 2021, arXiv:2106.09685",
    .tensors = factor_tensors,
    .bind = factor_bind,
};
