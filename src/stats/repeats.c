#include "stats/repeats.h"

#include "stats/draws_fill.h"
#include "stats/resample.h"
#include "stats/stats.h"

#include <math.h>
#include <stdlib.h>

static const char *const few_repeats = "fewer than 5 repeats: their spread is not known";
static const char *const no_spread = "the repeats show no spread";

struct stats_interval stats_repeats_mean(const double *x, size_t n, double confidence) {
    if (n == 0 || !stats_all_finite(x, n)) {
        return stats_no_interval(NAN, n, n ? "a repeat is not a finite number" : "no repeats");
    }
    struct stats_interval out = stats_no_interval(stats_mean(x, n), n, few_repeats);
    if (n < STATS_MIN_REPEATS) {
        return out;
    }
    out.reason = no_spread;
    if (stats_t_interval(x, n, confidence, &out.low, &out.high)) {
        out.method = "t over repeats";
        out.reason = NULL;
    }
    return out;
}

static int out_of_memory(struct err *e) {
    return err_set(e, EE_NOMEM, "draws: out of memory");
}

/* Twice the share of draws on the side of 1 that has fewer. */
static double p_of_one(const double *draws, size_t n) {
    size_t above = 1;
    size_t below = 1;
    for (size_t i = 0; i < n; i++) {
        above += draws[i] >= 1;
        below += draws[i] <= 1;
    }
    return fmin(2 * (double)(above < below ? above : below) / (double)(n + 1), 1);
}

/* The interval of a / b over draws; those of a are lost. n: independent observations. */
static struct stats_interval ratio_of_draws(double *a, const double *b, const struct stats_opts *o,
                                            double estimate, size_t n) {
    for (size_t i = 0; i < o->resamples; i++) {
        /* Where the denominator may be 0, nothing bounds the ratio from above. */
        a[i] = b[i] > 0 ? a[i] / b[i] : INFINITY;
    }
    double p = p_of_one(a, o->resamples);
    struct stats_interval out = stats_draws_interval(a, o->resamples, estimate, o->confidence);
    out.n = n;
    out.p_value = out.method ? p : NAN;
    return out;
}

int stats_repeats_ratio(const double *a, size_t n_a, const double *b, size_t n_b,
                        const struct stats_opts *opts, struct stats_interval *out, struct err *e) {
    struct stats_opts o;
    int rc = stats_opts_fill(opts, &o, e);
    if (rc) {
        return rc;
    }
    size_t n = n_a < n_b ? n_a : n_b;
    bool is_finite = stats_all_finite(a, n_a) && stats_all_finite(b, n_b);
    double mean_b = stats_mean(b, n_b);
    double ratio = n && is_finite && mean_b > 0 ? stats_mean(a, n_a) / mean_b : NAN;
    const char *reason = isnan(ratio) ? "the repeats have no ratio" : NULL;
    reason = reason ? reason : n < STATS_MIN_REPEATS ? few_repeats : NULL;
    reason = reason ? reason : stats_sd(a, n_a) > 0 || stats_sd(b, n_b) > 0 ? NULL : no_spread;
    if (reason) {
        *out = stats_no_interval(ratio, n, reason);
        return 0;
    }
    double *draws = malloc(2 * o.resamples * sizeof(*draws));
    if (!draws) {
        return out_of_memory(e);
    }
    double *under = draws + o.resamples;
    stats_fill_mean(a, n_a, &o, STATS_NUMERATOR, draws);
    stats_fill_mean(b, n_b, &o, STATS_DENOMINATOR, under);
    *out = ratio_of_draws(draws, under, &o, ratio, n);
    free(draws);
    return 0;
}

/* --- Joules --------------------------------------------------------------------------------- */

/* A figure a, or a ratio a / b; draws holds two sets. */
struct question {
    const struct stats_joules *a, *b; /* b: NULL for a figure alone */
    const struct stats_opts *opts;
    double *draws;
};

static double estimate_of(const struct question *q) {
    double a = stats_joules_estimate(q->a);
    return q->b ? a / stats_joules_estimate(q->b) : a;
}

static size_t windows_of(const struct question *q) {
    return q->b && q->b->n_windows < q->a->n_windows ? q->b->n_windows : q->a->n_windows;
}

static struct stats_interval answer(const struct question *q, unsigned errors_a,
                                    unsigned errors_b) {
    size_t n_draws = q->opts->resamples;
    double *under = q->draws + n_draws;
    stats_fill_joules(q->a, errors_a, q->opts, STATS_NUMERATOR, q->draws);
    if (q->b) {
        stats_fill_joules(q->b, errors_b, q->opts, STATS_DENOMINATOR, under);
        return ratio_of_draws(q->draws, under, q->opts, estimate_of(q), windows_of(q));
    }
    struct stats_interval out = stats_draws_interval(q->draws, n_draws, estimate_of(q),
                                                     q->opts->confidence);
    out.n = windows_of(q);
    return out;
}

