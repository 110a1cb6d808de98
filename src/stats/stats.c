#include "stats/stats.h"

#include "stats/dist.h"

#include <math.h>
#include <stdlib.h>

double stats_mean(const double *x, size_t n) {
    if (n == 0) {
        return NAN;
    }
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i];
    }
    return sum / (double)n;
}

double stats_sd(const double *x, size_t n) {
    if (n < 2) {
        return NAN;
    }
    double mean = stats_mean(x, n);
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        squares += (x[i] - mean) * (x[i] - mean);
    }
    return sqrt(squares / (double)(n - 1));
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    if (isnan(x) || isnan(y)) {
        return (isnan(x) != 0) - (isnan(y) != 0);
    }
    return (x > y) - (x < y);
}

void stats_sort(double *x, size_t n) {
    if (n > 1) {
        qsort(x, n, sizeof(*x), compare_doubles);
    }
}

double stats_quantile(const double *sorted, size_t n, double p) {
    if (n == 0 || !(p >= 0 && p <= 1)) {
        return NAN;
    }
    double at = p * (double)(n - 1);
    size_t below = (size_t)at;
    if (below + 1 >= n) {
        return sorted[n - 1];
    }
    return sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]);
}

bool stats_bounds_quantile(size_t n, double p) {
    return pow(p, (double)n) <= 0.025;
}

/* P(T > t) for t >= 0: without the 1 - p of the other tail, so that small p keep their digits. */
static double t_upper_tail(double t, double df) {
    double sum = df + t * t;
    return 0.5 * stats_beta_inc(df / 2, 0.5, df / sum, t * t / sum);
}

double stats_t_cdf(double t, double df) {
    if (isnan(t) || !(df > 0)) {
        return NAN;
    }
    return t >= 0 ? 1 - t_upper_tail(t, df) : t_upper_tail(-t, df);
}

double stats_t_quantile(double p, double df) {
    if (!(p > 0 && p < 1) || !(df > 0)) {
        return NAN;
    }
    double tail = p < 0.5 ? p : 1 - p;
    double low = 0;
    double high = 1;
    while (t_upper_tail(high, df) > tail && high < 1e300) {
        low = high;
        high *= 2;
    }
    /* Bisection: the tail is monotone, and this runs a handful of times a report. */
    for (int i = 0; i < 200 && high - low > 1e-15 * high; i++) {
        double middle = low + (high - low) / 2;
        if (t_upper_tail(middle, df) > tail) {
            low = middle;
        } else {
            high = middle;
        }
    }
    double t = low + (high - low) / 2;
    return p < 0.5 ? -t : t;
}

bool stats_t_interval(const double *x, size_t n, double confidence, double *low, double *high) {
    if (n < 2 || !(confidence > 0 && confidence < 1)) {
        return false;
    }
    double mean = stats_mean(x, n);
    double sd = stats_sd(x, n);
    if (!isfinite(mean) || !isfinite(sd) || !(sd > 0)) {
        return false;
    }
    double t = stats_t_quantile(0.5 + confidence / 2, (double)(n - 1));
    double half = t * sd / sqrt((double)n);
    *low = mean - half;
    *high = mean + half;
    return true;
}
