/* Distributions that intervals need. NAN outside their domain. */
#ifndef STATS_DIST_H
#define STATS_DIST_H

/* P(Z <= z) of the standard normal, and its inverse for 0 < p < 1 (relative error under 1e-14). */
double stats_normal_cdf(double z);
double stats_normal_quantile(double p);
/* The regularized incomplete beta function I_x(a, b), and its inverse in x. */
double stats_beta_cdf(double x, double a, double b);
double stats_beta_quantile(double p, double a, double b);

#endif
