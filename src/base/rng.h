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
/* Inline, because resampling draws by the million. */
static inline uint64_t rng_u64(struct rng *r) {
    uint64_t *s = r->s;
    const uint64_t x = s[1] * 5;
    const uint64_t result = (x << 7 | x >> 57) * 9;
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s[3] << 45 | s[3] >> 19;
    return result;
}
/* Uniform in [0, n), without modulo bias; 0 when n is 0. */
uint64_t rng_below(struct rng *r, uint64_t n);
/* Uniform in [0, 1). */
static inline double rng_uniform(struct rng *r) {
    return (double)(rng_u64(r) >> 11) * 0x1.0p-53;
}

#endif
