/** The nearest known word to a mistyped one, for "Did you mean ...?". */
#ifndef RF_BASE_NEAREST_H
#define RF_BASE_NEAREST_H

/** A search: start it, offer every candidate, read `best`. */
typedef struct rf_nearest {
    const char *word; /**< borrowed */
    const char *best; /**< the nearest candidate so far, NULL while none is near enough; borrowed */
    int below;        /**< the next one must be nearer than this */
} rf_nearest;

/** A search for words within about a third of the word's length. Local; cannot fail. */
rf_nearest rf_nearest_start(const char *word);

/** Takes `candidate` as the best, and returns 1, when it is nearer than all before. Local. */
int rf_nearest_offer(rf_nearest *search, const char *candidate);

/**
 * Edits (insert, delete, replace, swap of neighbours) that turn one word into the other: the
 * optimal string alignment distance. Only the first 127 bytes of each count. Local.
 */
int rf_edit_distance(const char *a, const char *b);

#endif
