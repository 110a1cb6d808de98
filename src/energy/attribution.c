#include "energy/attribution.h"
#include "energy/note.h"

#include "base/clock.h"
#include "stats/stats.h"

#include <math.h>
#include <string.h>

enum {
    MIN_PERIODS = 20,
    MAX_BLOCKS = 20,
    MIN_PER_BLOCK = 2,
    MAX_COLUMNS = 3,
};
#define MAX_CONDITION 30.0 /* Belsley, Kuh and Welsch (1980): collinearity that harms */
#define CONFIDENCE_TAIL 0.975
#define INTENSITY 2.0       /* how much more a second of one process may draw than of another */
#define TIME_TOLERANCE 1.05 /* clocks of processes and of the machine are read apart */

/* ---- periods ---- */

static double watts_of(const struct meter_sample *row, const size_t *components, size_t n) {
    double w = 0;
    for (size_t i = 0; i < n; i++) {
        w += (double)row->watts[components[i]]; /* NAN stays NAN */
    }
    return w;
}

/* The part of a piece of work that lies in a period. */
static double overlap(const struct attr_work *w, const struct attr_period *p) {
    int64_t a = w->start_ns > p->start_ns ? w->start_ns : p->start_ns;
    int64_t b = w->end_ns < p->end_ns ? w->end_ns : p->end_ns;
    if (w->end_ns <= w->start_ns) { /* of no length: a moment */
        return w->start_ns >= p->start_ns && w->start_ns < p->end_ns;
    }
    return b > a ? (double)(b - a) / (double)(w->end_ns - w->start_ns) : 0;
}

static void add_tokens(struct attr_period *p, size_t n, const struct attr_work *w) {
    size_t low = 0; /* the first period that ends after the work began */
    for (size_t high = n; low < high;) {
        size_t mid = (low + high) / 2;
        if (p[mid].end_ns > w->start_ns) {
            high = mid;
        } else {
            low = mid + 1;
        }
    }
    for (; low < n && (p[low].start_ns < w->end_ns || p[low].start_ns <= w->start_ns); low++) {
        double share = overlap(w, &p[low]);
        p[low].prefill_tokens += share * w->prefill_tokens;
        p[low].decode_tokens += share * w->decode_tokens;
    }
}

static size_t drop_unknown(struct attr_period *p, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isnan(p[i].joules)) {
            p[kept++] = p[i];
        }
    }
    return kept;
}

size_t attribution_periods(const struct meter_sample *rows, size_t n_rows, int64_t start_ns,
                           const size_t *components, size_t n_components,
                           const struct attr_work *work, size_t n_work, int64_t period_ns,
                           struct attr_period *out) {
    size_t n = 0;
    struct attr_period p = {.start_ns = start_ns, .end_ns = start_ns};
    for (size_t i = 0; i < n_rows; i++) {
        double s = clock_ns_to_s(rows[i].t_ns - p.end_ns);
        p.seconds += s;
        p.joules += watts_of(&rows[i], components, n_components) * s;
        p.end_ns = rows[i].t_ns;
        if (p.end_ns - p.start_ns >= period_ns) {
            out[n++] = p;
            p = (struct attr_period){.start_ns = p.end_ns, .end_ns = p.end_ns};
        }
    }
    for (size_t i = 0; i < n_work; i++) {
        add_tokens(out, n, &work[i]);
    }
    return drop_unknown(out, n);
}

/* ---- least squares ---- */

/* Which columns are fitted, and the sums that the normal equations need. */
struct design {
    size_t k;                  /* columns */
    int of[MAX_COLUMNS];       /* COLUMN_... */
    double fixed_w;            /* taken off the energy; 0 where the base is fitted */
    double scale[MAX_COLUMNS]; /* length of each column */
};

enum { COLUMN_BASE, COLUMN_PREFILL, COLUMN_DECODE };

static double column(const struct attr_period *p, int which) {
    return which == COLUMN_BASE      ? p->seconds
           : which == COLUMN_PREFILL ? p->prefill_tokens
                                     : p->decode_tokens;
}

static double response(const struct design *d, const struct attr_period *p) {
    return p->joules - d->fixed_w * p->seconds;
}

