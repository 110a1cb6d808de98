/*
 * Seeded random numbers: xoshiro256** (Blackman and Vigna, 2018), seeded through SplitMix64.
 * The same seed gives the same stream on every machine. Not for secrets.
 */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_init(struct rng *r, uint64_t seed);
/* An independent stream for a named purpose: equal (seed, stream) pairs give equal streams. */
void rng_init_stream(struct rng *r, uint64_t seed, uint64_t stream);
uint64_t rng_u64(struct rng *r);
/* Uniform in [0, n), without modulo bias; 0 when n is 0. */
uint64_t rng_below(struct rng *r, uint64_t n);
/* Uniform in [0, 1). */
double rng_uniform(struct rng *r);

#endif
