#include "stats/choose.h"

#include "stats/bootstrap.h"
#include "stats/proportion.h"
#include "stats/resample.h"
#include "stats/tied.h"

#include <math.h>
#include <stdlib.h>

/* What a look at the values tells. */
struct look {
    bool is_binary; /* only 0 and the range's end */
    bool is_positive;
    const char *reason; /* why no interval can be made of them */
};

static struct look look_at(const double *x, size_t n, double bound) {
    struct look l = {.is_binary = true, .is_positive = true};
    double one = bound > 0 ? bound : 1;
    for (size_t i = 0; i < n; i++) {
        l.is_binary = l.is_binary && (x[i] == 0 || x[i] == one);
        l.is_positive = l.is_positive && x[i] > 0;
        if (!isfinite(x[i])) {
            l.reason = "a value is not a finite number";
        } else if (bound > 0 && (x[i] < 0 || x[i] > bound)) {
            l.reason = "a value lies outside the score's range";
        }
    }
    l.reason = n == 0 ? "there are no items" : l.reason;
    return l;
}

static struct look look_at_both(const double *a, const double *b, size_t n, double bound) {
    struct look l = look_at(a, n, bound);
    struct look m = look_at(b, n, bound);
    return (struct look){.is_binary = l.is_binary && m.is_binary,
                         .is_positive = l.is_positive && m.is_positive,
                         .reason = l.reason ? l.reason : m.reason};
}

static bool has_equal_pair(const double *a, const double *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (a[i] == b[i]) {
            return true;
        }
    }
    return false;
}

static struct stats_pairs count_pairs(const double *a, const double *b, size_t n) {
    struct stats_pairs t = {0};
    for (size_t i = 0; i < n; i++) {
        size_t *cell = a[i] > 0 ? (b[i] > 0 ? &t.both : &t.only_a)
                                : (b[i] > 0 ? &t.only_b : &t.neither);
        ++*cell;
    }
    return t;
}

/* Proportions are in 0..1, whatever the range's end is. */
static void scale(struct stats_interval *i, double bound) {
    double one = bound > 0 ? bound : 1;
    i->estimate *= one;
    i->low *= one;
    i->high *= one;
}

int stats_paired_ratio(const double *a, const double *b, size_t n, const struct stats_opts *opts,
                       struct stats_interval *out, struct err *e) {
    struct stats_opts o;
    int rc = stats_opts_fill(opts, &o, e);
    if (rc) {
        return rc;
    }
    struct look look = look_at_both(a, b, n, o.bound);
    if (look.reason) {
        *out = stats_no_interval(NAN, n, look.reason);
        return 0;
    }
    if (look.is_binary) {
        struct stats_pairs t = count_pairs(a, b, n);
        *out = stats_pairs_ratio(&t, o.confidence);
        return 0;
    }
    bool is_tied = has_equal_pair(a, b, n);
    if (look.is_positive && !is_tied) {
        return stats_boot_t_log_ratio(a, b, n, &o, out, e);
    }
    if (is_tied || o.bound > 0) {
        *out = stats_tied_ratio(a, b, n, o.bound, o.confidence);
        return 0;
    }
    return stats_bca_ratio(a, b, n, &o, out, e);
}

static int mean_difference(const double *a, const double *b, size_t n, const struct stats_opts *o,
                           struct stats_interval *out, struct err *e) {
    double *d = malloc(n * sizeof(*d));
    if (!d) {
        return err_set(e, EE_NOMEM, "differences: out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        d[i] = a[i] - b[i];
    }
    int rc = stats_boot_t_mean(d, n, o, out, e);
    free(d);
    return rc;
}

int stats_paired_difference(const double *a, const double *b, size_t n,
                            const struct stats_opts *opts, struct stats_interval *out,
                            struct err *e) {
    struct stats_opts o;
    int rc = stats_opts_fill(opts, &o, e);
    if (rc) {
        return rc;
    }
    struct look look = look_at_both(a, b, n, o.bound);
    if (look.reason) {
        *out = stats_no_interval(NAN, n, look.reason);
        return 0;
    }
    if (look.is_binary) {
        struct stats_pairs t = count_pairs(a, b, n);
        *out = stats_pairs_difference(&t, o.confidence);
        scale(out, o.bound);
        return 0;
    }
    if (has_equal_pair(a, b, n)) {
        *out = stats_tied_difference(a, b, n, o.bound, o.confidence);
        return 0;
    }
    return mean_difference(a, b, n, &o, out, e);
}

int stats_mean_of(const double *x, size_t n, const struct stats_opts *opts,
                  struct stats_interval *out, struct err *e) {
    struct stats_opts o;
    int rc = stats_opts_fill(opts, &o, e);
    if (rc) {
        return rc;
    }
    struct look look = look_at(x, n, o.bound);
    if (look.reason) {
        *out = stats_no_interval(NAN, n, look.reason);
        return 0;
    }
    if (look.is_binary) {
        size_t right = 0;
        for (size_t i = 0; i < n; i++) {
            right += x[i] > 0;
        }
        *out = stats_wilson(right, n, o.confidence);
        scale(out, o.bound);
        return 0;
    }
    if (o.bound > 0) {
        *out = stats_bounded_mean(x, n, o.bound, o.confidence);
        return 0;
    }
    return look.is_positive ? stats_boot_t_log_mean(x, n, &o, out, e)
                            : stats_boot_t_mean(x, n, &o, out, e);
}
