/*
 * Monte Carlo draws of measured quantities, for figures that are a formula over several of them
 * (N_break, cost per accepted answer): draw every input, evaluate the formula once a draw, and take
 * the interval of the results.
 *
 *     size_t n = stats_n_draws(&opts);                    // arrays of n doubles
 *     adapt_opts.use = "v12/adapt";
 *     rc = stats_draw_joules(&adapt, STATS_ALL_ERRORS, &adapt_opts, adapt_j, e);
 *     serve_opts.use = "v12/serve";
 *     rc = stats_draw_joules(&serve, STATS_ALL_ERRORS, &serve_opts, serve_j, e);
 *     for (i...) x[i] = formula(adapt_j[i], serve_j[i]);
 *     q = stats_draws_interval(x, n, formula(of the estimates), confidence);
 *
 * Quantities that are measured apart need a use of their own; a quantity drawn twice under one use
 * gives the same draws. All need one seed and number of resamples. Gains are keyed by device alone,
 * so they are shared whatever the use.
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
    STATS_ALL_ERRORS = STATS_SAMPLING | STATS_SYSTEMATIC,
    STATS_GAPS_LESS = 1 << 2, /* every gap at its lower bound, for one end of a figure, */
    STATS_GAPS_MORE = 1 << 3, /* or at its upper bound, for the other */
};

/* The figure itself: joules summed over devices, and summed or averaged over windows. NAN when a
 * reading is not a number or there is none. */
double stats_joules_estimate(const struct stats_joules *j);
/* Whether there are repeats enough to show sampling error. */
bool stats_joules_have_sampling(const struct stats_joules *j);
/*
 * Draws of the figure that stats_joules_interval estimates; without sampling error below
 * STATS_MIN_REPEATS windows. NAN, all of them, where a reading is not a number.
 */
int stats_draw_joules(const struct stats_joules *j, unsigned errors, const struct stats_opts *opts,
                      double *out, struct err *e) EE_MUST_CHECK;
/* Draws of mean(x) over repeats; all equal to it below STATS_MIN_REPEATS. */
int stats_draw_mean(const double *x, size_t n, const struct stats_opts *opts, double *out,
                    struct err *e) EE_MUST_CHECK;
/*
 * Draws of anything that has an interval with two bounds (a score), at opts->confidence: a normal
 * on either side of the estimate, as wide as that side's arm. NAN without bounds.
 */
int stats_draw_interval(const struct stats_interval *i, const struct stats_opts *opts, double *out,
                        struct err *e) EE_MUST_CHECK;

/*
 * The equal-tailed interval of n draws, whose order is lost. Infinite draws count; a NAN among them
 * means that the figure does not always exist, and gives no interval. p_value: NAN.
 */
struct stats_interval stats_draws_interval(double *draws, size_t n, double estimate,
                                           double confidence);

#endif
