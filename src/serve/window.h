/*
 * The steady part of a run. Throughput over the whole run is too low by its filling and draining:
 * what counts is the part in which the load was on and the transient over.
 *
 * The window ends when the last request was begun: nothing refilled the places afterwards. Its
 * begin is the end of the warm-up, or later where that shows a transient: the truncation point of
 * MSER-5 (White, Simulation 69:323, 1997), which minimises the standard error of what is left, over
 * token counts in bins of equal time. Points in the second half are not looked at, because a few last
 * values are alike by chance. No steady state is claimed when the best point is the last tenth of
 * those looked at, nor when the load was on for less than three median request times.
 */
#ifndef SERVE_WINDOW_H
#define SERVE_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WINDOW_MAX_BINS = 500, WINDOW_MIN_BINS = 50, WINDOW_MIN_REQUEST_TIMES = 3, MSER_BATCH = 5 };

/* Counts over time. */
struct bins {
    int64_t begin_ns;
    int64_t width_ns;
    size_t n;
    double *tokens;   /* that came in the bin, where the request's token count is known */
    double *events;   /* with tokens, of requests whose count is not */
    double *prompts;  /* prompt tokens of requests whose first token came */
    double *requests; /* that ended well */
};

struct window {
    bool is_steady;
    const char *reason;                           /* why not; static */
    double begin_s, end_s;                        /* from the start of the load */
    double output_rate, input_rate, request_rate; /* a second; NAN where not known */
};

/* The MSER-5 truncation point of n values, at most n / 2: how many to drop. */
size_t mser5(const double *x, size_t n);

/*
 * start_ns: the load's; from_ns: end of the warm-up; to_ns: when the last request was begun.
 * tokens_an_event turns events into tokens; NAN when it is not known. request_s: the median
 * request's time.
 */
void window_find(const struct bins *b, int64_t start_ns, int64_t from_ns, int64_t to_ns,
                 double tokens_an_event, double request_s, struct window *out);

#endif
