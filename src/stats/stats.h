/*
 * Small statistics over arrays of doubles. Pure; any thread may call. Where a figure does not
 * exist (an empty sample, an interval of one value, a NaN in the input) the answer is NAN or
 * false, never a stand-in number.
 */
#ifndef STATS_STATS_H
#define STATS_STATS_H

#include <stdbool.h>
#include <stddef.h>

/* NAN when n is 0. */
double stats_mean(const double *x, size_t n);
/* Sample standard deviation (n - 1); NAN when n < 2. */
double stats_sd(const double *x, size_t n);
/* Ascending, NaN last. */
void stats_sort(double *x, size_t n);
/*
 * The p-quantile of an ascending sample by linear interpolation between order statistics (type 7
 * of Hyndman and Fan, 1996: what numpy, R and most load tools print). NAN when n is 0 or p is
 * outside 0..1.
 */
double stats_quantile(const double *sorted, size_t n, double p);
/*
 * Whether a sample of n can bound the p-quantile from above with a two-sided 95 % interval: the
 * chance that all n values fall under the quantile, p^n, must be at most 2.5 %.
 */
bool stats_bounds_quantile(size_t n, double p);
/* P(T <= t) of Student's t with df > 0 degrees of freedom. */
double stats_t_cdf(double t, double df);
/* The inverse for 0 < p < 1; NAN outside. */
double stats_t_quantile(double p, double df);
/*
 * The interval of a mean at a two-sided confidence such as 0.95, by Student's t. False when
 * n < 2 or a value is not finite. A sample without any spread is refused too: equal values show
 * that the sample is small, not that the mean is known exactly.
 */
bool stats_t_interval(const double *x, size_t n, double confidence, double *low, double *high);

#endif
