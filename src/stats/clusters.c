#include "stats/clusters.h"

#include "stats/stats.h"

#include <math.h>

bool stats_cluster_interval(const double *sums, const double *sizes, size_t n, double confidence,
                            double *low, double *high) {
    double sum = 0;
    double size = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(sums[i]) || !isfinite(sizes[i]) || !(sizes[i] > 0)) {
            return false;
        }
        sum += sums[i];
        size += sizes[i];
    }
    if (n < 2 || !(confidence > 0 && confidence < 1)) {
        return false;
    }
    const double ratio = sum / size;
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        double residual = sums[i] - ratio * sizes[i];
        squares += residual * residual;
    }
    const double count = (double)n;
    const double se = sqrt(squares / (count - 1) / count) / (size / count);
    if (!isfinite(se) || !(se > 0)) {
        return false;
    }
    const double half = stats_t_quantile(0.5 + confidence / 2, count - 1) * se;
    *low = ratio - half;
    *high = ratio + half;
    return true;
}