/* X'X and X'y of the scaled columns, over all periods but those in [from, to). */
static void normal_equations(const struct design *d, const struct attr_period *p, size_t n,
                             size_t from, size_t to, double a[MAX_COLUMNS][MAX_COLUMNS],
                             double b[MAX_COLUMNS]) {
    memset(a, 0, MAX_COLUMNS * sizeof(a[0]));
    memset(b, 0, MAX_COLUMNS * sizeof(b[0]));
    for (size_t i = 0; i < n; i++) {
        if (i >= from && i < to) {
            continue;
        }
        for (size_t r = 0; r < d->k; r++) {
            double x = column(&p[i], d->of[r]) / d->scale[r];
            b[r] += x * response(d, &p[i]);
            for (size_t c = 0; c < d->k; c++) {
                a[r][c] += x * column(&p[i], d->of[c]) / d->scale[c];
            }
        }
    }
}

/* Gauss with pivots; false where there is no single answer. */
static bool solve(size_t k, double a[MAX_COLUMNS][MAX_COLUMNS], double b[MAX_COLUMNS],
                  double x[MAX_COLUMNS]) {
    for (size_t i = 0; i < k; i++) {
        size_t pivot = i;
        for (size_t r = i + 1; r < k; r++) {
            pivot = fabs(a[r][i]) > fabs(a[pivot][i]) ? r : pivot;
        }
        if (!(fabs(a[pivot][i]) > 1e-12)) {
            return false;
        }
        for (size_t c = 0; c < k; c++) {
            double t = a[i][c];
            a[i][c] = a[pivot][c];
            a[pivot][c] = t;
        }
        double t = b[i];
        b[i] = b[pivot];
        b[pivot] = t;
        for (size_t r = i + 1; r < k; r++) {
            double f = a[r][i] / a[i][i];
            for (size_t c = i; c < k; c++) {
                a[r][c] -= f * a[i][c];
            }
            b[r] -= f * b[i];
        }
    }
    for (size_t i = k; i-- > 0;) {
        x[i] = b[i];
        for (size_t c = i + 1; c < k; c++) {
            x[i] -= a[i][c] * x[c];
        }
        x[i] /= a[i][i];
    }
    return true;
}

/* Eigenvalues of a symmetric matrix by Jacobi's rotations; their ratio's root is the condition. */
static double condition_of(size_t k, double a[MAX_COLUMNS][MAX_COLUMNS]) {
    for (int sweep = 0; sweep < 50; sweep++) {
        for (size_t p = 0; p < k; p++) {
            for (size_t q = p + 1; q < k; q++) {
                if (fabs(a[p][q]) < 1e-300) {
                    continue;
                }
                double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
                double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1));
                double c = 1 / sqrt(t * t + 1);
                double s = t * c;
                for (size_t i = 0; i < k; i++) {
                    double x = a[i][p];
                    double y = a[i][q];
                    a[i][p] = c * x - s * y;
                    a[i][q] = s * x + c * y;
                }
                for (size_t i = 0; i < k; i++) {
                    double x = a[p][i];
                    double y = a[q][i];
                    a[p][i] = c * x - s * y;
                    a[q][i] = s * x + c * y;
                }
            }
        }
    }
    double low = INFINITY;
    double high = 0;
    for (size_t i = 0; i < k; i++) {
        low = fmin(low, a[i][i]);
        high = fmax(high, a[i][i]);
    }
    return low > 0 ? sqrt(high / low) : INFINITY;
}

static void choose_columns(const struct attr_period *p, size_t n, const struct attr_fit_opts *opts,
                           struct design *d) {
    double squares[MAX_COLUMNS] = {0};
    for (size_t i = 0; i < n; i++) {
        for (int c = 0; c < MAX_COLUMNS; c++) {
            squares[c] += column(&p[i], c) * column(&p[i], c);
        }
    }
    *d = (struct design){.fixed_w = isnan(opts->base_w) ? 0 : opts->base_w};
    for (int c = 0; c < MAX_COLUMNS; c++) {
        bool is_fitted = c == COLUMN_BASE ? isnan(opts->base_w) : squares[c] > 0;
        if (is_fitted) {
            d->of[d->k] = c;
            d->scale[d->k++] = sqrt(squares[c]);
        }
    }
}

