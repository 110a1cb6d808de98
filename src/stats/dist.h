/* Distributions that intervals need. NAN outside their domain. */
#ifndef STATS_DIST_H
#define STATS_DIST_H

/* P(Z <= z) of the standard normal, and its inverse for 0 < p < 1. */
double stats_normal_cdf(double z);
double stats_normal_quantile(double p);
/* The z of a two-sided confidence: 1.96 for 0.95. */
double stats_z(double confidence);

/*
 * The regularized incomplete beta function I_x(a, b) for a, b > 0 with y = 1 - x, which is passed
 * to keep its digits; and its inverse in x for 0 < p < 1.
 */
double stats_beta_inc(double a, double b, double x, double y);
double stats_beta_quantile(double p, double a, double b);

#endif
