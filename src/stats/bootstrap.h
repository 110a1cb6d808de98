/*
 * Resampling of items. 10,000 resamples of 100 items take a few milliseconds. Above
 * STATS_ANALYTIC_ABOVE items the normal limit of the same statistic takes its place, and the method
 * says so. Fewer than STATS_MIN_ITEMS, or items without any spread, have no interval.
 */
#ifndef STATS_BOOTSTRAP_H
#define STATS_BOOTSTRAP_H

#include "stats/interval.h"

enum { STATS_MIN_ITEMS = 5 };

/*
 * Bootstrap-t (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 12.5),
 * standard errors by the delta method. The mean's is symmetric: the quantile of |t| (Hall, JRSS B
 * 50:35, 1988), which covers skewed values better than two tails do. log_mean: the same on the log
 * scale, for positive values.
 */
int stats_boot_t_mean(const double *x, size_t n, const struct stats_opts *opts,
                      struct stats_interval *out, struct err *e) EE_MUST_CHECK;
int stats_boot_t_log_mean(const double *x, size_t n, const struct stats_opts *opts,
                          struct stats_interval *out, struct err *e) EE_MUST_CHECK;
/* sum(a) / sum(b) of paired positive values: equal tails, on the log scale. */
int stats_boot_t_log_ratio(const double *a, const double *b, size_t n,
                           const struct stats_opts *opts, struct stats_interval *out,
                           struct err *e) EE_MUST_CHECK;

/*
 * BCa (Efron, JASA 82:171, 1987; Efron and Tibshirani, section 14.3), acceleration by the
 * jackknife, ties counted half.
 */
int stats_bca_mean(const double *x, size_t n, const struct stats_opts *opts,
                   struct stats_interval *out, struct err *e) EE_MUST_CHECK;
/* sum(a) / sum(b); refused where a resample's denominator is not of one sign. */
int stats_bca_ratio(const double *a, const double *b, size_t n, const struct stats_opts *opts,
                    struct stats_interval *out, struct err *e) EE_MUST_CHECK;

#endif
