#include "stats/draws.h"

#include "stats/dist.h"
#include "stats/draws_fill.h"
#include "stats/resample.h"
#include "stats/stats.h"

#include <math.h>

size_t stats_n_draws(const struct stats_opts *opts) {
    struct stats_opts o;
    return stats_opts_fill(opts, &o, NULL) ? 0 : o.resamples;
}

/* A point in the unit disc, as the polar methods want it; its squared length in *w. */
static double disc_point(struct rng *r, double *w) {
    double u;
    do {
        u = 2 * rng_uniform(r) - 1;
        double v = 2 * rng_uniform(r) - 1;
        *w = u * u + v * v;
    } while (*w >= 1 || *w == 0);
    return u;
}

/* Student's t by the polar method of Bailey (Mathematics of Computation 62:779, 1994). */
static double draw_t(struct rng *r, double df) {
    double w;
    double u = disc_point(r, &w);
    double root = df == 4 ? 1 / sqrt(w) : pow(w, -2 / df); /* five repeats are the rule */
    return u * sqrt(df * (root - 1) / w);
}

/* A standard normal by the polar method of Marsaglia and Bray (SIAM Review 6:260, 1964). */
static double draw_normal(struct rng *r) {
    double w;
    double u = disc_point(r, &w);
    return u * sqrt(-2 * log(w) / w);
}

/* Rectangular over -1..1. */
static double draw_signed(struct rng *r) {
    return 2 * rng_uniform(r) - 1;
}

static void fill(double *out, size_t n, double value) {
    for (size_t i = 0; i < n; i++) {
        out[i] = value;
    }
}

/* Streams of the two sides of a ratio, which are measured apart under one use. */
static const char *const sampling_streams[] = {"sampling", "sampling, denominator"};
static const char *const edge_streams[] = {"edges", "edges, denominator"};

/* Multiplies by draws of a mean of n repeats whose standard deviation is sd. */
static void times_mean(const struct stats_opts *o, enum stats_side side, double mean, double sd,
                       size_t n, double *out) {
    struct rng r;
    stats_stream(&r, o->seed, sampling_streams[side], o->use);
    double se = sd / sqrt((double)n);
    for (size_t i = 0; i < o->resamples; i++) {
        out[i] *= mean + se * draw_t(&r, (double)(n - 1));
    }
}

void stats_fill_mean(const double *x, size_t n, const struct stats_opts *full, enum stats_side side,
                     double *out) {
    double mean = n > 0 && stats_all_finite(x, n) ? stats_mean(x, n) : NAN;
    if (isnan(mean) || n < STATS_MIN_REPEATS) {
        fill(out, full->resamples, mean);
    } else {
        fill(out, full->resamples, 1);
        times_mean(full, side, mean, stats_sd(x, n), n, out);
    }
}

int stats_draw_mean(const double *x, size_t n, const struct stats_opts *opts, double *out,
                    struct err *e) {
    struct stats_opts o;
    int rc = stats_opts_fill(opts, &o, e);
    if (rc == 0) {
        stats_fill_mean(x, n, &o, STATS_NUMERATOR, out);
    }
    return rc;
}

int stats_draw_interval(const struct stats_interval *i, const struct stats_opts *opts, double *out,
                        struct err *e) {
    struct stats_opts o;
    int rc = stats_opts_fill(opts, &o, e);
    if (rc) {
        return rc;
    }
    bool is_usable = stats_is_bounded(i) && i->low <= i->estimate && i->estimate <= i->high;
    double z = stats_z(o.confidence);
    struct rng r;
    stats_stream(&r, o.seed, sampling_streams[STATS_NUMERATOR], o.use);
    for (size_t k = 0; k < o.resamples; k++) {
        double normal = draw_normal(&r);
        double arm = normal < 0 ? i->estimate - i->low : i->high - i->estimate;
        out[k] = is_usable ? i->estimate + normal / z * arm : NAN;
    }
    return 0;
}

/* --- Joules ----------------------------------------------------------------------------------- */

static double window_total(const struct stats_joules *j, size_t w) {
    double sum = 0;
    for (size_t d = 0; d < j->n_devices; d++) {
        sum += j->devices[d].joules[w];
    }
    return sum;
}

/* What turns a sum over windows into the figure. */
static double per_window(const struct stats_joules *j) {
    return j->is_sum ? 1 : 1 / (double)j->n_windows;
}

/* A device's part of the figure, or of its gaps; 0 without a series. */
static double part_of(const struct stats_joules *j, const double *series) {
    double sum = 0;
    for (size_t w = 0; w < j->n_windows && series; w++) {
        sum += series[w];
    }
    return sum * per_window(j);
}

