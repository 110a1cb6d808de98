/* Internal to src/stats: draws of the two sides of a ratio. Options are filled. */
#ifndef STATS_DRAWS_FILL_H
#define STATS_DRAWS_FILL_H

#include "stats/draws.h"

enum stats_side { STATS_NUMERATOR, STATS_DENOMINATOR };

void stats_fill_mean(const double *x, size_t n, const struct stats_opts *full, enum stats_side side,
                     double *out);
void stats_fill_joules(const struct stats_joules *j, unsigned errors, const struct stats_opts *full,
                       enum stats_side side, double *out);

#endif
