/**
 * RefLoRA: the r x r mathematics of refactoring. With X = A A^T and Y = B^T B,
 *
 *   S = X^-1 # Y (the geometric mean):   S X S = Y,   dA <- S^-1 dA,   dB <- dB S
 *
 * which is the update that the balanced factorisation of B A would take. Zhang, Li, Giannakis,
 * NeurIPS 2025, arXiv:2505.18877. Matrices are [r, r], row-major, in double.
 */
#ifndef RF_METHOD_REFLORA_H
#define RF_METHOD_REFLORA_H

#include <stdint.h>

/** Doubles of work that the functions below need. Local. */
int64_t rf_reflora_work(int64_t r);

/**
 * Condition number of a Gram matrix: the ratio of its extreme eigenvalues; infinite where the
 * smallest is not positive or does not exist. Local.
 */
double rf_reflora_condition(const double *gram, int64_t r, double *work);

/**
 * S and S^-1 by Cholesky factors X = R_A^T R_A, Y = R_B^T R_B and the decomposition
 * R_A R_B^T = U diag(sigma) V^T: S = Z Z^T with Z = R_A^-1 U sigma^1/2, S^-1 likewise from R_B and
 * V. Nothing is divided by a singular value and no epsilon is added. Returns 0, or not 0 where X or
 * Y is not positive definite. Local.
 */
int rf_reflora_cholesky(double *s, double *s_inverse, const double *x, const double *y, int64_t r,
                        double *work);

/**
 * The same by the released recipe: two eigendecompositions, with `epsilon` added to the square
 * roots of the eigenvalues that are divided by. Returns 0, or not 0 where a number is not finite.
 * Local.
 */
int rf_reflora_released(double *s, double *s_inverse, const double *x, const double *y, int64_t r,
                        double epsilon, double *work);

typedef struct rf_reflora_options {
    int released;         /**< 1: the released recipe */
    int skip;             /**< 1: a singular module is left as it is, else the scalar S is used */
    double max_condition; /**< above it a Gram matrix counts as singular */
    double epsilon;       /**< of the released recipe */
} rf_reflora_options;

/** What became of one module. */
typedef struct rf_refactoring {
    double condition;      /**< the larger one of X and Y */
    double norm_a, norm_b; /**< Frobenius norms of the factors */
    int is_singular;       /**< 1: S is the scalar ||B|| / ||A||, or the identity */
    int is_applied;        /**< 0: S is the identity */
} rf_refactoring;

/** S and S^-1 of a module, with the way out for singular ones. Local; cannot fail. */
rf_refactoring rf_reflora_refactor(double *s, double *s_inverse, const double *x, const double *y,
                                   int64_t r, const rf_reflora_options *options, double *work);

#endif
