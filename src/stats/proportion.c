#include "stats/proportion.h"

#include "stats/dist.h"
#include "stats/resample.h"
#include "stats/stats.h"

#include <math.h>

static bool is_confidence(double c) {
    return c > 0 && c < 1;
}

static const char *count_reason(size_t successes, size_t n, double confidence) {
    if (n == 0) {
        return "there are no items";
    }
    if (successes > n) {
        return "more successes than items";
    }
    return is_confidence(confidence) ? NULL : "the confidence is not between 0 and 1";
}

struct bounds {
    double low, high;
};

/* Wilson's limits of a share p of n items, where z is the normal (or t) quantile. */
static struct bounds wilson(double p, double n, double z) {
    double zz = z * z;
    double middle = p + zz / (2 * n);
    double half = z * sqrt(p * (1 - p) / n + zz / (4 * n * n));
    double low = (middle - half) / (1 + zz / n);
    double high = (middle + half) / (1 + zz / n);
    /* Exactly 0 and 1 there, where the difference of two equal terms leaves a rounding error. */
    return (struct bounds){p <= 0 ? 0 : low, p >= 1 ? 1 : high};
}

/* The Poisson mean that gives x or more with probability tail, for a small x. */
static double poisson_mean(size_t x, double tail) {
    double low = 0;
    double high = (double)x + 1;
    for (int i = 0; i < 60; i++) {
        double middle = low + (high - low) / 2;
        double term = exp(-middle);
        double fewer = 0;
        for (size_t k = 0; k < x; k++) {
            fewer += term;
            term *= middle / (double)(k + 1);
        }
        if (1 - fewer < tail) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The lower limit, for a few successes by the one-sided Poisson limit. */
static double wilson_low(size_t successes, size_t n, double confidence) {
    if (successes >= 1 && successes <= 3 && 2 * successes <= n) {
        return poisson_mean(successes, 1 - confidence) / (double)n;
    }
    return wilson((double)successes / (double)n, (double)n, stats_z(confidence)).low;
}

struct stats_interval stats_wilson(size_t successes, size_t n, double confidence) {
    const char *reason = count_reason(successes, n, confidence);
    if (reason) {
        return stats_no_interval(NAN, n, reason);
    }
    return (struct stats_interval){.estimate = (double)successes / (double)n,
                                   .low = wilson_low(successes, n, confidence),
                                   .high = 1 - wilson_low(n - successes, n, confidence),
                                   .p_value = NAN,
                                   .n = n,
                                   .method = "Wilson"};
}

struct stats_interval stats_clopper_pearson(size_t successes, size_t n, double confidence) {
    const char *reason = count_reason(successes, n, confidence);
    if (reason) {
        return stats_no_interval(NAN, n, reason);
    }
    double tail = (1 - confidence) / 2;
    double x = (double)successes;
    double rest = (double)(n - successes);
    return (struct stats_interval){
        .estimate = x / (double)n,
        .low = successes == 0 ? 0 : stats_beta_quantile(tail, x, rest + 1),
        .high = successes == n ? 1 : stats_beta_quantile(1 - tail, x + 1, rest),
        .p_value = NAN,
        .n = n,
        .method = "Clopper-Pearson"};
}

struct stats_interval stats_bounded_mean(const double *x, size_t n, double bound,
                                         double confidence) {
    double mean = stats_mean(x, n);
    if (!stats_all_finite(x, n) || !(bound > 0) || !is_confidence(confidence)) {
        return stats_no_interval(NAN, n, "a value, the range or the confidence is not a number");
    }
    for (size_t i = 0; i < n; i++) {
        if (x[i] < 0 || x[i] > bound) {
            return stats_no_interval(NAN, n, "a value lies outside the score's range");
        }
    }
    if (n < 2) {
        return stats_no_interval(mean, n, "one item shows no spread");
    }
    double share = mean / bound;
    double spread = stats_sd(x, n) / bound;
    /* Equal values say nothing of their spread: then as much as a score of this mean can have. */
    double n_effective = spread > 0 ? (double)n * share * (1 - share) / (spread * spread)
                                    : (double)n;
    double t = stats_t_quantile(0.5 + confidence / 2, (double)(n - 1));
    struct bounds b = wilson(share, n_effective, t);
    return (struct stats_interval){.estimate = mean,
                                   .low = bound * b.low,
                                   .high = bound * b.high,
                                   .p_value = NAN,
                                   .n = n,
                                   .method = "Wilson, effective sample size"};
}

static size_t pairs_n(const struct stats_pairs *t) {
    return t->both + t->only_a + t->only_b + t->neither;
}

static const char *pairs_reason(const struct stats_pairs *t, double confidence) {
    return count_reason(0, pairs_n(t), confidence);
}

/* P(|Z| > |z|). */
static double two_sided(double z) {
    return erfc(fabs(z) / sqrt(2));
}

struct stats_interval stats_pairs_difference(const struct stats_pairs *t, double confidence) {
    size_t n = pairs_n(t);
    const char *reason = pairs_reason(t, confidence);
    if (reason) {
        return stats_no_interval(NAN, n, reason);
    }
    double more = (double)n + 2;
    double a = (double)(t->only_a + 1) / more;
    double b = (double)(t->only_b + 1) / more;
    double se = sqrt((a + b - (a - b) * (a - b)) / more);
    double half = stats_z(confidence) * se;
    return (struct stats_interval){.estimate = ((double)t->only_a - (double)t->only_b) / (double)n,
                                   .low = fmax(a - b - half, -1),
                                   .high = fmin(a - b + half, 1),
                                   .p_value = two_sided((a - b) / se),
                                   .n = n,
                                   .method = "Bonett-Price difference"};
}

/* P(a right) and P(b right) of no item: nothing to divide. */
static struct stats_interval nothing_right(size_t n) {
    return stats_no_interval(NAN, n, "no item was answered right: there is no ratio");
}

/*
 * The score statistic at ratio r: (x_a - r x_b) / sqrt(n r (q_a + q_b)), where q_a and q_b are the
 * discordant probabilities of largest likelihood among those whose ratio is r, in closed form.
 */
static double score_at(const struct stats_pairs *t, double r) {
    double n = (double)pairs_n(t);
    double only_a = (double)t->only_a;
    double only_b = (double)t->only_b;
    double right_a = (double)t->both + only_a;
    double right_b = (double)t->both + only_b;
    double root = sqrt((right_a - r * r * right_b) * (right_a - r * r * right_b) +
                       4 * r * r * only_a * only_b);
    double q_a = (r * r * (right_b + 2 * only_a) - right_a + root) / (2 * n * r * (r + 1));
    double q_b = (right_a + 2 * only_b - r * r * right_b + root) / (2 * n * (r + 1));
    double variance = n * r * (fmax(q_a, 0) + fmax(q_b, 0));
    double gap = right_a - r * right_b;
    if (variance < 1e-12 * n) {
        /* Only without discordant items and at r = 1, where nothing is rejected. */
        return fabs(gap) < 1e-9 * n ? 0 : copysign(INFINITY, gap);
    }
    return gap / sqrt(variance);
}

/*
 * The log ratio where the statistic, which falls with it, passes z; infinite where it never does.
 */
static double score_root(const struct stats_pairs *t, double z, double start) {
    /* Steps double: no ratio of counts is beyond exp(300). */
    double low = start - 0.1;
    double high = start + 0.1;
    while (score_at(t, exp(low)) < z) {
        low = start - 2 * (start - low);
        if (low < -300) {
            return -INFINITY;
        }
    }
    while (score_at(t, exp(high)) > z) {
        high = start + 2 * (high - start);
        if (high > 300) {
            return INFINITY;
        }
    }
    while (high - low > 1e-14 * (1 + fabs(low))) {
        double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high) {
            break;
        }
        if (score_at(t, exp(middle)) > z) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low + (high - low) / 2;
}

struct stats_interval stats_pairs_ratio(const struct stats_pairs *t, double confidence) {
    size_t n = pairs_n(t);
    const char *reason = pairs_reason(t, confidence);
    if (reason) {
        return stats_no_interval(NAN, n, reason);
    }
    double right_a = (double)(t->both + t->only_a);
    double right_b = (double)(t->both + t->only_b);
    if (right_a + right_b == 0) {
        return nothing_right(n);
    }
    double z = stats_z(confidence);
    double discordant = (double)(t->only_a + t->only_b);
    double start = log((right_a + 0.5) / (right_b + 0.5));
    struct stats_interval out = {
        .estimate = right_b > 0 ? right_a / right_b : NAN,
        .low = exp(score_root(t, z, start)),
        .high = exp(score_root(t, -z, start)),
        .p_value = discordant > 0
                       ? two_sided(((double)t->only_a - (double)t->only_b) / sqrt(discordant))
                       : 1,
        .n = n,
        .method = "Nam-Blackwelder ratio",
        .reason = right_b > 0 ? NULL : "the baseline got no item right: the ratio has no bound"};
    return out;
}

struct stats_interval stats_pairs_ratio_bonett_price(const struct stats_pairs *t,
                                                     double confidence) {
    size_t n = pairs_n(t);
    const char *reason = pairs_reason(t, confidence);
    if (reason) {
        return stats_no_interval(NAN, n, reason);
    }
    double a = (double)(t->both + t->only_a);
    double b = (double)(t->both + t->only_b);
    double some = (double)(t->both + t->only_a + t->only_b);
    if (some == 0) {
        return nothing_right(n);
    }
    double discordant = (double)(t->only_a + t->only_b);
    double share_a = (a + 1) / (some + 2);
    double share_b = (b + 1) / (some + 2);
    double se = sqrt((discordant + 2) / ((a + 1) * (b + 1)));
    double z = stats_z(confidence) * se /
               (sqrt((1 - share_a) / (a + 1)) + sqrt((1 - share_b) / (b + 1)));
    struct bounds of_a = wilson(a / some, some, z);
    struct bounds of_b = wilson(b / some, some, z);
    struct stats_interval out = {
        .estimate = b > 0 ? a / b : NAN,
        .low = of_a.low / of_b.high,
        .high = of_b.low > 0 ? of_a.high / of_b.low : INFINITY,
        .p_value = NAN,
        .n = n,
        .method = "Bonett-Price ratio",
        .reason = b > 0 ? NULL : "the baseline got no item right: the ratio has no bound"};
    return out;
}