static bool has_gaps(const struct stats_joules *j) {
    for (size_t d = 0; d < j->n_devices; d++) {
        if (j->devices[d].gap_less_j || j->devices[d].gap_more_j) {
            return true;
        }
    }
    return false;
}

/* Each bound with every gap at the end that moves it farthest. */
static struct stats_interval answer_with_gaps(const struct question *q, unsigned errors) {
    if (!has_gaps(q->a) && !(q->b && has_gaps(q->b))) {
        return answer(q, errors, errors);
    }
    struct stats_interval low = answer(q, errors | STATS_GAPS_LESS, errors | STATS_GAPS_MORE);
    struct stats_interval high = answer(q, errors | STATS_GAPS_MORE, errors | STATS_GAPS_LESS);
    low.p_value = fmax(low.p_value, high.p_value);
    low.high = high.high;
    low.reason = low.reason ? low.reason : high.reason;
    return low;
}

/* Both bounds on the estimate: there was nothing that could have moved them. */
static void refuse_zero_width(struct stats_interval *i, const char *reason) {
    if (i->low == i->high) {
        *i = stats_no_interval(i->estimate, i->n, reason);
    }
}

static void answer_all(const struct question *q, struct stats_joules_interval *out) {
    bool is_repeated = stats_joules_have_sampling(q->a);
    bool is_b_repeated = !q->b || stats_joules_have_sampling(q->b);
    out->total = answer_with_gaps(q, STATS_ALL_ERRORS);
    out->systematic = answer_with_gaps(q, STATS_SYSTEMATIC);
    out->sampling = stats_no_interval(estimate_of(q), windows_of(q), few_repeats);
    if (is_repeated && is_b_repeated) {
        out->sampling = answer(q, STATS_SAMPLING, STATS_SAMPLING);
    } else if (out->total.method) {
        bool is_partly = is_repeated || (q->b && is_b_repeated);
        out->total.method = is_partly ? "Monte Carlo, one side without repeats"
                                      : "instrument error only";
    }
    refuse_zero_width(&out->total, "neither repeats nor the instrument show an error");
    refuse_zero_width(&out->systematic, "the instrument's error is not known");
    refuse_zero_width(&out->sampling, no_spread);
}

static const char *reason_against(const struct stats_joules *j) {
    static const char *const unsound = "a reading, its gain or its error is not a number";
    bool is_sound = isfinite(stats_joules_estimate(j));
    for (size_t d = 0; d < j->n_devices && is_sound; d++) {
        const struct stats_device_joules *v = &j->devices[d];
        const double *const errors[] = {v->edge_j, v->gap_less_j, v->gap_more_j};
        is_sound = v->gain >= 0 && isfinite(v->gain);
        for (size_t k = 0; k < sizeof(errors) / sizeof(errors[0]); k++) {
            is_sound = is_sound && (!errors[k] || stats_all_finite(errors[k], j->n_windows));
        }
    }
    return is_sound ? NULL : j->n_windows ? unsound : "there is no window";
}

static int joules(const struct stats_joules *a, const struct stats_joules *b,
                  const struct stats_opts *opts, struct stats_joules_interval *out, struct err *e) {
    struct stats_opts o;
    int rc = stats_opts_fill(opts, &o, e);
    if (rc) {
        return rc;
    }
    const char *reason = reason_against(a);
    reason = reason || !b ? reason : reason_against(b);
    if (!reason && b && !(stats_joules_estimate(a) > 0 && stats_joules_estimate(b) > 0)) {
        reason = "joules that are not positive have no ratio";
    }
    if (reason) {
        out->total = stats_no_interval(NAN, a->n_windows, reason);
        out->sampling = out->total;
        out->systematic = out->total;
        return 0;
    }
    struct question q = {.a = a, .b = b, .opts = &o};
    q.draws = malloc(2 * o.resamples * sizeof(*q.draws));
    if (!q.draws) {
        return out_of_memory(e);
    }
    answer_all(&q, out);
    free(q.draws);
    return 0;
}

int stats_joules_interval(const struct stats_joules *j, const struct stats_opts *opts,
                          struct stats_joules_interval *out, struct err *e) {
    return joules(j, NULL, opts, out, e);
}

int stats_joules_ratio(const struct stats_joules *a, const struct stats_joules *b,
                       const struct stats_opts *opts, struct stats_joules_interval *out,
                       struct err *e) {
    return joules(a, b, opts, out, e);
}
