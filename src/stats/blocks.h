/* Internal to src/stats: means of dependent values. Not for other layers. */
#ifndef STATS_BLOCKS_H
#define STATS_BLOCKS_H

#include <stddef.h>

/*
 * The circular block bootstrap's variance of mean(x): that of a mean of n / block independent draws
 * among all n runs of block neighbours, the last followed by the first; over 1 - block / n, which
 * it falls short of by taking the runs' own mean for the truth. *df: n / block - 1, at least 1.
 */
double stats_block_variance(const double *x, size_t n, size_t block, double *df);
/*
 * The block for it: three times Politis and White's length, at most a fifth of the sample. Theirs
 * makes the variance's mean square error smallest; an interval covers better with less bias and
 * more noise, which t allows for (docs/intervals.md has both).
 */
size_t stats_block_for_interval(double length, size_t n);

#endif
