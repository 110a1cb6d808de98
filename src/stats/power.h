/* What a sample can show, and how large it would have to be. */
#ifndef STATS_POWER_H
#define STATS_POWER_H

#include "stats/interval.h"

/*
 * The loss that a sample of this size would show (interval below "no loss") with probability power,
 * such as 0.8: the interval's lower arm times (z_confidence + z_power) / z_confidence. In the
 * interval's unit. NAN without a lower bound.
 */
double stats_detectable_loss(const struct stats_interval *i, double confidence, double power);
/*
 * Observations needed until half the interval's width is half_width: n * (width now / wanted)^2,
 * rounded up. NAN without two bounds.
 */
double stats_needed_n(const struct stats_interval *i, double half_width);
/*
 * Items needed before anything is measured, for the ratio of two paired scores (right or wrong):
 * z^2 * discordant / (score * half_width)^2, both models near the same score. About 3,200 for score
 * 0.77, 5 % discordant and a half-width of 0.01.
 */
double stats_needed_pairs(double score, double discordant, double half_width, double confidence);

#endif
