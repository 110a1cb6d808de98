/*
 * Intervals of economic figures: everything measured is drawn at once, with its own kind of error,
 * and the figure computed for each draw. Joules share the gain of the sensor that measured them.
 */
#include "metrics/formulas.h"

#include "stats/choose.h"
#include "stats/draws.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONFIDENCE 0.95

static struct stats_opts opts_for(const struct calc *c, const char *use) {
    return (struct stats_opts){.confidence = CONFIDENCE, .seed = c->in->seed, .use = use};
}

void calc_take_interval(struct calc *c, const struct stats_interval *i, double scale) {
    if (!i->method) {
        return;
    }
    c->row->low = i->low * scale;
    c->row->high = i->high * scale;
    c->row->n = i->n;
    calc_say(c, "interval: %s", i->method);
}

/* --- Draws ---------------------------------------------------------------------------------------- */

static void free_draws(struct calc_draws *d) {
    free(d->request_j);
    free(d->once_j);
    free(d->rate);
    free(d->accepted);
}

void calc_shared_free(struct calc_shared *shared) {
    free_draws(&shared->draws[0]);
    free_draws(&shared->draws[1]);
}

static bool has_gap(const struct stats_joules *j) {
    for (size_t d = 0; d < j->n_devices; d++) {
        for (size_t w = 0; w < j->n_windows; w++) {
            const struct stats_device_joules *device = &j->devices[d];
            if ((device->gap_less_j && device->gap_less_j[w] > 0) ||
                (device->gap_more_j && device->gap_more_j[w] > 0)) {
                return true;
            }
        }
    }
    return false;
}

/* NULL where there is nothing to draw from. */
static double *draw_joules(struct calc *c, const struct stats_joules *j, unsigned errors,
                           const char *use, size_t n) {
    if (j->n_windows == 0 || j->n_devices == 0) {
        return NULL;
    }
    const struct stats_opts opts = opts_for(c, use);
    double *out = malloc(n * sizeof(*out));
    if (!out || stats_draw_joules(j, errors, &opts, out, NULL)) {
        c->out_of_memory = true;
    }
    return out;
}

static double *draw_rate(struct calc *c, size_t n) {
    const struct metrics_spread *s = &c->in->spread;
    if (s->n_rates < STATS_MIN_REPEATS) {
        return NULL;
    }
    const struct stats_opts opts = opts_for(c, "rate");
    double mean = 0;
    for (size_t i = 0; i < s->n_rates; i++) {
        mean += s->rates[i] / (double)s->n_rates;
    }
    double *out = malloc(n * sizeof(*out));
    if (!out || stats_draw_mean(s->rates, s->n_rates, &opts, out, NULL)) {
        c->out_of_memory = true;
    }
    for (size_t i = 0; out && i < n; i++) {
        out[i] /= mean;
    }
    return out;
}

/* Items are right or wrong here: good enough, or not. */
static double *draw_accepted(struct calc *c, size_t n) {
    const struct metrics_items *items = &c->in->items;
    const struct costing *costing = c->in->costing;
    double range = c->in->score_max - c->in->score_min;
    if (items->n == 0 || !costing || isnan(costing->accept) || !(range > 0)) {
        return NULL;
    }
    struct stats_opts opts = opts_for(c, "accepted");
    opts.bound = 1;
    struct stats_interval share = stats_no_interval(NAN, 0, NULL);
    double *good = malloc(items->n * sizeof(*good));
    double *out = calloc(n, sizeof(*out));
    for (size_t i = 0; good && i < items->n; i++) {
        good[i] = (items->scores[i] - c->in->score_min) / range >= costing->accept;
    }
    if (!good || !out || stats_mean_of(good, items->n, &opts, &share, NULL) ||
        stats_draw_interval(&share, &opts, out, NULL)) {
        c->out_of_memory = true;
    }
    free(good);
    if (!c->out_of_memory && !stats_is_bounded(&share)) {
        free(out);
        return NULL;
    }
    for (size_t i = 0; out && i < n; i++) {
        out[i] = fmin(fmax(out[i], 0), 1);
    }
    return out;
}

