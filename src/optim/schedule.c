#include "refract/optim/schedule.h"

#include <math.h>
#include <string.h>

double rf_schedule_rate(const rf_schedule *schedule, int64_t t)
{
    const double w = (double)schedule->warmup, n = (double)schedule->steps;
    if (t < schedule->warmup) return schedule->learning_rate * (double)t / w;
    if (schedule->kind == RF_CONSTANT || t >= schedule->steps)
        return schedule->kind == RF_CONSTANT ? schedule->learning_rate : 0;
    if (schedule->kind == RF_LINEAR) return schedule->learning_rate * (n - (double)t) / (n - w);
    const double angle = 3.14159265358979323846 * ((double)t - w) / (n - w);
    return schedule->learning_rate * 0.5 * (1 + cos(angle));
}

rf_schedule_kind rf_schedule_parse(const char *name)
{
    if (strcmp(name, "cosine") == 0) return RF_COSINE;
    return strcmp(name, "constant") == 0 ? RF_CONSTANT : RF_LINEAR;
}
