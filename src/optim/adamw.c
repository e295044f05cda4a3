#include "refract/optim/adamw.h"

#include <math.h>
#include <stddef.h>

enum { BLOCK = 8192 }; /* items of one task */

/* Constants of one update for one tensor, rounded once. */
typedef struct coefficients {
    rf_real scale, keep, beta1, beta2, one_minus_beta1, one_minus_beta2, step_size, root_bias,
        epsilon;
} coefficients;

static void update_block(rf_real *restrict p, rf_real *restrict m, rf_real *restrict v,
                         const rf_real *restrict gradient, int64_t n, const coefficients *c)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const rf_real g = gradient[i] * c->scale;
        m[i] = m[i] * c->beta1 + g * c->one_minus_beta1;
        v[i] = v[i] * c->beta2 + g * g * c->one_minus_beta2;
#ifdef RF_DOUBLE
        const rf_real root = __builtin_sqrt(v[i]);
#else
        const rf_real root = __builtin_sqrtf(v[i]);
#endif
        p[i] = p[i] * c->keep - c->step_size * (m[i] / (root * c->root_bias + c->epsilon));
    }
}

void rf_adamw_update(const rf_adamw *adamw, const rf_params *params, const rf_real *gradient,
                     double scale, double rate, int64_t step)
{
    rf_adamw_update_others(adamw, params, gradient, scale, rate, step, NULL);
}

void rf_adamw_update_others(const rf_adamw *adamw, const rf_params *params, const rf_real *gradient,
                            double scale, double rate, int64_t step, const unsigned char *done)
{
    const double bias1 = 1 - pow(adamw->beta1, (double)step);
    const double bias2 = 1 - pow(adamw->beta2, (double)step);
#pragma omp parallel
    for (int64_t r = 0; r < params->count; r++) {
        const rf_param *row = &params->row[r];
        if (!row->trained || (done && done[r])) continue;
        const double lr = rate * row->lr_scale;
        const coefficients c = {.scale = (rf_real)scale,
                                .keep = (rf_real)(1 - lr * adamw->weight_decay),
                                .beta1 = (rf_real)adamw->beta1,
                                .beta2 = (rf_real)adamw->beta2,
                                .one_minus_beta1 = (rf_real)(1 - adamw->beta1),
                                .one_minus_beta2 = (rf_real)(1 - adamw->beta2),
                                .step_size = (rf_real)(lr / bias1),
                                .root_bias = (rf_real)(1 / sqrt(bias2)),
                                .epsilon = (rf_real)adamw->epsilon};
#pragma omp for schedule(static) nowait
        for (int64_t at = 0; at < row->items; at += BLOCK) {
            const int64_t i = row->offset + at;
            update_block(params->value + i, params->moment1 + i, params->moment2 + i, gradient + i,
                         row->items - at < BLOCK ? row->items - at : BLOCK, &c);
        }
    }
}
