/*
 * Intervals of scores and other per-item figures, by a method that is chosen from the data and
 * named in the result. These are what metrics call; the methods are in proportion.h, tied.h
 * and bootstrap.h. docs/intervals.md has the rules and how well each of them covers.
 *
 * An item is one value: the mean of its passes, because passes of one item are no independent
 * draws. Paired arrays hold the same items in the same order. Values outside
 * 0..opts->bound, where that is set, are refused, as values that are not finite.
 */
#ifndef STATS_CHOOSE_H
#define STATS_CHOOSE_H

#include "stats/interval.h"

/*
 * sum(a) / sum(b), such as a quantized model's score over that of its FP16 baseline.
 * Right or wrong: score ratio. Some pairs equal: Fieller with two items added. All positive:
 * bootstrap-t on the log ratio. Known range: Fieller again. Anything else: BCa.
 */
int stats_paired_ratio(const double *a, const double *b, size_t n, const struct stats_opts *opts,
                       struct stats_interval *out, struct err *e) EE_MUST_CHECK;
/*
 * mean(a) - mean(b). Right or wrong: Bonett-Price. Some pairs equal: t with two items added.
 * Anything else: symmetric bootstrap-t of the differences.
 */
int stats_paired_difference(const double *a, const double *b, size_t n,
                            const struct stats_opts *opts, struct stats_interval *out,
                            struct err *e) EE_MUST_CHECK;
/*
 * mean(x). Right or wrong: Wilson. Known range: Wilson with an effective sample size. All positive:
 * bootstrap-t on the log mean. Anything else: symmetric bootstrap-t.
 */
int stats_mean_of(const double *x, size_t n, const struct stats_opts *opts,
                  struct stats_interval *out, struct err *e) EE_MUST_CHECK;

#endif
