/*
 * Monte Carlo draws of measured quantities, for figures that are a formula over several of them
 * (N_break, cost per accepted answer): draw every input, evaluate the formula once a draw, and take the
 * interval of the results.
 *
 *     double *e_adapt = ..., *e_serve = ...;              // stats_n_draws(opts) values each
 *     rc = stats_draw_joules(&adapt, STATS_ALL_ERRORS, &adapt_opts, e_adapt, e);
 *     rc = stats_draw_joules(&serve, STATS_ALL_ERRORS, &serve_opts, e_serve, e);
 *     for (i...) x[i] = formula(e_adapt[i], e_serve[i]);
 *     q = stats_draws_interval(x, n, formula(mean, mean), opts);
 *
 * Inputs whose sampling errors are independent need different opts->use; all need the same seed.
 * Gains are keyed by device alone, so they are shared whatever the use.
 */
#ifndef STATS_DRAWS_H
#define STATS_DRAWS_H

#include "stats/repeats.h"

/* opts->resamples, or its default. */
size_t stats_n_draws(const struct stats_opts *opts);

/* Which errors are drawn; the others stay at their estimate. */
enum stats_errors {
    STATS_SAMPLING = 1 << 0,
    STATS_SYSTEMATIC = 1 << 1,
    STATS_GAPS_LESS = 1 << 2, /* every gap at its lower bound: for a figure's one end, */
    STATS_GAPS_MORE = 1 << 3, /* or at its upper bound, for the other */
    STATS_ALL_ERRORS = STATS_SAMPLING | STATS_SYSTEMATIC,
};

/* Draws of the joules; without sampling error below STATS_MIN_REPEATS windows. */
int stats_draw_joules(const struct stats_joules *j, unsigned errors, const struct stats_opts *opts,
                      double *out, struct err *e) EE_MUST_CHECK;
/* Draws of mean(x) over repeats; all equal to the mean below STATS_MIN_REPEATS. */
void stats_draw_mean(const double *x, size_t n, const struct stats_opts *opts, double *out);
/*
 * Draws of the mean of a score over items within 0..opts->bound: Beta with Jeffreys' prior for
 * right-or-wrong items (Brown, Cai and DasGupta, Statistical Science 16:101, 2001), t otherwise.
 */
int stats_draw_score(const double *x, size_t n, const struct stats_opts *opts, double *out,
                     struct err *e) EE_MUST_CHECK;

/*
 * The equal-tailed interval of n draws (their order is lost). Infinite draws count; a NAN among them
 * means that the figure does not always exist, and gives no interval. The p_value is NAN.
 */
struct stats_interval stats_draws_interval(double *draws, size_t n, double estimate,
                                           const struct stats_opts *opts);

#endif
