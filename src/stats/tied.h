/*
 * Paired scores that mostly agree, as those of a model and its quantized copy do: many items have
 * the same score twice, and a few decide the difference. Resampling such items badly understates
 * the error (docs/intervals.md: BCa covered 70 % where it gave an interval at all), because the
 * sample may hold no item, or few, of the kind that matters.
 *
 * So two items are added, as Bonett and Price (2012) add them for right-or-wrong scores: one
 * that differs by +d, one by -d. d is the root mean square of the differences seen, one of the
 * whole range taken among them; where nothing differs, d is the range. For right-or-wrong scores
 * d is 1 and the difference's interval is theirs, with t instead of z.
 */
#ifndef STATS_TIED_H
#define STATS_TIED_H

#include "stats/interval.h"

/* bound as in struct stats_opts; with 0 (unknown), pairs that are all equal give no interval. */
struct stats_interval stats_tied_difference(const double *a, const double *b, size_t n,
                                            double bound, double confidence);
/*
 * sum(a) / sum(b) by Fieller's method (Journal of the Royal Statistical Society B 16:175, 1954)
 * with the added items' variance. Where mean(b) may be 0 the ratio has no bound.
 */
struct stats_interval stats_tied_ratio(const double *a, const double *b, size_t n, double bound,
                                       double confidence);

#endif
