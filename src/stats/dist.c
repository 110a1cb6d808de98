#include "stats/dist.h"

#include <math.h>

double stats_normal_cdf(double z) {
    return 0.5 * erfc(-z / sqrt(2));
}

double stats_normal_quantile(double p) {
    if (!(p > 0 && p < 1)) {
        return NAN;
    }
    double tail = p < 0.5 ? p : 1 - p;
    /* A start to 4.5e-4 (Abramowitz and Stegun 26.2.23), then Newton on the log of the tail, which
     * is nearly parabolic, so that far tails converge as fast as the middle. */
    double t = sqrt(-2 * log(tail));
    double z = t - (2.515517 + t * (0.802853 + t * 0.010328)) /
                       (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
    for (int i = 0; i < 4; i++) {
        double q = 0.5 * erfc(z / sqrt(2));
        double density = exp(-z * z / 2) / sqrt(2 * acos(-1));
        z += log(q / tail) * q / density;
    }
    return p < 0.5 ? -z : z;
}

double stats_z(double confidence) {
    return stats_normal_quantile(0.5 + confidence / 2);
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

double stats_beta_inc(double a, double b, double x, double y) {
    if (!(a > 0 && b > 0) || isnan(x) || isnan(y)) {
        return NAN;
    }
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

double stats_beta_quantile(double p, double a, double b) {
    if (!(p > 0 && p < 1) || !(a > 0 && b > 0)) {
        return NAN;
    }
    double scale = log_gamma(a + b) - log_gamma(a) - log_gamma(b);
    double low = 0;
    double high = 1;
    double x = a / (a + b);
    /* Newton, and bisection where that leaves the bracket. Tails far below the mean need many. */
    for (int i = 0; i < 2000 && high - low > 1e-16 * high; i++) {
        double off = stats_beta_inc(a, b, x, 1 - x) - p;
        if (off < 0) {
            low = x;
        } else {
            high = x;
        }
        double density = exp(scale + (a - 1) * log(x) + (b - 1) * log1p(-x));
        double next = x - off / density;
        if (!(next > low && next < high)) {
            next = low + (high - low) / 2;
        }
        if (fabs(next - x) <= 1e-15 * x) {
            return next;
        }
        x = next;
    }
    return x;
}
