/*
 * Intervals of scores and other per-item figures, by a method that is chosen from the data and named
 * in the result. These are what metrics call; the methods themselves are in proportion.h and
 * bootstrap.h. The rules of choice are in docs/intervals.md.
 *
 * An item is one value: the mean of its passes (stats_item_means), because passes of one item are
 * no independent draws. Paired arrays hold the same items in the same order.
 */
#ifndef STATS_CHOOSE_H
#define STATS_CHOOSE_H

#include "stats/interval.h"

/*
 * One value an item: the mean of its passes. item[i] < n_items says whose pass value[i] is. An item
 * without a pass is NAN, so that whatever uses it is refused.
 */
void stats_item_means(const double *value, const size_t *item, size_t n_values, double *means,
                      size_t n_items);

/* sum(a) / sum(b), such as score of a quantized model over that of its FP16 baseline. */
int stats_paired_ratio(const double *a, const double *b, size_t n, const struct stats_opts *opts,
                       struct stats_interval *out, struct err *e) EE_MUST_CHECK;
/* mean(a) - mean(b). */
int stats_paired_difference(const double *a, const double *b, size_t n,
                            const struct stats_opts *opts, struct stats_interval *out,
                            struct err *e) EE_MUST_CHECK;
/* mean(x). Set opts->bound for a score: its interval then stays within the score's range. */
int stats_mean_of(const double *x, size_t n, const struct stats_opts *opts,
                  struct stats_interval *out, struct err *e) EE_MUST_CHECK;

#endif
