#include "base/rng.h"

static uint64_t splitmix64(uint64_t *x) {
    uint64_t z = (*x += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, int k) {
    return (x << k) | (x >> (64 - k));
}

void rng_init(struct rng *r, uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        r->s[i] = splitmix64(&seed);
    }
}

void rng_init_stream(struct rng *r, uint64_t seed, uint64_t stream) {
    /* Only the seed is mixed first: mixing both would make (a, b) and (b, a) one stream. */
    rng_init(r, splitmix64(&seed) ^ stream);
}

uint64_t rng_u64(struct rng *r) {
    uint64_t *s = r->s;
    const uint64_t result = rotl(s[1] * 5, 7) * 9;
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *r, uint64_t n) {
    if (n == 0) {
        return 0;
    }
    /* Values under 2^64 mod n would make the low residues likelier: draw again. */
    const uint64_t reject_below = (UINT64_MAX - n + 1) % n;
    uint64_t x;
    do {
        x = rng_u64(r);
    } while (x < reject_below);
    return x % n;
}

double rng_uniform(struct rng *r) {
    return (double)(rng_u64(r) >> 11) * 0x1.0p-53;
}
