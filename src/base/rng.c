#include "refract/base/rng.h"

#include <math.h>

enum { PHILOX_ROUNDS = 10 };

rf_philox_block rf_philox(uint64_t key, uint64_t counter_low, uint64_t counter_high)
{
    uint32_t x0 = (uint32_t)counter_low, x1 = (uint32_t)(counter_low >> 32);
    uint32_t x2 = (uint32_t)counter_high, x3 = (uint32_t)(counter_high >> 32);
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * x0;
        const uint64_t p1 = (uint64_t)0xCD9E8D57u * x2;
        x0 = (uint32_t)(p1 >> 32) ^ x1 ^ k0;
        x1 = (uint32_t)p1;
        x2 = (uint32_t)(p0 >> 32) ^ x3 ^ k1;
        x3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (rf_philox_block){{x0, x1, x2, x3}};
}

/* FNV-1a over the name, then the finaliser of splitmix64 over each index. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

uint64_t rf_stream(const char *name, uint64_t a, uint64_t b)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 0x100000001B3u;
    hash = mix(hash + 0x9E3779B97F4A7C15u + a);
    return mix(hash + 0x9E3779B97F4A7C15u + b);
}

uint64_t rf_random_bits(uint64_t seed, uint64_t stream, uint64_t index)
{
    const rf_philox_block block = rf_philox(seed, index, stream);
    return (uint64_t)block.word[1] << 32 | block.word[0];
}

static double unit(uint64_t bits)
{
    return (double)(bits >> 11) * 0x1p-53;
}

double rf_random_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    return unit(rf_random_bits(seed, stream, index));
}

double rf_random_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    const rf_philox_block block = rf_philox(seed, index, stream);
    const double u = unit((uint64_t)block.word[1] << 32 | block.word[0]);
    const double v = unit((uint64_t)block.word[3] << 32 | block.word[2]);
    return sqrt(-2.0 * log1p(-u)) * cos(6.283185307179586476925 * v);
}

void rf_random_permutation(int64_t *order, int64_t n, uint64_t seed, uint64_t stream)
{
    for (int64_t i = 0; i < n; i++) order[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        const uint64_t bits = rf_random_bits(seed, stream, (uint64_t)i);
        const int64_t j = (int64_t)(((unsigned __int128)bits * (uint64_t)(i + 1)) >> 64);
        const int64_t swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
}
