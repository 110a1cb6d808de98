#include "base/rng.h"

static uint64_t splitmix64(uint64_t *x) {
    uint64_t z = (*x += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
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
