#include "serve/window.h"

#include "base/clock.h"

#include <math.h>

/* Mean of batch k. */
static double batch(const double *x, size_t k) {
    double sum = 0;
    for (size_t i = 0; i < MSER_BATCH; i++) {
        sum += x[k * MSER_BATCH + i];
    }
    return sum / MSER_BATCH;
}

size_t mser5(const double *x, size_t n) {
    size_t m = n / MSER_BATCH;
    double best = (double)INFINITY;
    size_t best_d = 0;
    double sum = 0;
    double squares = 0;
    /* From the end, so that each candidate adds one batch to the sums. */
    for (size_t left = 1; left <= m; left++) {
        double b = batch(x, m - left);
        sum += b;
        squares += b * b;
        double mean = sum / (double)left;
        double error = (squares / (double)left - mean * mean) / (double)left;
        if (2 * left >= m && error <= best) {
            best = error;
            best_d = m - left;
        }
    }
    return best_d * MSER_BATCH;
}

static double sum_of(const double *x, size_t from, size_t to) {
    double sum = 0;
    for (size_t i = from; i < to; i++) {
        sum += x[i];
    }
    return sum;
}

static double none(void) {
    return (double)NAN;
}

void window_find(const struct bins *b, int64_t start_ns, int64_t from_ns, int64_t to_ns,
                 double tokens_an_event, double request_s, struct window *out) {
    *out = (struct window){.output_rate = none(), .input_rate = none(), .request_rate = none()};
    out->begin_s = out->end_s = none();
    if (b->n == 0 || to_ns <= from_ns) {
        out->reason = "all requests were begun at once";
        return;
    }
    size_t from = (size_t)((from_ns - b->begin_ns + b->width_ns - 1) / b->width_ns);
    size_t to = (size_t)((to_ns - b->begin_ns) / b->width_ns);
    to = to < b->n ? to : b->n;
    if (to < from + WINDOW_MIN_BINS ||
        !(clock_ns_to_s(to_ns - from_ns) >= WINDOW_MIN_REQUEST_TIMES * request_s)) {
        out->reason = "the load was on for too short a time";
        return;
    }
    double all[WINDOW_MAX_BINS];
    for (size_t i = from; i < to; i++) {
        all[i - from] = b->tokens[i] +
                        (isnan(tokens_an_event) ? 1 : tokens_an_event) * b->events[i];
    }
    size_t drop = mser5(all, to - from);
    if ((double)drop > 0.45 * (double)(to - from)) {
        out->reason = "output had not settled by the middle of the load";
        return;
    }
    from += drop;
    double seconds = clock_ns_to_s((int64_t)(to - from) * b->width_ns);
    bool unknown = isnan(tokens_an_event) && sum_of(b->events, from, to) > 0;
    out->is_steady = true;
    out->begin_s = clock_ns_to_s(b->begin_ns + (int64_t)from * b->width_ns - start_ns);
    out->end_s = clock_ns_to_s(b->begin_ns + (int64_t)to * b->width_ns - start_ns);
    if (!unknown) {
        double tokens = sum_of(b->tokens, from, to);
        if (!isnan(tokens_an_event)) {
            tokens += tokens_an_event * sum_of(b->events, from, to);
        }
        out->output_rate = tokens / seconds;
    }
    out->input_rate = sum_of(b->prompts, from, to) / seconds;
    out->request_rate = sum_of(b->requests, from, to) / seconds;
}
