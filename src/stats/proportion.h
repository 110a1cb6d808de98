/*
 * Intervals of proportions, single and paired, in closed form. confidence is two-sided, such as
 * 0.95. Counts that cannot be (more successes than trials, no trials) give no interval and a reason.
 */
#ifndef STATS_PROPORTION_H
#define STATS_PROPORTION_H

#include "stats/interval.h"

/* Wilson's score interval (JASA 22:209, 1927): near the stated coverage at every n. */
struct stats_interval stats_wilson(size_t successes, size_t n, double confidence);
/* Clopper and Pearson (Biometrika 26:404, 1934): never below the stated coverage, and wider. */
struct stats_interval stats_clopper_pearson(size_t successes, size_t n, double confidence);

/* The same n items answered by a and by b: who was right. */
struct stats_pairs {
    size_t both, only_a, only_b, neither;
};

/*
 * P(a right) - P(b right): the adjusted Wald interval of Bonett and Price (Journal of Educational
 * and Behavioral Statistics 37:479, 2012), with one item added to each discordant cell. Without
 * discordant items it still has a width.
 */
struct stats_interval stats_pairs_difference(const struct stats_pairs *t, double confidence);
/*
 * P(a right) / P(b right): Bonett and Price (Biometrics 62:1235, 2006), with hybrid Wilson limits
 * over the items that at least one answered right. No right answer of b: no estimate; none of
 * either: no interval.
 */
struct stats_interval stats_pairs_ratio(const struct stats_pairs *t, double confidence);

#endif
