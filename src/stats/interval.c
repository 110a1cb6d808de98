#include "stats/interval.h"

#include <math.h>

bool stats_is_bounded(const struct stats_interval *i) {
    return isfinite(i->low) && isfinite(i->high);
}

struct stats_interval stats_no_interval(double estimate, size_t n, const char *reason) {
    return (struct stats_interval){
        .estimate = estimate, .low = NAN, .high = NAN, .p_value = NAN, .n = n, .reason = reason};
}

static bool is_usable(const struct stats_interval *i) {
    return i->estimate > 0 && isfinite(i->estimate) && i->low <= i->estimate &&
           i->high >= i->estimate;
}

/* The distance of a bound from the estimate as a log ratio; infinite for a bound of 0 or below. */
static double arm(double bound, double estimate) {
    return bound > 0 ? fabs(log(bound / estimate)) : INFINITY;
}

static struct stats_interval combine(const struct stats_interval *a, double estimate_b,
                                     double low_arm_b, double high_arm_b, size_t n_b) {
    double estimate = a->estimate * estimate_b;
    size_t n = a->n < n_b ? a->n : n_b;
    double down = hypot(arm(a->low, a->estimate), low_arm_b);
    double up = hypot(arm(a->high, a->estimate), high_arm_b);
    return (struct stats_interval){.estimate = estimate,
                                   .low = estimate * exp(-down),
                                   .high = estimate * exp(up),
                                   .p_value = NAN,
                                   .n = n,
                                   .method = "MOVER on the log scale"};
}

static struct stats_interval refuse(const struct stats_interval *a, const struct stats_interval *b,
                                    double estimate) {
    const char *reason = "a factor is not positive";
    if (isnan(a->low) || isnan(b->low)) {
        reason = "a factor has no interval";
    }
    return stats_no_interval(estimate, a->n < b->n ? a->n : b->n, reason);
}

struct stats_interval stats_product(const struct stats_interval *a,
                                    const struct stats_interval *b) {
    if (!is_usable(a) || !is_usable(b)) {
        return refuse(a, b, a->estimate * b->estimate);
    }
    return combine(a, b->estimate, arm(b->low, b->estimate), arm(b->high, b->estimate), b->n);
}

struct stats_interval stats_quotient(const struct stats_interval *a,
                                     const struct stats_interval *b) {
    if (!is_usable(a) || !is_usable(b)) {
        return refuse(a, b, b->estimate == 0 ? NAN : a->estimate / b->estimate);
    }
    return combine(a, 1 / b->estimate, arm(b->high, b->estimate), arm(b->low, b->estimate), b->n);
}