double stats_joules_estimate(const struct stats_joules *j) {
    double sum = 0;
    for (size_t d = 0; d < j->n_devices; d++) {
        sum += part_of(j, j->devices[d].joules);
    }
    return j->n_devices && j->n_windows && isfinite(sum) ? sum : NAN;
}

bool stats_joules_have_sampling(const struct stats_joules *j) {
    return !j->is_sum && j->n_windows >= STATS_MIN_REPEATS;
}

/* The standard deviation of a window's total. */
static double window_sd(const struct stats_joules *j) {
    double mean = stats_joules_estimate(j);
    double squares = 0;
    for (size_t w = 0; w < j->n_windows; w++) {
        double off = window_total(j, w) - mean;
        squares += off * off;
    }
    return sqrt(squares / (double)(j->n_windows - 1));
}

/* Adds what the gains do to the whole: each device's share of the joules by a draw of its own. */
static void add_gains(const struct stats_joules *j, const struct stats_opts *o, double figure,
                      double *out) {
    for (size_t d = 0; d < j->n_devices; d++) {
        const struct stats_device_joules *device = &j->devices[d];
        double reach = device->gain * part_of(j, device->joules) / figure;
        struct rng r;
        stats_stream(&r, o->seed, "gain", device->device);
        for (size_t i = 0; i < o->resamples; i++) {
            out[i] += reach * draw_signed(&r);
        }
    }
}

static void add_edges(const struct stats_joules *j, const struct stats_opts *o,
                      enum stats_side side, double *out) {
    struct rng r;
    stats_stream(&r, o->seed, edge_streams[side], o->use);
    double share = per_window(j);
    for (size_t d = 0; d < j->n_devices; d++) {
        for (size_t w = 0; w < j->n_windows && j->devices[d].edge_j; w++) {
            double edge_j = j->devices[d].edge_j[w] * share;
            for (size_t i = 0; i < o->resamples; i++) {
                out[i] += edge_j * draw_signed(&r);
            }
        }
    }
}

static double gaps(const struct stats_joules *j, unsigned errors) {
    double sum = 0;
    for (size_t d = 0; d < j->n_devices; d++) {
        const struct stats_device_joules *device = &j->devices[d];
        sum -= errors & STATS_GAPS_LESS ? part_of(j, device->gap_less_j) : 0;
        sum += errors & STATS_GAPS_MORE ? part_of(j, device->gap_more_j) : 0;
    }
    return sum;
}

void stats_fill_joules(const struct stats_joules *j, unsigned errors, const struct stats_opts *full,
                       enum stats_side side, double *out) {
    double figure = stats_joules_estimate(j);
    fill(out, full->resamples, 1);
    if (errors & STATS_SYSTEMATIC) {
        add_gains(j, full, figure, out);
    }
    if (errors & STATS_SAMPLING && stats_joules_have_sampling(j)) {
        times_mean(full, side, figure, window_sd(j), j->n_windows, out);
    } else {
        for (size_t i = 0; i < full->resamples; i++) {
            out[i] *= figure;
        }
    }
    if (errors & STATS_SYSTEMATIC) {
        add_edges(j, full, side, out);
    }
    double shift = gaps(j, errors);
    for (size_t i = 0; i < full->resamples; i++) {
        out[i] += shift;
    }
}

int stats_draw_joules(const struct stats_joules *j, unsigned errors, const struct stats_opts *opts,
                      double *out, struct err *e) {
    struct stats_opts o;
    int rc = stats_opts_fill(opts, &o, e);
    if (rc == 0) {
        stats_fill_joules(j, errors, &o, STATS_NUMERATOR, out);
    }
    return rc;
}

struct stats_interval stats_draws_interval(double *draws, size_t n, double estimate,
                                           double confidence) {
    if (n == 0 || isnan(estimate) || !(confidence > 0 && confidence < 1)) {
        return stats_no_interval(NAN, n, "there is nothing to take an interval of");
    }
    for (size_t i = 0; i < n; i++) {
        if (isnan(draws[i])) {
            return stats_no_interval(estimate, n, "within its error the figure may not exist");
        }
    }
    double tail = (1 - confidence) / 2;
    struct stats_interval out = {
        .estimate = estimate, .p_value = NAN, .n = n, .method = "Monte Carlo"};
    out.low = stats_quantile_of(draws, n, tail);
    out.high = stats_quantile_of(draws, n, 1 - tail);
    out.reason = stats_is_bounded(&out) ? NULL : "within its error the figure has no bound";
    return out;
}