static void make_draws(struct calc *c) {
    struct calc_shared *s = c->shared;
    const struct metrics_spread *spread = &c->in->spread;
    if (s->has_draws) {
        return;
    }
    s->has_draws = true;
    s->has_gaps = has_gap(&spread->serve) || has_gap(&spread->once);
    const struct stats_opts opts = opts_for(c, "");
    static const unsigned gaps[] = {STATS_GAPS_LESS, STATS_GAPS_MORE};
    for (size_t i = 0; i < (s->has_gaps ? 2 : 1); i++) {
        unsigned errors = STATS_ALL_ERRORS | (s->has_gaps ? gaps[i] : 0);
        struct calc_draws *d = &s->draws[i];
        d->n = stats_n_draws(&opts);
        d->request_j = draw_joules(c, &spread->serve, errors, "serve", d->n);
        d->once_j = draw_joules(c, &spread->once, errors, "once", d->n);
        d->rate = draw_rate(c, d->n);
        d->accepted = draw_accepted(c, d->n);
    }
}

/* x with the i-th draw of what was measured. */
static struct econ drawn(const struct calc *c, const struct econ *x, const struct calc_draws *d,
                         size_t i) {
    struct econ y = *x;
    if (d->request_j) {
        double more_j = d->request_j[i] - c->in->econ[ECON(request_j)].value;
        y.request_j += more_j;
        y.request_above_idle_j += more_j; /* the idle power was given: it has no error here */
    }
    if (d->once_j) {
        y.once_j += d->once_j[i] - c->in->econ[ECON(once_j)].value;
    }
    if (d->rate) {
        y.capacity_per_h *= d->rate[i];
        y.throughput_per_h *= d->rate[i];
    }
    if (d->accepted) {
        y.accepted_share = d->accepted[i];
    }
    return y;
}

/* The figure of every draw in values; false where nothing is known of errors. */
static bool figures(struct calc *c, const struct econ *x, econ_fn *figure, size_t set,
                    double *values) {
    const struct calc_draws *d = &c->shared->draws[set];
    bool varies = false;
    for (size_t i = 0; i < d->n; i++) {
        struct econ y = drawn(c, x, d, i);
        values[i] = figure(&y);
        varies = varies || values[i] != values[0];
    }
    return varies;
}

/* The widest of the sets' intervals; method NULL without one. */
static struct stats_interval spread_of(struct calc *c, const struct econ *x, econ_fn *figure) {
    struct stats_interval out = stats_no_interval(figure(x), 0, "nothing has a known error");
    make_draws(c);
    size_t n = c->shared->draws[0].n;
    double *values = c->out_of_memory ? NULL : malloc(n * sizeof(*values));
    if (!values) {
        c->out_of_memory = true;
        return out;
    }
    for (size_t set = 0; set < (c->shared->has_gaps ? 2 : 1); set++) {
        if (!figures(c, x, figure, set, values)) {
            continue;
        }
        struct stats_interval i = stats_draws_interval(values, n, out.estimate, CONFIDENCE);
        if (i.method) {
            double low = out.method ? fmin(out.low, i.low) : i.low;
            double high = out.method ? fmax(out.high, i.high) : i.high;
            out = i;
            out.low = low;
            out.high = high;
        }
    }
    free(values);
    return out;
}

/* Under five repeats only the instrument's error is in it. */
static void take_spread(struct calc *c, double low, double high) {
    const struct metrics_spread *s = &c->in->spread;
    c->row->low = low;
    c->row->high = high;
    c->row->n = s->n_rates;
    if (s->serve.n_windows > 0 && s->serve.n_windows < STATS_MIN_REPEATS) {
        c->row->flags |= QUANTITY_INSTRUMENT;
    }
    calc_say(c, "interval: 95 %% Monte Carlo");
}

void calc_spread(struct calc *c, const struct econ *x, econ_fn *figure) {
    struct stats_interval i = spread_of(c, x, figure);
    if (i.method) {
        take_spread(c, i.low, i.high);
    }
}

void calc_spread_inverse(struct calc *c, const struct econ *x, econ_fn *figure, double r) {
    struct stats_interval i = spread_of(c, x, figure);
    if (i.method) {
        take_spread(c, i.high > 0 ? r / i.high : (double)INFINITY,
                    i.low > 0 ? r / i.low : (double)INFINITY);
    }
}

double calc_share_not_positive(struct calc *c, const struct econ *x, econ_fn *figure) {
    make_draws(c);
    size_t n = c->shared->draws[0].n;
    double *values = c->out_of_memory ? NULL : malloc(n * sizeof(*values));
    double share = NAN;
    if (!values) {
        c->out_of_memory = true;
        return share;
    }
    for (size_t set = 0; set < (c->shared->has_gaps ? 2 : 1); set++) {
        if (!figures(c, x, figure, set, values)) {
            continue;
        }
        size_t not_positive = 0;
        for (size_t i = 0; i < n; i++) {
            not_positive += !(values[i] > 0);
        }
        share = fmax(isnan(share) ? 0 : share, (double)not_positive / (double)n);
    }
    free(values);
    return share;
}

