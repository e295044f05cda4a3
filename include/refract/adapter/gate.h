/** Scores of the gates between an adapter's factors (BeamLoRA). */
#ifndef RF_ADAPTER_GATE_H
#define RF_ADAPTER_GATE_H

#include <stdint.h>

#include "refract/base/real.h"

/** sigma = r softmax(gate / temperature), in double; the scores sum to r. Local. */
void rf_gate_scores(double *sigma, const rf_real *gate, int64_t r, double temperature);

#endif
