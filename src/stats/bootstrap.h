/*
 * Resampling of items. 10,000 resamples of 100 items take about 2 ms. Above STATS_ANALYTIC_ABOVE
 * items the normal limit of the same statistic is used, and the method says so. What has no spread
 * has no interval.
 */
#ifndef STATS_BOOTSTRAP_H
#define STATS_BOOTSTRAP_H

#include "stats/interval.h"

/*
 * BCa intervals (Efron, JASA 82:171, 1987; Efron and Tibshirani 1993, chapter 14). Acceleration
 * by the jackknife.
 */
int stats_bca_mean(const double *x, size_t n, const struct stats_opts *opts,
                   struct stats_interval *out, struct err *e) EE_MUST_CHECK;
/* sum(a) / sum(b) over paired items. */
int stats_bca_ratio(const double *a, const double *b, size_t n, const struct stats_opts *opts,
                    struct stats_interval *out, struct err *e) EE_MUST_CHECK;

/*
 * Bootstrap-t (Efron and Tibshirani 1993, section 12.5), standard errors by the delta method: of
 * mean(x), and of log(sum(a) / sum(b)) transformed back, for paired positive values.
 */
int stats_boot_t_mean(const double *x, size_t n, const struct stats_opts *opts,
                      struct stats_interval *out, struct err *e) EE_MUST_CHECK;
int stats_boot_t_log_ratio(const double *a, const double *b, size_t n,
                           const struct stats_opts *opts, struct stats_interval *out,
                           struct err *e) EE_MUST_CHECK;

#endif