static bool fit_without(const struct design *d, const struct attr_period *p, size_t n, size_t from,
                        size_t to, double x[MAX_COLUMNS]) {
    double a[MAX_COLUMNS][MAX_COLUMNS];
    double b[MAX_COLUMNS];
    normal_equations(d, p, n, from, to, a, b);
    return solve(d->k, a, b, x);
}

static void refuse(struct attr_fit *out, const char *why) {
    static const struct attr_figure unknown = {NAN, NAN, NAN};
    out->refused = true;
    out->prefill_j = out->decode_j = out->base_w = unknown;
    out->prefill_total_j = out->decode_total_j = out->base_total_j = out->unexplained_j = NAN;
    out->residual_w = out->r2 = NAN;
    note_set(out->reason, sizeof(out->reason), "%s", why);
}

/* Standard errors by leaving out one block of neighbours after the other (Tukey 1958). */
static bool jackknife(const struct design *d, const struct attr_period *p, size_t n,
                      double half[MAX_COLUMNS]) {
    double fits[MAX_BLOCKS][MAX_COLUMNS];
    size_t blocks = n / MIN_PER_BLOCK < MAX_BLOCKS ? n / MIN_PER_BLOCK : MAX_BLOCKS;
    for (size_t g = 0; g < blocks; g++) {
        if (!fit_without(d, p, n, g * n / blocks, (g + 1) * n / blocks, fits[g])) {
            return false;
        }
    }
    double t = stats_t_quantile(CONFIDENCE_TAIL, (double)(blocks - 1));
    for (size_t c = 0; c < d->k; c++) {
        double mean = 0;
        double squares = 0;
        for (size_t g = 0; g < blocks; g++) {
            mean += fits[g][c] / (double)blocks;
        }
        for (size_t g = 0; g < blocks; g++) {
            squares += (fits[g][c] - mean) * (fits[g][c] - mean);
        }
        half[c] = t * sqrt((double)(blocks - 1) / (double)blocks * squares) / d->scale[c];
    }
    return true;
}

static void set_figures(const struct design *d, const double x[MAX_COLUMNS],
                        const double half[MAX_COLUMNS], const struct attr_fit_opts *opts,
                        struct attr_fit *out) {
    struct attr_figure *figures[] = {&out->base_w, &out->prefill_j, &out->decode_j};
    for (int c = 0; c < MAX_COLUMNS; c++) {
        *figures[c] = (struct attr_figure){NAN, NAN, NAN};
    }
    if (!isnan(opts->base_w)) {
        out->base_w = (struct attr_figure){opts->base_w, opts->base_w - opts->base_half_w,
                                           opts->base_w + opts->base_half_w};
    }
    for (size_t c = 0; c < d->k; c++) {
        double value = x[c] / d->scale[c];
        double h = half[c] + opts->gain * fabs(value);
        *figures[d->of[c]] = (struct attr_figure){value, value - h, value + h};
    }
}

static double or_0(double x) {
    return isnan(x) ? 0 : x; /* of what there was none of */
}

static void set_totals(const struct attr_period *p, size_t n, struct attr_fit *out) {
    const double a = or_0(out->prefill_j.value);
    const double b = or_0(out->decode_j.value);
    double mean_w = 0;
    double about_mean = 0;
    double about_fit = 0;
    for (size_t i = 0; i < n; i++) {
        out->total_j += p[i].joules;
        out->prefill_total_j += a * p[i].prefill_tokens;
        out->decode_total_j += b * p[i].decode_tokens;
        out->base_total_j += out->base_w.value * p[i].seconds;
        mean_w += p[i].joules / p[i].seconds / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        double w = p[i].joules / p[i].seconds;
        double fitted_w = out->base_w.value +
                          (a * p[i].prefill_tokens + b * p[i].decode_tokens) / p[i].seconds;
        about_mean += (w - mean_w) * (w - mean_w);
        about_fit += (w - fitted_w) * (w - fitted_w);
    }
    out->unexplained_j = out->total_j - out->prefill_total_j - out->decode_total_j -
                         out->base_total_j;
    out->residual_w = sqrt(about_fit / (double)n);
    out->r2 = about_mean > 0 ? 1 - about_fit / about_mean : NAN;
}

