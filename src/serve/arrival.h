/*
 * When requests are to be sent: an absolute schedule, drawn once from a seed, so that lateness can
 * be measured against it and does not add up. Pure.
 *
 * Arrivals are drawn as a process of rate 1 and mapped through the inverse of the rate's integral,
 * so that steps and ramps keep the process's own statistics.
 *   constant: gaps of exactly 1. poisson: exponential gaps.
 *   gamma: gaps of mean 1 and coefficient of variation cv (Marsaglia and Tsang, ACM TOMS 26:363,
 *          2000); cv 1 is poisson, above it is burstier.
 *   bursty: groups of `burst` at one moment, exponential gaps of mean `burst` between groups.
 */
#ifndef SERVE_ARRIVAL_H
#define SERVE_ARRIVAL_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum arrival_kind { ARRIVAL_CONSTANT, ARRIVAL_POISSON, ARRIVAL_GAMMA, ARRIVAL_BURSTY };

/* A level that holds, or moves in a straight line, for a time. Levels are rates or concurrencies. */
struct level_step {
    double from, to;
    double seconds;
};

enum { MAX_LEVEL_STEPS = 64 };

struct levels {
    struct level_step steps[MAX_LEVEL_STEPS];
    size_t n;
};

/*
 * Reads "20" (one level), "10,20,40" (steps of step_s each) or "1..50" (a ramp over total_s).
 * total_s is infinite where the run has no set length: the last step then lasts for ever, and a
 * ramp is refused. Levels are above 0 and at most max. what names the option.
 */
int levels_parse(const char *text, const char *what, double total_s, double step_s, double max,
                 struct levels *out, struct err *e) EE_MUST_CHECK;
/* The level t seconds into it; the last one holds on. */
double levels_at(const struct levels *l, double t);
double levels_max(const struct levels *l);
/* Seconds until `area` (level times seconds) has passed; INFINITY when it never does. */
double levels_time_of_area(const struct levels *l, double area);
double levels_seconds(const struct levels *l);

struct arrival_spec {
    enum arrival_kind kind;
    double cv; /* gamma: coefficient of variation, above 0 */
    int burst; /* bursty: at least 1 */
    uint64_t seed;
    const struct levels *rate; /* a second */
};

/*
 * The arrivals' times in ns from the start, ascending: the first `count`, or all before end_s,
 * whichever ends first; one of the two may be 0 (no limit). The caller frees *out. Not above
 * ARRIVAL_MAX.
 */
enum { ARRIVAL_MAX = 50000000 };
int arrival_schedule(const struct arrival_spec *spec, size_t count, double end_s, int64_t **out,
                     size_t *n, struct err *e) EE_MUST_CHECK;

#endif
