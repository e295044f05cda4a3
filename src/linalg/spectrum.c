#include "refract/linalg/spectrum.h"

#include <cblas.h>
#include <math.h>

double rf_effective_rank(const double *sigma, int64_t n)
{
    double sum = 0, entropy = 0;
    for (int64_t i = 0; i < n; i++) sum += sigma[i];
    if (sum <= 0) return 0;
    for (int64_t i = 0; i < n; i++) {
        const double p = sigma[i] / sum;
        if (p > 0) entropy -= p * log(p);
    }
    return exp(entropy);
}

int64_t rf_energy_rank(const double *sigma, int64_t n, double share)
{
    double all = 0, held = 0;
    for (int64_t i = 0; i < n; i++) all += sigma[i] * sigma[i];
    if (all <= 0) return 0;
    for (int64_t k = 0; k < n; k++) {
        held += sigma[k] * sigma[k];
        if (held >= share * all) return k + 1;
    }
    return n;
}

void rf_most_cosine(double *cosine, const double *u1, int64_t n1, int64_t top, const double *u0,
                    int64_t n0, int64_t rows)
{
    for (int64_t k = 0; k < top; k++) {
        cosine[k] = 0;
        for (int64_t j = 0; j < n0; j++) {
            const double dot =
                fabs(cblas_ddot((blasint)rows, u1 + k, (blasint)n1, u0 + j, (blasint)n0));
            if (dot > cosine[k]) cosine[k] = dot;
        }
    }
}
