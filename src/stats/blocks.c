#include "stats/blocks.h"

#include "stats/percentile.h"
#include "stats/resample.h"
#include "stats/stats.h"

#include <math.h>

/* Fewer values show no correlation that can be told from chance. */
enum { MIN_VALUES = 10 };

static double autocovariance(const double *x, size_t n, double mean, size_t lag) {
    double sum = 0;
    for (size_t i = lag; i < n; i++) {
        sum += (x[i] - mean) * (x[i - lag] - mean);
    }
    return sum / (double)n;
}

/* Flat up to half of m, then falling to 0 (Politis and White's lambda). */
static double flat_top(size_t k, size_t m) {
    double share = (double)k / (double)m;
    return share <= 0.5 ? 1 : 2 * (1 - share);
}

/*
 * The lags that count: twice the first lag from which on a run of insignificant autocorrelations
 * starts, at most n_lags.
 */
static size_t significant_lags(const double *x, size_t n, double mean, double variance,
                               size_t n_lags) {
    size_t run_needed = (size_t)fmax(5, floor(log10((double)n)));
    double limit = 2 * sqrt(log10((double)n) / (double)n);
    size_t run = 0;
    for (size_t lag = 1; lag <= n_lags; lag++) {
        bool is_small = fabs(autocovariance(x, n, mean, lag)) < limit * variance;
        run = is_small ? run + 1 : 0;
        if (run == run_needed) {
            size_t twice = 2 * (lag + 1 - run);
            return twice < n_lags ? twice : n_lags;
        }
    }
    return n_lags;
}

double stats_block_length(const double *x, size_t n) {
    double mean = stats_mean(x, n);
    if (n < MIN_VALUES || !isfinite(mean)) {
        return NAN;
    }
    double variance = autocovariance(x, n, mean, 0);
    if (!(variance > 0) || !isfinite(variance)) {
        return NAN;
    }
    double size = (double)n;
    size_t n_lags = (size_t)(ceil(sqrt(size)) + fmax(5, floor(log10(size))));
    n_lags = n_lags < n - 1 ? n_lags : n - 1;
    size_t m = significant_lags(x, n, mean, variance, n_lags);
    double weighted = 0;
    double spectrum = variance;
    for (size_t k = 1; k <= m; k++) {
        double part = 2 * flat_top(k, m) * autocovariance(x, n, mean, k);
        weighted += part * (double)k;
        spectrum += part;
    }
    double longest = ceil(fmin(3 * sqrt(size), size / 3));
    double length = cbrt(1.5 * (weighted / spectrum) * (weighted / spectrum) * size);
    return isfinite(length) ? fmin(fmax(length, 1), longest) : longest;
}

size_t stats_block_for_interval(double length, size_t n) {
    return (size_t)fmax(fmin(ceil(3 * length), floor((double)n / 5)), 1);
}

double stats_block_variance(const double *x, size_t n, size_t block, double *df) {
    double mean = stats_mean(x, n);
    double size = (double)block;
    double sum = 0;
    for (size_t i = 0; i < block; i++) {
        sum += x[i] - mean;
    }
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        squares += (sum / size) * (sum / size);
        sum += x[(i + block) % n] - x[i];
    }
    double blocks = (double)n / size;
    *df = fmax(blocks - 1, 1);
    return squares / (double)n / blocks / (1 - 1 / fmax(blocks, 2));
}

struct stats_interval stats_mean_in_time(const double *x, size_t n, double confidence) {
    if (!stats_all_finite(x, n) || !(confidence > 0 && confidence < 1)) {
        return stats_no_interval(NAN, n, "a value or the confidence is not a number");
    }
    double mean = stats_mean(x, n);
    double length = stats_block_length(x, n);
    if (isnan(length)) {
        return stats_no_interval(mean, n, "too few values, or values without spread");
    }
    double df = 0;
    double variance = stats_block_variance(x, n, stats_block_for_interval(length, n), &df);
    double half = stats_t_quantile(0.5 + confidence / 2, df) * sqrt(variance);
    return (struct stats_interval){.estimate = mean,
                                   .low = mean - half,
                                   .high = mean + half,
                                   .p_value = NAN,
                                   .n = n,
                                   .method = "t, circular blocks"};
}
