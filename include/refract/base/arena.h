/**
 * Arenas: memory with a name, a life and a known size.
 *
 * A layout function only cuts pointers out of an arena and never touches what they point to; run on
 * a counting arena it yields the size (the plan), run on a real one it yields the buffers. So the
 * plan printed before a run is exact, and the step loop allocates nothing.
 */
#ifndef RF_BASE_ARENA_H
#define RF_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "refract/base/status.h"

enum { RF_ARENA_ALIGN = 64 };

typedef struct rf_arena {
    const char *name; /**< borrowed, for messages */
    char *base;       /**< owned; NULL while counting */
    size_t size;      /**< bytes available; SIZE_MAX while counting */
    size_t used;      /**< bytes handed out, multiples of RF_ARENA_ALIGN */
    size_t peak;      /**< largest `used` so far */
} rf_arena;

/** An arena that only counts: allocations return NULL, `peak` is the size to create. Local. */
rf_arena rf_arena_counting(const char *name);

/** Takes `size` bytes of zeroed memory. RF_RESOURCES when the machine has not enough. Local. */
rf_status rf_arena_create(rf_arena *arena, const char *name, size_t size);

/** Gives the memory back; safe on a zeroed, counting or destroyed arena. Local. */
void rf_arena_destroy(rf_arena *arena);

/**
 * Hands out `count` items of `item` bytes, aligned to RF_ARENA_ALIGN; NULL while counting.
 * Running out is a bug: sizes are tabled first. Local.
 */
void *rf_arena_take(rf_arena *arena, int64_t count, size_t item);

/** Marks and releases: everything taken since the mark is free again. Local. */
size_t rf_arena_mark(const rf_arena *arena);
void rf_arena_release(rf_arena *arena, size_t mark);

/** Typed form: rf_real *x = RF_TAKE(arena, rf_real, tokens * d_model). */
#define RF_TAKE(arena, type, count) ((type *)rf_arena_take((arena), (count), sizeof(type)))

#endif
