/* The r x r equations of LoRA-Pro; private to layer method. All matrices are [r, r], row-major. */
#ifndef RF_METHOD_LORAPRO_SOLVE_H
#define RF_METHOD_LORAPRO_SOLVE_H

#include <stdint.h>

/* Doubles of work that any function below needs. */
int64_t lorapro_work(int64_t r);

/* out <- (gram + 1e-8)^-1 / s^2 of a Gram matrix's triangle; 0 where there is no inverse. */
void lorapro_inverse(double *out, const double *triangle, int64_t r, double scaling);

/* out = -s^2 k h l, what B is multiplied by in g_B. */
void lorapro_projection(double *out, const double *k, const double *h, const double *l, int64_t r,
                        double scaling, double *work);

/* x with Y x + x Z = -k h, Y and Z given as triangles. Returns 0, or not 0 (x untouched) where
 * eigenvalues do not converge. */
int lorapro_balance(double *x, const double *y_triangle, const double *z_triangle, const double *k,
                    const double *h, int64_t r, double *work);

#endif
