/*
 * Intervals of percentiles, and of means and percentiles of values that depend on their neighbours
 * in time, as latencies of requests do that share a batch or a queue.
 *
 * Where the sample cannot bound a percentile from above (stats_bounds_quantile in stats.h: under
 * 72, 368 and 3,688 independent values for p95, p99 and p99.9), high is INFINITY, estimate is the
 * largest value seen, and the reason says so: print it as ">= max seen". low is -INFINITY likewise.
 */
#ifndef STATS_PERCENTILE_H
#define STATS_PERCENTILE_H

#include "stats/interval.h"

/*
 * The p-quantile of an ascending sample of independent values: type 7 estimate (stats_quantile),
 * and order statistics whose ranks are binomial quantiles as bounds (David and Nagaraja, Order
 * Statistics, 2003, section 7.1): at least the stated coverage, whatever the distribution.
 */
struct stats_interval stats_percentile(const double *sorted, size_t n, double p, double confidence);

/*
 * The same for dependent values. x is in order of time; sorted holds the same values ascending. The
 * share of values under the quantile has a circular block bootstrap variance (in closed form, so
 * nothing is resampled), which gives the number of independent values that would know the share as
 * well; the ranks are those of that many (Woodruff, JASA 47:635, 1952, with a beta instead of a
 * normal limit). The block length is that of the series of values over and under the median.
 */
int stats_percentile_in_time(const double *x, const double *sorted, size_t n, double p,
                             double confidence, struct stats_interval *out,
                             struct err *e) EE_MUST_CHECK;
/* The mean of dependent values, by t and the circular block bootstrap's variance. */
struct stats_interval stats_mean_in_time(const double *x, size_t n, double confidence);

/*
 * Block length for the circular block bootstrap of a mean: Politis and White (Econometric Reviews
 * 23:53, 2004) as corrected by Patton, Politis and White (28:372, 2009); at least 1. NAN when
 * n < 10, a value is not finite, or all are equal. O(n * lags looked at).
 */
double stats_block_length(const double *x, size_t n);

#endif
