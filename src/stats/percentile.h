/*
 * Intervals of percentiles and of means of a stream of latencies.
 *
 * Where the sample cannot bound a percentile from above (stats_bounds_quantile in stats.h: under 72,
 * 368 and 3,688 values for p95, p99 and p99.9), the estimate is the largest value seen, high is
 * INFINITY and the reason says so: print it as ">= max seen".
 */
#ifndef STATS_PERCENTILE_H
#define STATS_PERCENTILE_H

#include "stats/interval.h"

/*
 * The p-quantile of an ascending sample of independent values: type 7 estimate, and order
 * statistics whose ranks are binomial quantiles as bounds (David and Nagaraja, Order Statistics,
 * 2003, section 7.1): at least the stated coverage whatever the distribution. O(log n) after sorting.
 */
struct stats_interval stats_percentile(const double *sorted, size_t n, double p, double confidence);

/*
 * The same for values that depend on their neighbours in time, as latencies of requests do that
 * share a batch or a queue. x is in order of time; sorted holds the same values ascending. The
 * variance of the share of values under the quantile comes from overlapping blocks, and the ranks
 * from that share (Woodruff, JASA 47:635, 1952). The block length is stats_block_length's.
 */
int stats_percentile_in_time(const double *x, const double *sorted, size_t n, double p,
                             const struct stats_opts *opts, struct stats_interval *out,
                             struct err *e) EE_MUST_CHECK;
/* Its mean, by a circular block bootstrap, or by the blocks' variance above STATS_ANALYTIC_ABOVE. */
int stats_mean_in_time(const double *x, size_t n, const struct stats_opts *opts,
                       struct stats_interval *out, struct err *e) EE_MUST_CHECK;

/*
 * Block length for the circular block bootstrap of a mean: Politis and White (Econometric Reviews
 * 23:53, 2004) as corrected by Patton, Politis and White (28:372, 2009). At least 1; 1 for
 * values that look independent. NAN when n < 10, a value is not finite, or all are equal.
 */
double stats_block_length(const double *x, size_t n);

#endif
