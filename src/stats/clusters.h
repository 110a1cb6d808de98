/*
 * The mean over many observations that come in clusters (the tokens of a text's windows, the
 * passes of an item): observations of one cluster are alike, so the cluster is what is sampled.
 * Pure; any thread may call.
 */
#ifndef STATS_CLUSTERS_H
#define STATS_CLUSTERS_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The interval of sum(sums) / sum(sizes), where cluster i has sizes[i] observations that add up to
 * sums[i]: the ratio estimator with its linearized variance and Student's t over n - 1 degrees of
 * freedom (Cochran, Sampling Techniques, 1977, section 6.4). False where n < 2, a value is not
 * finite, a size is not positive, or the clusters show no spread.
 */
bool stats_cluster_interval(const double *sums, const double *sizes, size_t n, double confidence,
                            double *low, double *high);

#endif
