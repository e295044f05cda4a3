/** rf_real: the number type of activations and trained parameters, chosen per target. */
#ifndef RF_BASE_REAL_H
#define RF_BASE_REAL_H

#ifdef RF_DOUBLE
typedef double rf_real;
#define RF_REAL_NAME "f64"
#else
typedef float rf_real;
#define RF_REAL_NAME "f32"
#endif

#endif
