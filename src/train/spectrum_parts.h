/* What the sources of `spectrum` share; private to layer train. */
#ifndef RF_TRAIN_SPECTRUM_PARTS_H
#define RF_TRAIN_SPECTRUM_PARTS_H

#include "refract/io/spectrum.h"
#include "refract/train/session.h"

/* One module at work: where its weight is, and what becomes known of it. */
typedef struct spectrum_item {
    char name[RF_NAME_BYTES];
    const rf_linear *linear;
    const rf_adapter *adapter; /* NULL: the weight itself was trained */
    const rf_real *before;     /* then: this rank's slices as they were; borrowed */
    rf_spectrum_module *result;
} spectrum_item;

/* All of them. Zero-initialise. */
typedef struct spectrum_list {
    spectrum_item *item;        /* [count]; owned */
    rf_spectrum_module *result; /* [count]; owned */
    int64_t count;
    rf_real **before; /* [linears] base weights that training replaces; owned, or NULL */
    int64_t linears;
    double *numbers; /* the results' arrays; owned */
} spectrum_list;

/* Lists what is changed, and keeps the base of what a checkpoint will replace: after the base
 * weights were read, before the checkpoint. Local; RF_RESOURCES, RF_USAGE where nothing is. */
rf_status spectrum_list_make(spectrum_list *list, const rf_session *session);
void spectrum_list_destroy(spectrum_list *list);

/* Factorises all; results are known on root. Collective over world; RF_RESOURCES, RF_NONFINITE. */
rf_status spectrum_compute(spectrum_list *list, const rf_session *session, int64_t most_elements);

#endif
