#include "stats/histogram.h"

#include <math.h>
#include <stdlib.h>

/* A number is its leading bit, the ten bits after it, and how far they were shifted. */
enum { BITS = 10, STEPS = 1 << BITS, BINS = (32 - BITS + 1) * STEPS };

struct histogram {
    uint64_t n;
    uint64_t counts[BINS];
};

struct histogram *histogram_new(void) {
    return calloc(1, sizeof(struct histogram));
}

void histogram_free(struct histogram *h) {
    free(h);
}

void histogram_add(struct histogram *h, uint32_t x) {
    uint32_t shift = 0;
    while (x >> shift >= 2 * STEPS) {
        shift++;
    }
    h->counts[shift * STEPS + (x >> shift)]++;
    h->n++;
}

uint64_t histogram_count(const struct histogram *h) {
    return h->n;
}

/* The middle of what a bin holds. */
static double bin_value(size_t bin) {
    size_t shift = bin < 2 * STEPS ? 0 : bin / STEPS - 1;
    double width = (double)((uint64_t)1 << shift);
    return (double)(bin - shift * STEPS) * width + (width - 1) / 2;
}

/* The k-th smallest, from 0. */
static double order_statistic(const struct histogram *h, uint64_t k) {
    size_t bin = 0;
    for (uint64_t below = h->counts[0]; below <= k && bin + 1 < BINS; below += h->counts[bin]) {
        bin++;
    }
    return bin_value(bin);
}

double histogram_quantile(const struct histogram *h, double p) {
    if (h->n == 0 || !(p >= 0 && p <= 1)) {
        return NAN;
    }
    double rank = p * (double)(h->n - 1);
    uint64_t k = (uint64_t)rank;
    double low = order_statistic(h, k);
    double part = rank - (double)k;
    return part > 0 ? low + part * (order_statistic(h, k + 1) - low) : low;
}
