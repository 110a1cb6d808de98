#include "stats/resample.h"

#include <math.h>

enum { DEFAULT_RESAMPLES = 10000, MIN_RESAMPLES = 100 };

int stats_opts_fill(const struct stats_opts *opts, struct stats_opts *full, struct err *e) {
    static const struct stats_opts none = {0};
    *full = opts ? *opts : none;
    full->confidence = full->confidence == 0 ? 0.95 : full->confidence;
    full->resamples = full->resamples ? full->resamples : DEFAULT_RESAMPLES;
    full->use = full->use ? full->use : "";
    if (!(full->confidence > 0 && full->confidence < 1)) {
        return err_set(e, EE_USAGE, "confidence %g is not between 0 and 1", full->confidence);
    }
    if (full->resamples < MIN_RESAMPLES) {
        return err_set(e, EE_USAGE, "%zu resamples are too few for an interval: ask for %d or more",
                       full->resamples, MIN_RESAMPLES);
    }
    if (!(full->bound >= 0 && isfinite(full->bound))) {
        return err_set(e, EE_USAGE, "%g is not an upper bound of values from 0", full->bound);
    }
    return 0;
}

/* FNV-1a with 64 bits (Fowler, Noll, Vo). */
static uint64_t add_name(uint64_t h, const char *name) {
    for (; *name; name++) {
        h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    }
    return h;
}

void stats_stream(struct rng *r, uint64_t seed, const char *kind, const char *name) {
    uint64_t h = add_name(UINT64_C(0xcbf29ce484222325), kind);
    h = add_name(add_name(h, ":"), name);
    rng_init_stream(r, seed, h);
}

bool stats_all_finite(const double *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return false;
        }
    }
    return true;
}

static void swap(double *a, double *b) {
    double t = *a;
    *a = *b;
    *b = t;
}

static double median_of_3(double a, double b, double c) {
    if (a > b) {
        swap(&a, &b);
    }
    return c < a ? a : c > b ? b : c;
}

/* Puts the k-th smallest value at x[k], smaller ones before and larger ones after it (Hoare). */
static void select_kth(double *x, size_t n, size_t k) {
    size_t first = 0;
    size_t last = n - 1;
    while (first < last) {
        double pivot = median_of_3(x[first], x[first + (last - first) / 2], x[last]);
        size_t i = first;
        size_t j = last;
        while (i <= j) {
            while (x[i] < pivot) {
                i++;
            }
            while (x[j] > pivot) {
                j--;
            }
            if (i <= j) {
                swap(&x[i], &x[j]);
                i++;
                if (j == 0) {
                    break;
                }
                j--;
            }
        }
        if (k <= j) {
            last = j;
        } else if (k >= i) {
            first = i;
        } else {
            return;
        }
    }
}

double stats_quantile_of(double *x, size_t n, double p) {
    if (n == 0 || !(p >= 0 && p <= 1)) {
        return NAN;
    }
    double at = p * (double)(n - 1);
    size_t below = (size_t)at;
    select_kth(x, n, below);
    double share = at - (double)below;
    /* Also keeps infinite neighbours out of the interpolation: inf * 0 is NAN. */
    if (share == 0 || below + 1 >= n) {
        return x[below];
    }
    double above = x[below + 1];
    for (size_t i = below + 2; i < n; i++) {
        above = x[i] < above ? x[i] : above;
    }
    return x[below] == above ? above : x[below] + share * (above - x[below]);
}
