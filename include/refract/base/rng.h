/**
 * Counter-based random numbers: every draw is a function of (seed, stream, index) and of nothing
 * else, so no rank's draw depends on what it holds. Philox4x32-10 (Salmon et al. 2011, SC'11,
 * "Parallel random numbers: as easy as 1, 2, 3").
 */
#ifndef RF_BASE_RNG_H
#define RF_BASE_RNG_H

#include <stdint.h>

/** Four 32-bit words for one counter. Local; cannot fail. */
typedef struct rf_philox_block {
    uint32_t word[4];
} rf_philox_block;

/** Philox4x32-10 of a 128-bit counter (low word first) under a 64-bit key. Local. */
rf_philox_block rf_philox(uint64_t key, uint64_t counter_low, uint64_t counter_high);

/** A stream's number from its name and up to two indices, e.g. ("dropout", layer, step). Local. */
uint64_t rf_stream(const char *name, uint64_t a, uint64_t b);

/** Uniform 64-bit word, f(seed, stream, index). Local. */
uint64_t rf_random_bits(uint64_t seed, uint64_t stream, uint64_t index);

/** Uniform in [0, 1) with 53 bits. Local. */
double rf_random_uniform(uint64_t seed, uint64_t stream, uint64_t index);

/** Standard normal (Box-Muller on one counter). Local. */
double rf_random_normal(uint64_t seed, uint64_t stream, uint64_t index);

/** A uniform permutation of 0..n-1 (Fisher-Yates with counter draws). Local. */
void rf_random_permutation(int64_t *order, int64_t n, uint64_t seed, uint64_t stream);

#endif
