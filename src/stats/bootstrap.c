#include "stats/bootstrap.h"

#include "stats/dist.h"
#include "stats/resample.h"
#include "stats/stats.h"

#include <math.h>
#include <stdlib.h>

static const char *const no_spread = "the items show no spread";
static const char *const not_finite = "a value is not a finite number";

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "resampling: out of memory");
}

static const char *reason_against(size_t n) {
    return n == 0 ? "there are no items" : n < STATS_MIN_ITEMS ? "fewer than 5 items" : NULL;
}

static void start_indices(struct stats_indices *s, const struct stats_opts *o, const char *kind,
                          size_t n) {
    *s = (struct stats_indices){.n = n};
    stats_stream(&s->rng, o->seed, kind, o->use);
}

/* P(|Z| > |z|). */
static double two_sided(double z) {
    return erfc(fabs(z) / sqrt(2));
}

/* --- Bootstrap-t ---------------------------------------------------------------------------- */

/* (statistic - its estimate) / its standard error, over resamples, and that pair of the sample. */
struct studentized {
    double *t;
    size_t n_t;
    double se;
};

/* Infinite where all of a resample's items are one: no spread, yet off the estimate. */
static double student(double off, double se) {
    return se > 0 ? off / se : off == 0 ? 0 : copysign(INFINITY, off);
}

struct centred {
    double c, cc;
};

/*
 * t of the mean, or with scale > 0 of the log mean: scale is then the mean itself. rows hold x
 * minus its mean and the square of that.
 */
static void studentize_mean(const struct centred *rows, size_t n, double scale,
                            struct stats_indices *s, struct studentized *out) {
    for (size_t r = 0; r < out->n_t; r++) {
        double sum = 0;
        double squares = 0;
        for (size_t i = 0; i < n; i++) {
            const struct centred *row = &rows[stats_next_index(s)];
            sum += row->c;
            squares += row->cc;
        }
        double off = sum / (double)n;
        double variance = (squares / (double)n - off * off) / (double)(n - 1);
        double se = sqrt(fmax(variance, 0));
        out->t[r] = scale > 0 ? student(log1p(off / scale), se / (scale + off)) : student(off, se);
    }
}

/*
 * The bounds of (statistic - estimate) in out->low and high, from the quantile of |t|, and p_value
 * of the estimate being off by from_null.
 */
static void symmetric_bounds(struct studentized *s, double confidence, double from_null,
                             struct stats_interval *out) {
    double t = fabs(from_null) / s->se;
    size_t as_far = 1;
    for (size_t i = 0; i < s->n_t; i++) {
        s->t[i] = fabs(s->t[i]);
        as_far += s->t[i] >= t;
    }
    out->p_value = (double)as_far / (double)(s->n_t + 1);
    out->high = s->se * stats_quantile_of(s->t, s->n_t, confidence);
    out->low = -out->high;
}

/* Their normal limit, beyond STATS_ANALYTIC_ABOVE items. */
static void normal_bounds(double se, double confidence, double from_null,
                          struct stats_interval *out) {
    out->p_value = two_sided(from_null / se);
    out->high = stats_z(confidence) * se;
    out->low = -out->high;
}

