/*
 * Intervals of proportions and other bounded scores in closed form. confidence is two-sided, such
 * as 0.95. Counts that cannot be (more successes than trials, no trials) give a reason and no
 * interval.
 */
#ifndef STATS_PROPORTION_H
#define STATS_PROPORTION_H

#include "stats/interval.h"

/*
 * Wilson's score interval (JASA 22:209, 1927), with the one-sided Poisson limit for up to 3
 * successes or failures, where Wilson's own is short (Brown, Cai and DasGupta, Statistical Science
 * 16:101, 2001, section 4.1.1): near the stated coverage, and never under 92.6 % from 40
 * items on.
 */
struct stats_interval stats_wilson(size_t successes, size_t n, double confidence);
/* Clopper and Pearson (Biometrika 26:404, 1934): never below the stated coverage, and wider. */
struct stats_interval stats_clopper_pearson(size_t successes, size_t n, double confidence);
/*
 * The mean of scores within 0..bound that are not only right or wrong: Wilson's interval with the
 * number of right-or-wrong items that would vary as much (an effective sample size, as Korn and
 * Graubard use in Survey Methodology 24:193, 1998), and t instead of z. Stays within 0..bound.
 */
struct stats_interval stats_bounded_mean(const double *x, size_t n, double bound,
                                         double confidence);

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
 * P(a right) / P(b right) by the score test (Nam and Blackwelder, Statistics in Medicine 21:689,
 * 2002; Tang, Tang and Chan, 22:1217, 2003): the ratios that the data do not reject, with the
 * variance that each of them implies. p_value is McNemar's. Without a right answer of b there is
 * no estimate, but a lower bound.
 */
struct stats_interval stats_pairs_ratio(const struct stats_pairs *t, double confidence);
/*
 * The same ratio by Bonett and Price (Statistics in Medicine 25:3039, 2006), with hybrid Wilson
 * limits. Not what metrics use: where all discordant items are losses its lower bound is too high
 * up to 10 % of the time (docs/intervals.md), which would pass lossy models.
 */
struct stats_interval stats_pairs_ratio_bonett_price(const struct stats_pairs *t,
                                                     double confidence);

#endif
