/*
 * What every interval of src/stats is: an estimate with two bounds, the method that made them and,
 * where something is missing, the reason. docs/intervals.md says which method is chosen when, and
 * how often each one covers the truth.
 *
 * Conventions of the whole folder. Data are never changed and never kept. A figure that does not
 * exist is NAN with a reason, never a stand-in; a bound that the sample cannot give is infinite.
 * Functions that return int fail only when memory is out (EE_NOMEM) or the caller's options cannot
 * be meant (EE_USAGE). Everything is pure: any thread may call.
 *
 * Randomness: each use draws from a stream of its own, derived from the seed and a name, so that a
 * figure depends neither on the order of calls nor on what else was computed.
 */
#ifndef STATS_INTERVAL_H
#define STATS_INTERVAL_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Resampling more values than this adds nothing to the normal limit: intervals are analytic. */
enum { STATS_ANALYTIC_ABOVE = 10000 };

struct stats_interval {
    double estimate;    /* NAN when there is none */
    double low;         /* NAN without an interval; -INFINITY where the sample gives no bound */
    double high;        /* NAN without an interval; INFINITY where the sample gives no bound */
    double p_value;     /* two-sided, of "no difference" (ratio 1, difference 0); else NAN */
    size_t n;           /* independent observations: items, repeats, requests */
    const char *method; /* "Bonett-Price difference", ...; NULL without an interval. Static. */
    const char *reason; /* why a figure or bound is missing; NULL when all are there. Static. */
};

/* Zero-initialised options, or NULL, are the defaults. */
struct stats_opts {
    double confidence; /* two-sided; 0: 0.95 */
    size_t resamples;  /* 0: 10,000; at least 100 */
    uint64_t seed;     /* the run's; 0 is a seed like any other */
    const char *use;   /* names this use, such as "q_ret/v12": its random stream; NULL: "". Equal
                          names share random numbers, which harms no single interval. Borrowed. */
    double bound;      /* values lie in 0..bound by definition (1 for a score); 0: not known */
};

/* Whether both bounds are finite. */
bool stats_is_bounded(const struct stats_interval *i);
/* An estimate without an interval. */
struct stats_interval stats_no_interval(double estimate, size_t n, const char *reason);

/*
 * The product a * b or quotient a / b of two independent positive quantities with intervals, which
 * may be of different methods: a cost ratio from joules times a score ratio from items. MOVER on
 * the log scale (Zou and Donner, Statistics in Medicine 27:1693, 2008). n is the smaller one. An
 * estimate that is not positive, or a missing interval, gives a reason; a lower bound of 0 stays 0
 * and an infinite upper one infinite.
 */
struct stats_interval stats_product(const struct stats_interval *a, const struct stats_interval *b);
struct stats_interval stats_quotient(const struct stats_interval *a,
                                     const struct stats_interval *b);

#endif
