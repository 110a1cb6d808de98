#include "stats/percentile.h"

#include "stats/blocks.h"
#include "stats/dist.h"
#include "stats/stats.h"

#include <math.h>
#include <stdlib.h>

/* P(B <= k) for B binomial with n trials of probability p; n need not be whole. */
static double binomial_cdf(double k, double n, double p) {
    return k < 0 ? 0 : k >= n ? 1 : stats_beta_inc(n - k, k + 1, 1 - p, p);
}

/*
 * The largest rank l, at most n, whose order statistic is above the p-quantile with a probability of
 * no more than tail: P(B <= l - 1) <= tail. Not rounded; 0 when even the smallest value is not.
 */
static double lower_rank(double n, double p, double tail) {
    if (binomial_cdf(0, n, p) > tail) {
        return 0;
    }
    double low = 1;
    double high = n;
    while (high - low > 1e-9 * high) {
        double middle = low + (high - low) / 2;
        if (binomial_cdf(middle - 1, n, p) <= tail) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static const char *reason_against(const double *sorted, size_t n, double p, double confidence) {
    if (n == 0) {
        return "there are no values";
    }
    /* Ascending, NAN last: the ends tell of all. */
    if (!isfinite(sorted[0]) || !isfinite(sorted[n - 1])) {
        return "a value is not a finite number";
    }
    return p > 0 && p < 1 && confidence > 0 && confidence < 1
               ? NULL
               : "the percentile or the confidence is not between 0 and 1";
}

/*
 * The interval that n values give when they tell as much as n_effective independent ones: ranks
 * among those, stretched to n.
 */
static struct stats_interval between_ranks(const double *sorted, size_t n, double n_effective,
                                           double p, double confidence) {
    double tail = (1 - confidence) / 2;
    double stretch = (double)n / n_effective;
    /* A rank that is whole but for the bisection's rounding is that rank. */
    double lower = floor(lower_rank(n_effective, p, tail) * stretch + 1e-6);
    /* Seen from above, the quantile is the one of 1 - p. */
    double upper = floor(lower_rank(n_effective, 1 - p, tail) * stretch + 1e-6);
    struct stats_interval out = {.estimate = stats_quantile(sorted, n, p),
                                 .low = -INFINITY,
                                 .high = INFINITY,
                                 .p_value = NAN,
                                 .n = n,
                                 .method = "order statistics"};
    if (lower >= 1) {
        out.low = sorted[(size_t)lower - 1];
    }
    if (upper >= 1) {
        out.high = sorted[n - (size_t)upper];
    }
    if (lower < 1 || upper < 1) {
        out.reason = "the sample cannot bound this percentile";
        out.estimate = upper < 1 && p > 0.5 ? sorted[n - 1] : out.estimate;
    }
    return out;
}

struct stats_interval stats_percentile(const double *sorted, size_t n, double p,
                                       double confidence) {
    const char *reason = reason_against(sorted, n, p, confidence);
    return reason ? stats_no_interval(NAN, n, reason)
                  : between_ranks(sorted, n, (double)n, p, confidence);
}

/* 1 for values up to the limit, 0 above it. */
static void mark(const double *x, size_t n, double limit, double *marks) {
    for (size_t i = 0; i < n; i++) {
        marks[i] = x[i] <= limit;
    }
}

int stats_percentile_in_time(const double *x, const double *sorted, size_t n, double p,
                             double confidence, struct stats_interval *out, struct err *e) {
    const char *reason = reason_against(sorted, n, p, confidence);
    if (reason) {
        *out = stats_no_interval(NAN, n, reason);
        return 0;
    }
    double *marks = malloc(n * sizeof(*marks));
    if (!marks) {
        return err_set(e, EE_NOMEM, "percentiles: out of memory");
    }
    mark(x, n, stats_quantile(sorted, n, 0.5), marks);
    double length = stats_block_length(marks, n);
    double n_effective = (double)n;
    if (length > 1) {
        mark(x, n, stats_quantile(sorted, n, p), marks);
        double share = stats_mean(marks, n);
        double df = 0;
        double variance = stats_block_variance(marks, n, (size_t)ceil(length), &df);
        double t = stats_t_quantile(0.5 + confidence / 2, df) / stats_z(confidence);
        n_effective = fmin(share * (1 - share) / (variance * t * t), n_effective);
        n_effective = share < 1 && variance > 0 ? n_effective : 1;
    }
    free(marks);
    *out = between_ranks(sorted, n, n_effective, p, confidence);
    out->method = length > 1 ? "order statistics, blocks" : out->method;
    return 0;
}
