/** What singular values and vectors of weights say: effective ranks, intruder dimensions. */
#ifndef RF_LINALG_SPECTRUM_H
#define RF_LINALG_SPECTRUM_H

#include <stdint.h>

/**
 * Effective rank (Roy, Vetterli 2007, EUSIPCO): exp(-sum p log p) with p = sigma / sum sigma;
 * between 1 and the rank, n where all values are equal, 0 for a matrix of zeros. Local.
 */
double rf_effective_rank(const double *sigma, int64_t n);

/** The least k whose k largest values hold `share` of sum sigma^2; sigma is descending. 0 for a
 * matrix of zeros. Local. */
int64_t rf_energy_rank(const double *sigma, int64_t n, double share);

/**
 * cosine[k] = max_j |<column k of u1, column j of u0>| for k < top: how much of a direction was
 * there before. u0 [rows, n0], u1 [rows, n1], columns of length 1, top <= n1. A small one belongs
 * to an intruder dimension (Shuttleworth et al. 2024, arXiv:2410.21228). Local.
 */
void rf_most_cosine(double *cosine, const double *u1, int64_t n1, int64_t top, const double *u0,
                    int64_t n0, int64_t rows);

#endif