static int boot_t_mean(const double *x, size_t n, bool is_log, const struct stats_opts *opts,
                       struct stats_interval *out, struct err *e) {
    struct stats_opts o;
    int rc = stats_opts_fill(opts, &o, e);
    if (rc) {
        return rc;
    }
    double mean = stats_mean(x, n);
    double sd = stats_sd(x, n);
    const char *reason = !stats_all_finite(x, n) ? not_finite : reason_against(n);
    reason = reason ? reason : sd > 0 ? NULL : no_spread;
    for (size_t i = 0; i < n && is_log && !reason; i++) {
        reason = x[i] > 0 ? NULL : "a value is not positive";
    }
    if (reason) {
        *out = stats_no_interval(isfinite(mean) ? mean : NAN, n, reason);
        return 0;
    }
    *out = (struct stats_interval){.estimate = mean, .n = n};
    double se = sd / sqrt((double)n) / (is_log ? mean : 1);
    if (n > STATS_ANALYTIC_ABOVE) {
        out->method = is_log ? "normal, log mean" : "normal";
        normal_bounds(se, o.confidence, mean, out);
    } else {
        struct centred *rows = malloc(n * sizeof(*rows));
        struct studentized s = {malloc(o.resamples * sizeof(double)), o.resamples, se};
        if (!rows || !s.t) {
            free(rows);
            free(s.t);
            return out_of_memory(e);
        }
        for (size_t i = 0; i < n; i++) {
            rows[i] = (struct centred){x[i] - mean, (x[i] - mean) * (x[i] - mean)};
        }
        struct stats_indices indices;
        start_indices(&indices, &o, "mean", n);
        studentize_mean(rows, n, is_log ? mean : 0, &indices, &s);
        out->method = is_log ? "bootstrap-t, log mean" : "bootstrap-t";
        symmetric_bounds(&s, o.confidence, mean, out);
        free(rows);
        free(s.t);
    }
    if (is_log) {
        out->p_value = NAN; /* no log mean means "no difference" */
        out->low = mean * exp(out->low);
        out->high = mean * exp(out->high);
    } else {
        out->low += mean;
        out->high += mean;
    }
    return 0;
}

int stats_boot_t_mean(const double *x, size_t n, const struct stats_opts *opts,
                      struct stats_interval *out, struct err *e) {
    return boot_t_mean(x, n, false, opts, out, e);
}

int stats_boot_t_log_mean(const double *x, size_t n, const struct stats_opts *opts,
                          struct stats_interval *out, struct err *e) {
    return boot_t_mean(x, n, true, opts, out, e);
}

/*
 * For the ratio: u = a / mean(a), v = b / mean(b) and d = u - v. Written with d, the variance of a
 * ratio near 1 keeps its digits.
 */
struct relative {
    double d, v, dd, dv, vv;
};

static void add_relative(struct relative *sum, const struct relative *row) {
    sum->d += row->d;
    sum->v += row->v;
    sum->dd += row->dd;
    sum->dv += row->dv;
    sum->vv += row->vv;
}

/*
 * Standard error of log(mean u / mean v) by the delta method: the spread of u/U - v/V, which is
 * d/U - v D/(U V) with U, V and D the means.
 */
static double log_ratio_se(const struct relative *sum, double n) {
    double v = sum->v / n;
    double d = sum->d / n;
    double u = v + d;
    double slope = d / v;
    double squares = (sum->dd - 2 * sum->dv * slope + sum->vv * slope * slope) / (u * u);
    return sqrt(fmax(squares, 0) / n / (n - 1));
}

static void studentize_ratio(const struct relative *rows, size_t n, struct stats_indices *s,
                             struct studentized *out) {
    for (size_t r = 0; r < out->n_t; r++) {
        struct relative sum = {0};
        for (size_t i = 0; i < n; i++) {
            add_relative(&sum, &rows[stats_next_index(s)]);
        }
        out->t[r] = student(log1p(sum.d / sum.v), log_ratio_se(&sum, (double)n));
    }
}

static const char *reason_against_ratio(const double *a, const double *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(a[i]) || !isfinite(b[i])) {
            return not_finite;
        }
        if (!(a[i] > 0 && b[i] > 0)) {
            return "a value is not positive";
        }
    }
    return reason_against(n);
}

