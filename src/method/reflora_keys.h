/* What reflora and reflora-s share: when they act, and what they note; private to layer method. */
#ifndef RF_METHOD_REFLORA_KEYS_H
#define RF_METHOD_REFLORA_KEYS_H

#include "refract/method/method.h"

/* reflora.warmup and reflora.interval. */
typedef struct reflora_clock {
    int64_t warmup, interval;
} reflora_clock;

/* Reads the keys and resolves `auto`; RF_USAGE where factors are zero and there is no warm-up. */
rf_status reflora_clock_read(reflora_clock *clock, const rf_method_context *context);
/* 1 when the gradient of update t = 1, 2, ... is refactored: t > w and (t - w - 1) mod k = 0. */
int reflora_clock_refactors(const reflora_clock *clock, int64_t t);
/* 1 when factors are rescaled after update t (0: before the first): t >= w, (t - w) mod k = 0. */
int reflora_clock_rescales(const reflora_clock *clock, int64_t t);

/* The last refactoring, module by module, and how many ways out were taken so far. */
typedef struct reflora_record {
    int64_t modules, step;
    double *condition, *norm_a, *norm_b; /* [modules] */
    uint8_t *fallback;                   /* [modules] */
    int64_t *counts;                     /* [2] modules refactored and singular ones so far */
} reflora_record;

void reflora_record_layout(reflora_record *record, rf_arena *run, int64_t modules);
void reflora_record_note(reflora_record *record, int64_t m, double condition, double norm_a,
                         double norm_b, int is_singular);
void reflora_record_end(reflora_record *record, int64_t step);
rf_status reflora_record_fields(const reflora_record *record, const char *method,
                                rf_fields *fields);
rf_status reflora_record_report(const reflora_record *record, int64_t step,
                                rf_telemetry *telemetry);
void reflora_record_summarise(const reflora_record *record, const char *method, rf_log *log);

#endif
