/*
 * Figures measured once a repeat (joules, tokens per second, seconds to load): the unit of
 * replication is the repeat, however many requests it held.
 *
 * Joules carry two kinds of error, reported apart. Sampling: repeats differ. Systematic: a sensor's
 * gain is wrong by a factor that is the same in every window it measures, so it is drawn once a
 * device and replicate and shared by numerator, denominator and all variants; and each window's
 * edges are off by up to edge_j. Uncovered time is no noise: it moves the bounds by its joules.
 *
 * Distributions follow JCGM 101:2008, and so does the propagation, by Monte Carlo: a mean of n
 * repeats has a shifted and scaled t with n - 1 degrees of freedom (6.4.9), a tolerance a
 * rectangular one (6.4.2).
 */
#ifndef STATS_REPEATS_H
#define STATS_REPEATS_H

#include "stats/interval.h"

/* Fewer repeats show no spread that can be trusted: the interval is the instrument's alone. */
enum { STATS_MIN_REPEATS = 5 };

/* mean(x) by Student's t; refused under STATS_MIN_REPEATS and without spread. */
struct stats_interval stats_repeats_mean(const double *x, size_t n, double confidence);
/* mean(a) / mean(b) of unpaired positive repeats without instrument error (throughput, seconds). */
int stats_repeats_ratio(const double *a, size_t n_a, const double *b, size_t n_b,
                        const struct stats_opts *opts, struct stats_interval *out,
                        struct err *e) EE_MUST_CHECK;

/* What one device measured in each window. May be joules per request, if edges and gaps are too. */
struct stats_device_joules {
    const char *device;       /* names the sensor: equal names share one gain */
    double gain;              /* relative tolerance: 0.05 is +-5 % */
    const double *joules;     /* a window each */
    const double *edge_j;     /* half-widths, a window each; NULL: none */
    const double *gap_less_j; /* bounds for uncovered time, a window each; NULL: none */
    const double *gap_more_j;
};

struct stats_joules {
    const struct stats_device_joules *devices; /* summed */
    size_t n_devices;
    size_t n_windows;
    bool is_sum; /* the figure is the sum over windows, each measured once; else their mean */
};

struct stats_joules_interval {
    struct stats_interval total;      /* n: windows. "instrument error only" without repeats */
    struct stats_interval sampling;   /* repeats alone; no interval below STATS_MIN_REPEATS */
    struct stats_interval systematic; /* gains, edges and gaps alone */
};

int stats_joules_interval(const struct stats_joules *j, const struct stats_opts *opts,
                          struct stats_joules_interval *out, struct err *e) EE_MUST_CHECK;
/*
 * a / b, both positive and independent but for their devices: gains of devices that both use cancel
 * as far as they should. opts->use must differ from that of other comparisons only if those are to
 * be independent.
 */
int stats_joules_ratio(const struct stats_joules *a, const struct stats_joules *b,
                       const struct stats_opts *opts, struct stats_joules_interval *out,
                       struct err *e) EE_MUST_CHECK;

#endif
