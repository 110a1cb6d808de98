#include "stats/tied.h"

#include "stats/resample.h"
#include "stats/stats.h"

#include <math.h>

/* What both intervals need of the pairs. */
struct pairs {
    double a, b;                /* means */
    double aa, bb, ab;          /* sample variances and covariance, n - 1 */
    double difference, squares; /* sums of a - b and of its square */
    double added;               /* d^2 of the added items; NAN when nothing tells it */
};

static struct pairs measure(const double *a, const double *b, size_t n, double bound) {
    struct pairs p = {.a = stats_mean(a, n), .b = stats_mean(b, n)};
    size_t n_different = 0;
    for (size_t i = 0; i < n; i++) {
        double d = a[i] - b[i];
        p.aa += (a[i] - p.a) * (a[i] - p.a);
        p.bb += (b[i] - p.b) * (b[i] - p.b);
        p.ab += (a[i] - p.a) * (b[i] - p.b);
        p.difference += d;
        p.squares += d * d;
        n_different += d != 0;
    }
    p.aa /= (double)(n - 1);
    p.bb /= (double)(n - 1);
    p.ab /= (double)(n - 1);
    size_t of = n_different + (bound > 0);
    p.added = of ? (p.squares + bound * bound) / (double)of : NAN;
    return p;
}

static const char *reason_against(const double *a, const double *b, size_t n, double confidence) {
    if (!(confidence > 0 && confidence < 1)) {
        return "the confidence is not between 0 and 1";
    }
    if (!stats_all_finite(a, n) || !stats_all_finite(b, n)) {
        return "a value is not a finite number";
    }
    return n == 0 ? "there are no items" : n == 1 ? "one item shows no spread" : NULL;
}

static const char *const all_equal = "all pairs are equal and the values' range is not known";

static double t_two_sided(double t, double df) {
    return 2 * stats_t_cdf(-fabs(t), df);
}

struct stats_interval stats_tied_difference(const double *a, const double *b, size_t n,
                                            double bound, double confidence) {
    const char *reason = reason_against(a, b, n, confidence);
    if (reason) {
        return stats_no_interval(NAN, n, reason);
    }
    struct pairs p = measure(a, b, n, bound);
    double estimate = p.difference / (double)n;
    if (isnan(p.added)) {
        return stats_no_interval(estimate, n, all_equal);
    }
    double more = (double)n + 2;
    double middle = p.difference / more;
    double se = sqrt(((p.squares + 2 * p.added) / more - middle * middle) / more);
    double half = stats_t_quantile(0.5 + confidence / 2, (double)(n - 1)) * se;
    double limit = bound > 0 ? bound : INFINITY;
    return (struct stats_interval){.estimate = estimate,
                                   .low = fmax(middle - half, -limit),
                                   .high = fmin(middle + half, limit),
                                   .p_value = t_two_sided(middle / se, (double)(n - 1)),
                                   .n = n,
                                   .method = "t, two items added"};
}

struct stats_interval stats_tied_ratio(const double *a, const double *b, size_t n, double bound,
                                       double confidence) {
    const char *reason = reason_against(a, b, n, confidence);
    if (reason) {
        return stats_no_interval(NAN, n, reason);
    }
    struct pairs p = measure(a, b, n, bound);
    double estimate = p.b != 0 ? p.a / p.b : NAN;
    if (isnan(p.added)) {
        return stats_no_interval(estimate, n, all_equal);
    }
    if (p.a == 0 && p.b == 0) {
        return stats_no_interval(NAN, n, "all scores are 0: there is no ratio");
    }
    double t = stats_t_quantile(0.5 + confidence / 2, (double)(n - 1));
    double aa = p.aa + p.added / (double)n;
    double bb = p.bb + p.added / (double)n;
    struct stats_interval out = {
        .estimate = estimate, .n = n, .method = "Fieller, two items added"};
    out.p_value = t_two_sided((p.a - p.b) / sqrt((aa + bb - 2 * p.ab) / (double)n),
                              (double)(n - 1));
    /*
     * The ratios r with (a - r b)^2 <= t^2 (aa - 2 r ab + r^2 bb) / n: between a parabola's roots.
     */
    double tt = t * t / (double)n;
    double square = p.b * p.b - tt * bb;
    double linear = p.a * p.b - tt * p.ab;
    double constant = p.a * p.a - tt * aa;
    double root = sqrt(fmax(linear * linear - square * constant, 0));
    if (square > 0) {
        out.low = (linear - root) / square;
        out.high = (linear + root) / square;
    } else {
        out.low = -INFINITY;
        out.high = INFINITY;
        out.reason = "the denominator's interval reaches 0: the ratio has no bound";
    }
    /* Scores are not negative, so neither is their ratio. */
    out.low = bound > 0 ? fmax(out.low, 0) : out.low;
    return out;
}
