#include "refract/linalg/vecmath.h"

/* Lane l takes in lane l + step for step = half, quarter, ... of the lanes. */
#define FOLD_LANES(lane, combine)                                                                  \
    for (int step = RF_SUM_LANES / 2; step > 0; step /= 2)                                         \
        for (int l = 0; l < step; l++) (lane)[l] = combine((lane)[l], (lane)[l + step])

/* Runs `item(lane l, index i)` over all items, full rows of lanes first. */
#define EACH_LANE(n, item)                                                                         \
    do {                                                                                           \
        int64_t i = 0;                                                                             \
        for (; i + RF_SUM_LANES <= (n); i += RF_SUM_LANES)                                         \
            for (int l = 0; l < RF_SUM_LANES; l++) item(l, i + l);                                 \
        for (int l = 0; i + l < (n); l++) item(l, i + l);                                          \
    } while (0)

#define PLUS(a, b)   ((a) + (b))
#define LARGER(a, b) ((b) > (a) ? (b) : (a))

rf_real rf_sum(const rf_real *x, int64_t n)
{
    rf_real lane[RF_SUM_LANES] = {0};
#define ITEM(l, i) lane[l] += x[i]
    EACH_LANE(n, ITEM);
#undef ITEM
    FOLD_LANES(lane, PLUS);
    return lane[0];
}

rf_real rf_dot(const rf_real *x, const rf_real *y, int64_t n)
{
    rf_real lane[RF_SUM_LANES] = {0};
#define ITEM(l, i) lane[l] = rf_fma(x[i], y[i], lane[l])
    EACH_LANE(n, ITEM);
#undef ITEM
    FOLD_LANES(lane, PLUS);
    return lane[0];
}

rf_real rf_sum_squares(const rf_real *x, int64_t n)
{
    return rf_dot(x, x, n);
}

rf_real rf_max(const rf_real *x, int64_t n)
{
    rf_real lane[RF_SUM_LANES];
    for (int l = 0; l < RF_SUM_LANES; l++) lane[l] = -(rf_real)INFINITY;
#define ITEM(l, i) lane[l] = LARGER(lane[l], x[i])
    EACH_LANE(n, ITEM);
#undef ITEM
    FOLD_LANES(lane, LARGER);
    return lane[0];
}

double rf_dot_wide(const rf_real *x, const rf_real *y, int64_t n)
{
    double lane[RF_SUM_LANES] = {0};
#define ITEM(l, i) lane[l] = __builtin_fma((double)x[i], (double)y[i], lane[l])
    EACH_LANE(n, ITEM);
#undef ITEM
    FOLD_LANES(lane, PLUS);
    return lane[0];
}

double rf_sum_squares_wide(const rf_real *x, int64_t n)
{
    return rf_dot_wide(x, x, n);
}

void rf_add(rf_real *restrict y, const rf_real *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] += x[i];
}

void rf_axpy(rf_real *restrict y, rf_real a, const rf_real *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = rf_fma(a, x[i], y[i]);
}

void rf_scale(rf_real *y, rf_real a, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] *= a;
}