int stats_boot_t_log_ratio(const double *a, const double *b, size_t n,
                           const struct stats_opts *opts, struct stats_interval *out,
                           struct err *e) {
    struct stats_opts o;
    int rc = stats_opts_fill(opts, &o, e);
    if (rc) {
        return rc;
    }
    const char *reason = reason_against_ratio(a, b, n);
    double mean_a = stats_mean(a, n);
    double mean_b = stats_mean(b, n);
    if (reason) {
        *out = stats_no_interval(NAN, n, reason);
        return 0;
    }
    struct relative *rows = malloc(n * sizeof(*rows));
    struct studentized s = {malloc(o.resamples * sizeof(double)), o.resamples, 0};
    if (!rows || !s.t) {
        rc = out_of_memory(e);
        goto out;
    }
    struct relative sum = {0};
    for (size_t i = 0; i < n; i++) {
        double v = b[i] / mean_b;
        double d = a[i] / mean_a - v;
        rows[i] = (struct relative){d, v, d * d, d * v, v * v};
        add_relative(&sum, &rows[i]);
    }
    s.se = log_ratio_se(&sum, (double)n);
    double ratio = mean_a / mean_b;
    /* Below rounding errors there is no spread: the items' ratios are all one. */
    if (s.se < 1e-14) {
        *out = stats_no_interval(ratio, n, no_spread);
        goto out;
    }
    *out = (struct stats_interval){.estimate = ratio, .n = n};
    if (n > STATS_ANALYTIC_ABOVE) {
        out->method = "normal, log ratio";
        normal_bounds(s.se, o.confidence, log(ratio), out);
    } else {
        struct stats_indices indices;
        start_indices(&indices, &o, "ratio", n);
        studentize_ratio(rows, n, &indices, &s);
        out->method = "bootstrap-t, log ratio";
        symmetric_bounds(&s, o.confidence, log(ratio), out);
    }
    out->low = ratio * exp(out->low);
    out->high = ratio * exp(out->high);
out:
    free(rows);
    free(s.t);
    return rc;
}

/* --- BCa ------------------------------------------------------------------------------------ */

struct bca {
    double *draws; /* the statistic's resamples */
    size_t n_draws;
    double estimate;
    double acceleration;
};

/* The share of draws below, ties counted half. */
static double share_below(const struct bca *b, double at) {
    double count = 0;
    for (size_t i = 0; i < b->n_draws; i++) {
        count += b->draws[i] < at ? 1 : b->draws[i] == at ? 0.5 : 0;
    }
    /* Never quite none or all: the normal quantile has to exist. */
    double n = (double)b->n_draws;
    return fmin(fmax(count / n, 0.5 / n), 1 - 0.5 / n);
}

static void bca_bounds(struct bca *b, double confidence, double null_value,
                       struct stats_interval *out) {
    double z0 = stats_normal_quantile(share_below(b, b->estimate));
    double z = stats_z(confidence);
    double a = b->acceleration;
    double low = z0 + (z0 - z) / (1 - a * (z0 - z));
    double high = z0 + (z0 + z) / (1 - a * (z0 + z));
    /* The level at which a bound meets the null value, by solving the same map for z. */
    double at_null = stats_normal_quantile(share_below(b, null_value)) - z0;
    double level = stats_normal_cdf(at_null / (1 + a * at_null) - z0);
    out->p_value = fmin(2 * fmin(level, 1 - level), 1);
    out->low = stats_quantile_of(b->draws, b->n_draws, stats_normal_cdf(low));
    out->high = stats_quantile_of(b->draws, b->n_draws, stats_normal_cdf(high));
    out->method = "BCa";
}

/* sum(d^3) / (6 sum(d^2)^1.5) of the deviations d of jackknife values from their mean. */
static double acceleration(const double *jackknife, size_t n) {
    double mean = stats_mean(jackknife, n);
    double squares = 0;
    double cubes = 0;
    for (size_t i = 0; i < n; i++) {
        double d = mean - jackknife[i];
        squares += d * d;
        cubes += d * d * d;
    }
    return squares > 0 ? cubes / (6 * pow(squares, 1.5)) : 0;
}

