#include "stats/percentile.h"

#include "stats/blocks.h"
#include "stats/dist.h"
#include "stats/stats.h"

#include <math.h>
#include <stdlib.h>

/* P(B <= k) for B binomial with n trials of probability p, 0 <= k < n. */
static double binomial_cdf(size_t k, size_t n, double p) {
    return stats_beta_inc((double)(n - k), (double)k + 1, 1 - p, p);
}

/*
 * The largest rank l, counted from 1, of n independent values whose order statistic lies above the
 * p-quantile with a probability of no more than tail: P(B < l) <= tail. 0: not even the smallest.
 */
static size_t lower_rank(size_t n, double p, double tail) {
    size_t low = 0;
    size_t high = n;
    while (low < high) {
        size_t middle = high - (high - low) / 2;
        if (binomial_cdf(middle - 1, n, p) <= tail) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

/*
 * The same for n values that tell as much of the share p under the quantile as n_effective
 * independent ones: the share's lower Clopper-Pearson limit, of n.
 */
static size_t lower_rank_of_effective(size_t n, double n_effective, double p, double tail) {
    if (pow(1 - p, n_effective) > tail) {
        return 0;
    }
    double share = stats_beta_quantile(tail, n_effective * p, n_effective * (1 - p) + 1);
    return (size_t)floor((double)n * share);
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

/* The interval between two order statistics, one counted from below, one from above; 0: none. */
static struct stats_interval between(const double *sorted, size_t n, double p, size_t from_below,
                                     size_t from_above) {
    struct stats_interval out = {.estimate = stats_quantile(sorted, n, p),
                                 .low = from_below ? sorted[from_below - 1] : -INFINITY,
                                 .high = from_above ? sorted[n - from_above] : INFINITY,
                                 .p_value = NAN,
                                 .n = n,
                                 .method = "order statistics"};
    if (!from_below || !from_above) {
        out.reason = "the sample cannot bound this percentile";
        out.estimate = !from_above && p > 0.5 ? sorted[n - 1] : out.estimate;
    }
    return out;
}

struct stats_interval stats_percentile(const double *sorted, size_t n, double p,
                                       double confidence) {
    const char *reason = reason_against(sorted, n, p, confidence);
    if (reason) {
        return stats_no_interval(NAN, n, reason);
    }
    double tail = (1 - confidence) / 2;
    /* Seen from above, the quantile is that of 1 - p. */
    return between(sorted, n, p, lower_rank(n, p, tail), lower_rank(n, 1 - p, tail));
}

/* 1 for values up to the limit, 0 above it. */
static void mark(const double *x, size_t n, double limit, double *marks) {
    for (size_t i = 0; i < n; i++) {
        marks[i] = x[i] <= limit;
    }
}

/*
 * How many independent values would know the share of marks as well as these n do, which depend on
 * their neighbours within length; the t quantile's excess over z is taken off too.
 */
static double effective_size(const double *marks, size_t n, double length, double confidence) {
    double share = stats_mean(marks, n);
    double df = 0;
    double variance = stats_block_variance(marks, n, stats_block_for_interval(length, n), &df);
    double t = stats_t_quantile(0.5 + confidence / 2, df) / stats_z(confidence);
    if (share >= 1 || !(variance > 0)) {
        return 1; /* no value above the quantile: nothing is known of what lies there */
    }
    return fmin(share * (1 - share) / (variance * t * t), (double)n);
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
    if (length > 1) {
        mark(x, n, stats_quantile(sorted, n, p), marks);
        double n_effective = effective_size(marks, n, length, confidence);
        double tail = (1 - confidence) / 2;
        *out = between(sorted, n, p, lower_rank_of_effective(n, n_effective, p, tail),
                       lower_rank_of_effective(n, n_effective, 1 - p, tail));
        out->method = "order statistics, blocks";
    } else {
        *out = stats_percentile(sorted, n, p, confidence);
    }
    free(marks);
    return 0;
}
