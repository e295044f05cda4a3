/** A small training state for checkpoint tests: every split, several types, empty slices. */
#ifndef RF_STATE_H
#define RF_STATE_H

#include "refract/comm/grid.h"
#include "refract/io/checkpoint.h"

enum { RF_STATE_FIELDS = 7 };

typedef struct rf_state {
    rf_field fields[RF_STATE_FIELDS];
    void *globals[RF_STATE_FIELDS]; /**< owned: what the whole job should hold */
    rf_attribute attributes[3];
} rf_state;

/** Makes the state of `step`; value = f(field, step, global index), its local part per the grid.
 * Local. */
void rf_state_make(rf_state *state, const rf_grid *grid, int64_t step);
/** Overwrites the local parts. Local. */
void rf_state_clear(rf_state *state, const rf_grid *grid);
/** 1 when the local parts are those of the state that was made. Local. */
int rf_state_holds(const rf_state *state, const rf_grid *grid);
void rf_state_free(rf_state *state);

#endif