/* --- Rates over repeats, scores over joules ---------------------------------------------------------- */

void calc_rate_interval(struct calc *c) {
    const struct metrics_spread *s = &c->in->spread;
    struct stats_interval i = stats_repeats_mean(s->rates, s->n_rates, CONFIDENCE);
    if (i.method) {
        calc_take_interval(c, &i, c->row->value / i.estimate);
    }
}

/* The mean of the items' scores, from 0 to 1, with its interval. */
static struct stats_interval score_interval(struct calc *c) {
    const struct metrics_items *items = &c->in->items;
    struct stats_opts opts = opts_for(c, "score");
    struct stats_interval out = stats_no_interval(NAN, 0, NULL);
    double range = c->in->score_max - c->in->score_min;
    if (items->n == 0) {
        return out;
    }
    opts.bound = 1;
    double *share = malloc(items->n * sizeof(*share));
    for (size_t i = 0; share && i < items->n; i++) {
        share[i] = (items->scores[i] - c->in->score_min) / range;
    }
    if (!share || stats_mean_of(share, items->n, &opts, &out, NULL)) {
        c->out_of_memory = true;
    }
    free(share);
    return out;
}

/* How much of the joules' interval is chance and how much the instrument, which repeats cannot cure. */
static void say_parts(struct calc *c, const struct stats_joules_interval *i) {
    if (i->sampling.method && i->systematic.method) {
        double scale = 100 / (2 * i->total.estimate);
        calc_say(c, "joules: repeats alone +-%.2g %%, instrument alone +-%.2g %%",
                 scale * (i->sampling.high - i->sampling.low),
                 scale * (i->systematic.high - i->systematic.low));
    }
}

void calc_score_per_joule_interval(struct calc *c) {
    const struct stats_joules *serve = &c->in->spread.serve;
    if (serve->n_windows == 0) {
        return;
    }
    const struct stats_opts opts = opts_for(c, "serve");
    struct stats_interval score = score_interval(c);
    struct stats_joules_interval joules;
    if (!score.method || c->out_of_memory) {
        return;
    }
    if (stats_joules_interval(serve, &opts, &joules, NULL)) {
        c->out_of_memory = true;
        return;
    }
    struct stats_interval i = stats_quotient(&score, &joules.total);
    calc_take_interval(c, &i, 1);
    if (i.method && serve->n_windows < STATS_MIN_REPEATS) {
        calc_say(c, "energy: instrument error only");
    }
    say_parts(c, &joules);
}

/* --- Joules over joules ------------------------------------------------------------------------------- */

void calc_joules_interval(struct calc *c, const struct stats_joules *a,
                          const struct stats_joules *b) {
    if (a->n_windows == 0 || b->n_windows == 0) {
        return;
    }
    const struct stats_opts opts = opts_for(c, c->row->metric->id);
    struct stats_joules_interval i;
    if (stats_joules_ratio(a, b, &opts, &i, NULL)) {
        c->out_of_memory = true;
        return;
    }
    calc_take_interval(c, &i.total, 1);
    say_parts(c, &i);
    c->row->n = a->n_windows;
}

/* --- Paired items --------------------------------------------------------------------------------------- */

size_t metrics_pair_items(const struct metrics_items *x, const struct metrics_items *y, double low,
                          double high, double *a, double *b) {
    size_t n = 0;
    for (size_t i = 0, k = 0; i < x->n && k < y->n;) {
        int order = strcmp(x->ids[i], y->ids[k]);
        if (order == 0) {
            a[n] = (x->scores[i] - low) / (high - low);
            b[n] = (y->scores[k] - low) / (high - low);
            n++;
        }
        i += order <= 0;
        k += order >= 0;
    }
    return n;
}

bool calc_pair_items(struct calc *c, const struct metrics_items *x, const struct metrics_items *y,
                     double **a, double **b, size_t *n) {
    size_t most = x->n < y->n ? x->n : y->n;
    *n = 0;
    *a = malloc((most + 1) * sizeof(**a));
    *b = malloc((most + 1) * sizeof(**b));
    if (!*a || !*b) {
        c->out_of_memory = true;
        return false;
    }
    *n = metrics_pair_items(x, y, c->in->score_min, c->in->score_max, *a, *b);
    return true;
}