void attribution_fit(const struct attr_period *p, size_t n, const struct attr_fit_opts *opts,
                     struct attr_fit *out) {
    struct design d;
    double a[MAX_COLUMNS][MAX_COLUMNS];
    double b[MAX_COLUMNS];
    double x[MAX_COLUMNS];
    double half[MAX_COLUMNS];
    memset(out, 0, sizeof(*out));
    out->n = n;
    out->condition = NAN;
    if (n < MIN_PERIODS) {
        refuse(out, "fewer than 20 periods: measure for longer");
        return;
    }
    choose_columns(p, n, opts, &d);
    if (d.k == 0 || (d.k == 1 && d.of[0] == COLUMN_BASE)) {
        refuse(out, "no tokens were processed");
        return;
    }
    normal_equations(&d, p, n, n, n, a, b);
    out->condition = condition_of(d.k, a);
    if (!(out->condition <= MAX_CONDITION)) {
        refuse(out, "prefill, decode and time went together all along: add stretches of prefill "
                    "alone and of decode alone");
        return;
    }
    if (!fit_without(&d, p, n, n, n, x) || !jackknife(&d, p, n, half)) {
        refuse(out, "one stretch of time holds all there is of prefill or of decode: repeat it");
        return;
    }
    set_figures(&d, x, half, opts, out);
    if (out->prefill_j.high < 0 || out->decode_j.high < 0) {
        refuse(out, "a token would cost less than nothing: the load does not explain the power");
        return;
    }
    set_totals(p, n, out);
}

void attribution_block(const struct component_reading *r, double tokens, struct attr_figure *out) {
    *out = (struct attr_figure){NAN, NAN, NAN};
    if (r->quality != METER_MISSING && r->has_idle && tokens > 0) {
        *out = (struct attr_figure){r->above_idle_j / tokens, r->above_idle_low_j / tokens,
                                    r->above_idle_high_j / tokens};
    }
}

/* ---- one process ---- */

static void refuse_share(struct attr_share *out, const char *why) {
    static const struct attr_figure unknown = {NAN, NAN, NAN};
    out->refused = true;
    out->share = out->joules = unknown;
    note_set(out->reason, sizeof(out->reason), "%s", why);
}

void attribution_share(const struct component_reading *cpu, double process_cpu_s,
                       double machine_cpu_s, struct attr_share *out) {
    memset(out, 0, sizeof(*out));
    if (cpu->quality == METER_MISSING) {
        refuse_share(out, cpu->reason);
    } else if (cpu->modelled) {
        refuse_share(out, "a model follows the process already");
    } else if (!cpu->has_idle) {
        refuse_share(out, "without an idle baseline nobody knows what was above it");
    } else if (!(machine_cpu_s > 0) || !(process_cpu_s >= 0)) {
        refuse_share(out, "no CPU time was counted");
    } else if (process_cpu_s > TIME_TOLERANCE * machine_cpu_s) {
        refuse_share(out,
                     "the process used more CPU time than the machine shows (is it a container's "
                     "own view?)");
    }
    if (out->refused) {
        return;
    }
    double own = process_cpu_s < machine_cpu_s ? process_cpu_s : machine_cpu_s;
    double others = machine_cpu_s - own;
    out->share = (struct attr_figure){own / machine_cpu_s, own / (own + INTENSITY * others),
                                      INTENSITY * own / (INTENSITY * own + others)};
    /* A negative end of the energy is worst with the largest share. */
    double low_j = cpu->above_idle_low_j;
    out->joules = (struct attr_figure){
        cpu->above_idle_j * out->share.value,
        low_j * (low_j < 0 ? out->share.high : out->share.low),
        cpu->above_idle_high_j * (cpu->above_idle_high_j < 0 ? out->share.low : out->share.high)};
}

/* ---- some of the GPUs ---- */

size_t attribution_components(const struct meter_component *c, const bool *is_used, size_t n,
                              const char **names) {
    size_t n_names = 0;
    size_t n_used = 0;
    size_t n_gpus = 0;
    for (size_t i = 0; i < n; i++) {
        bool is_gpu = strcmp(c[i].scope, "gpu") == 0;
        n_gpus += is_gpu;
        n_used += is_gpu && is_used[i];
        if (!c[i].whole && (!is_gpu || is_used[i])) {
            names[n_names++] = c[i].name;
        }
    }
    return n_used > 0 && n_used < n_gpus ? n_names : 0;
}
