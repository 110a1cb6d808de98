/*
 * Internal to src/stats: what resampling is made of. Not for other layers.
 */
#ifndef STATS_RESAMPLE_H
#define STATS_RESAMPLE_H

#include "stats/interval.h"

#include "base/rng.h"

/* Writes opts with defaults in place of zeros; EE_USAGE for values that cannot be meant. */
int stats_opts_fill(const struct stats_opts *opts, struct stats_opts *full,
                    struct err *e) EE_MUST_CHECK;
/* The random stream of kind and name below the seed. */
void stats_stream(struct rng *r, uint64_t seed, const char *kind, const char *name);

/* Whether all values are finite. */
bool stats_all_finite(const double *x, size_t n);

/* As stats_quantile, of values in any order, which it reorders; none may be NAN. O(n). */
double stats_quantile_of(double *x, size_t n, double p);

/* Uniform indices below n, two from each random number; n is at most 2^32. */
struct stats_indices {
    struct rng rng;
    uint64_t n;
    uint64_t spare; /* a half not used yet, when has_spare */
    bool has_spare;
};

static inline size_t stats_next_index(struct stats_indices *s) {
    uint64_t half;
    if (s->has_spare) {
        half = s->spare;
        s->has_spare = false;
    } else {
        uint64_t bits = rng_u64(&s->rng);
        half = bits >> 32;
        s->spare = bits & UINT32_MAX;
        s->has_spare = true;
    }
    /* Scaled instead of divided: some indices are likelier than others by n / 2^32, under 3e-6. */
    return (size_t)(half * s->n >> 32);
}

#endif