int stats_bca_mean(const double *x, size_t n, const struct stats_opts *opts,
                   struct stats_interval *out, struct err *e) {
    struct stats_opts o;
    int rc = stats_opts_fill(opts, &o, e);
    if (rc) {
        return rc;
    }
    double mean = stats_mean(x, n);
    const char *reason = !stats_all_finite(x, n) ? not_finite : reason_against(n);
    reason = reason ? reason : stats_sd(x, n) > 0 ? NULL : no_spread;
    if (reason) {
        *out = stats_no_interval(isfinite(mean) ? mean : NAN, n, reason);
        return 0;
    }
    *out = (struct stats_interval){.estimate = mean, .n = n};
    if (n > STATS_ANALYTIC_ABOVE) {
        out->method = "normal";
        normal_bounds(stats_sd(x, n) / sqrt((double)n), o.confidence, mean, out);
        out->low += mean;
        out->high += mean;
        return 0;
    }
    /* A jackknife value is linear in its item, so the items themselves stand for them, mirrored. */
    struct bca b = {malloc(o.resamples * sizeof(double)), o.resamples, 0, -acceleration(x, n)};
    if (!b.draws) {
        return out_of_memory(e);
    }
    struct stats_indices indices;
    start_indices(&indices, &o, "mean", n);
    for (size_t r = 0; r < o.resamples; r++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) {
            sum += x[stats_next_index(&indices)] - mean;
        }
        b.draws[r] = sum / (double)n;
    }
    bca_bounds(&b, o.confidence, -mean, out);
    out->low += mean;
    out->high += mean;
    free(b.draws);
    return 0;
}

/* The statistic's resamples; false when a denominator is 0 or changes its sign. */
static bool resample_ratio(const double *a, const double *b, size_t n, double sum_b,
                           const struct stats_opts *o, double *draws) {
    struct stats_indices indices;
    start_indices(&indices, o, "ratio", n);
    for (size_t r = 0; r < o->resamples; r++) {
        double over = 0;
        double under = 0;
        for (size_t i = 0; i < n; i++) {
            size_t k = stats_next_index(&indices);
            over += a[k];
            under += b[k];
        }
        if (!(under * sum_b > 0)) {
            return false;
        }
        draws[r] = over / under;
    }
    return true;
}

static double ratio_se(const double *a, const double *b, size_t n, double ratio, double mean_b) {
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        double residual = (a[i] - ratio * b[i]) / mean_b;
        squares += residual * residual;
    }
    return sqrt(squares / (double)n / (double)(n - 1));
}

int stats_bca_ratio(const double *a, const double *b, size_t n, const struct stats_opts *opts,
                    struct stats_interval *out, struct err *e) {
    struct stats_opts o;
    int rc = stats_opts_fill(opts, &o, e);
    if (rc) {
        return rc;
    }
    bool is_finite = stats_all_finite(a, n) && stats_all_finite(b, n);
    double sum_a = stats_mean(a, n) * (double)n;
    double sum_b = stats_mean(b, n) * (double)n;
    double ratio = is_finite && sum_b != 0 ? sum_a / sum_b : NAN;
    double se = n > 1 ? ratio_se(a, b, n, ratio, sum_b / (double)n) : 0;
    const char *reason = !is_finite ? not_finite : reason_against(n);
    reason = reason ? reason : sum_b == 0 ? "the denominator is 0" : NULL;
    reason = reason ? reason : se > 1e-14 * fabs(ratio) ? NULL : no_spread;
    if (reason) {
        *out = stats_no_interval(ratio, n, reason);
        return 0;
    }
    *out = (struct stats_interval){.estimate = ratio, .n = n};
    if (n > STATS_ANALYTIC_ABOVE) {
        out->method = "normal";
        normal_bounds(se, o.confidence, ratio - 1, out);
        out->low += ratio;
        out->high += ratio;
        return 0;
    }
    double *jackknife = malloc(n * sizeof(*jackknife));
    struct bca boot = {malloc(o.resamples * sizeof(double)), o.resamples, ratio, 0};
    if (!jackknife || !boot.draws) {
        rc = out_of_memory(e);
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        jackknife[i] = (sum_a - a[i]) / (sum_b - b[i]);
    }
    boot.acceleration = acceleration(jackknife, n);
    if (!stats_all_finite(jackknife, n) || !resample_ratio(a, b, n, sum_b, &o, boot.draws)) {
        *out = stats_no_interval(ratio, n, "the denominator may be 0: the ratio has no bound");
        goto out;
    }
    bca_bounds(&boot, o.confidence, 1, out);
out:
    free(jackknife);
    free(boot.draws);
    return rc;
}
