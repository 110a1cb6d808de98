#include "stats/stats.h"

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

/*
 * The continued fraction of the incomplete beta function, by the modified Lentz method
 * (NIST DLMF 8.17.22 for the fraction).
 */
static double beta_fraction(double a, double b, double x) {
    const double tiny = 1e-300;
    double c = 1;
    double d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double value = d;
    for (int m = 1; m <= 10000; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        d = 1 + even * d;
        c = 1 + even / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        value *= d * c;
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 + odd * d;
        c = 1 + odd / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        value *= d * c;
        if (fabs(d * c - 1) < 1e-16) {
            break;
        }
    }
    return value;
}

static double log_gamma(double x) {
    int sign = 0;
    return lgamma_r(x, &sign); /* lgamma writes a global */
}

/* The regularized incomplete beta function I_x(a, b); y is 1 - x, passed to keep its digits. */
static double beta_inc(double a, double b, double x, double y) {
    if (x <= 0 || y <= 0) {
        return x <= 0 ? 0 : 1;
    }
    double front = exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * log(x) + b * log(y));
    /* The fraction converges fast only on this side of the mean; the other side is by symmetry. */
    if (x < (a + 1) / (a + b + 2)) {
        return front * beta_fraction(a, b, x) / a;
    }
    return 1 - front * beta_fraction(b, a, y) / b;
}

/* P(T > t) for t >= 0: without the 1 - p of the other tail, so that small p keep their digits. */
static double t_upper_tail(double t, double df) {
    double sum = df + t * t;
    return 0.5 * beta_inc(df / 2, 0.5, df / sum, t * t / sum);
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
