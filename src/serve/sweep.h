/*
 * The search for what a server can take: which load to try next, and when it is known. Pure; the
 * caller measures each level.
 *
 * Rates (open loop): doubled until one is bad, then halved in ratio between the best good and the
 * worst bad until they are within 10 %. A level is bad when fewer requests than wanted met the
 * limits, or, without limits, when fewer were answered than came: the queue grows.
 * Concurrency (closed loop): doubled until throughput grows by less than 5 %, or a level is bad.
 */
#ifndef SERVE_SWEEP_H
#define SERVE_SWEEP_H

#include <stdbool.h>
#include <stddef.h>

enum { SWEEP_MAX_POINTS = 24 };

struct sweep_point {
    double level;        /* rate a second, or concurrency */
    double request_rate; /* answered a second */
    double output_rate;  /* tokens a second; NAN where not known */
    double attained;     /* share that met the limits; NAN without limits */
    double failed;       /* share of requests */
    double ttft_p50_s, ttft_p99_s, tpot_p50_s;
    bool client_valid;
    bool good; /* by sweep_add */
};

struct sweep {
    bool open_loop;
    bool has_limits;
    double wanted; /* share that must meet the limits, such as 0.95 */
    double max_level;
    struct sweep_point at[SWEEP_MAX_POINTS]; /* in order of measuring */
    size_t n;
    const char *end; /* why it ended; static */
};

void sweep_init(struct sweep *s, bool open_loop, bool has_limits, double wanted, double max_level);
/* The next level to measure. False: done, s->end says why. first is where the search begins. */
bool sweep_next(struct sweep *s, double first, double *level);
void sweep_add(struct sweep *s, const struct sweep_point *p);
/* The highest good level, and the one with the highest throughput; NULL when there is none. */
const struct sweep_point *sweep_best(const struct sweep *s);
const struct sweep_point *sweep_peak(const struct sweep *s);

#endif
