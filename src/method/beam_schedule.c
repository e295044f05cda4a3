#include <math.h>

#include "refract/method/beam.h"

double rf_beam_threshold(const rf_beam_schedule *s, int64_t t)
{
    const double done = (double)(t - 1);
    if (done > s->end) return 1;
    return 1 - (1 - s->keep) * (1 + cos(3.14159265358979323846 * done / s->end)) / 2;
}

int rf_beam_is_event(const rf_beam_schedule *s, int64_t t)
{
    return t > 0 && t % s->interval == 0 && s->steps - t >= s->interval &&
           rf_beam_threshold(s, t) < 1;
}

/* The multiple of the interval that update t leads to. */
static int64_t next_event(const rf_beam_schedule *s, int64_t t)
{
    return (t + s->interval - 1) / s->interval * s->interval;
}

int rf_beam_is_snapshot(const rf_beam_schedule *s, int64_t t)
{
    return t % s->interval == s->interval / 2 + 1 && rf_beam_is_event(s, next_event(s, t));
}

int rf_beam_holds_snapshot(const rf_beam_schedule *s, int64_t t)
{
    return t % s->interval >= s->interval / 2 + 1 && rf_beam_is_event(s, next_event(s, t));
}
