/* Audit rules on what metrics make of the rows: docs/audit.md, "Metrics". */
#include "metrics/audit_impl.h"

#include "stats/stats.h"

#include <math.h>
#include <string.h>

/* Doubling the energy of serving moves such a metric by less than 2^0.05 = 3.5 %. */
#define INSENSITIVE 0.05
#define RETENTION_MARGIN 1.0 /* points, of 100 */
#define Z_95 1.959963984540054

static const char *const energy_metrics[] = {"n_break", "ipw_paper", "rho_sys", "c_tax", "q_ret"};
enum { N_METRICS = sizeof(energy_metrics) / sizeof(energy_metrics[0]) };

/* --- The metrics of the rows ---------------------------------------------------------------------- */

static struct quantity column(const struct audit_row *r, enum audit_column k) {
    return isnan(r->x[k]) ? quantity_missing("the row does not tell it") : quantity_of(r->x[k], 0);
}

/* A row that tells less keys stands for all variants that agree in the others. */
static bool covers(const struct audit *c, size_t general, size_t special) {
    for (int k = 0; k < AUDIT_KEYS; k++) {
        if (c->id[general][k] && c->id[general][k] != c->id[special][k]) {
            return false;
        }
    }
    return true;
}

static size_t find_covering(const struct audit *c, size_t row, const struct audit_rows *among) {
    for (size_t i = 0; i < among->n; i++) {
        if (covers(c, among->at[i], row)) {
            return among->at[i];
        }
    }
    return AUDIT_NO_ROW;
}

static bool is_precision(const struct audit *c, size_t row, const char *name) {
    return strcmp(c->t->rows[row].text[AUDIT_PRECISION], name) == 0;
}

static size_t find_fp16(const struct audit *c, size_t row, const struct audit_rows *among) {
    for (size_t i = 0; i < among->n; i++) {
        if (is_precision(c, among->at[i], "fp16") &&
            audit_same(c, among->at[i], row, AUDIT_ALL_KEYS & ~AUDIT_KEY(AUDIT_PRECISION))) {
            return among->at[i];
        }
    }
    return AUDIT_NO_ROW;
}

static struct quantity score_at(const struct audit *c, size_t row) {
    return row == AUDIT_NO_ROW ? quantity_missing("there is no such score row")
                               : column(&c->t->rows[row], AUDIT_SCORE_MEAN);
}

/* The best score there is: told, or 1 for a score that is a share. */
static double score_max(const struct audit_row *r) {
    return !isnan(r->x[AUDIT_SCORE_MAX]) ? r->x[AUDIT_SCORE_MAX]
           : r->x[AUDIT_SCORE_MEAN] <= 1 ? 1
                                         : (double)NAN;
}

static void fill_input(const struct audit *c, size_t row, size_t score, size_t fp16,
                       struct audit_variant *v) {
    const struct audit_row *r = &c->t->rows[row];
    double weights = metrics_weights_of_label(r->text[AUDIT_SIZE]);
    v->input = (struct metrics_input){
        .method = r->text[AUDIT_METHOD],
        .precision = r->text[AUDIT_PRECISION],
        .score_max = score == AUDIT_NO_ROW ? (double)NAN : score_max(&c->t->rows[score]),
        .score = score_at(c, score),
        .score_fp16 = score_at(c, fp16),
        .n_weights = isnan(weights) ? quantity_missing("the size label does not tell")
                                    : quantity_of(weights, 0),
        .prepare_j = v->training == AUDIT_NO_ROW ? quantity_missing("there is no adapt row")
                                                 : column(&c->t->rows[v->training], AUDIT_ENERGY_J),
        .serve_j = column(r, AUDIT_ENERGY_J),
        .serve_w = column(r, AUDIT_POWER_MEAN_W),
        .requests_ok = column(r, AUDIT_N_REQUESTS),
        .output_tokens_per_s = column(r, AUDIT_OUTPUT_TOKENS_PER_S),
        .load_s = column(r, AUDIT_LOAD_S),
    };
}

static struct audit_rows whole_rows(struct audit *c, enum audit_stage stage) {
    struct audit_rows rows = audit_rows_new(c);
    for (size_t i = 0; rows.at && i < c->t->n; i++) {
        if (c->t->rows[i].stage == stage && audit_is_whole(&c->t->rows[i])) {
            rows.at[rows.n++] = i;
        }
    }
    return rows;
}

int audit_variants_fill(struct audit *c, struct err *e) {
    struct audit_rows serve = whole_rows(c, AUDIT_SERVE);
    struct audit_rows adapt = whole_rows(c, AUDIT_ADAPT);
    struct audit_rows scores = whole_rows(c, AUDIT_SCORE);
    c->variants = arena_array(c->arena, serve.n + 1, sizeof(*c->variants));
    if (c->out_of_memory || !c->variants) {
        return err_set(e, EE_NOMEM, "audit: out of memory");
    }
    for (size_t i = 0; i < serve.n; i++) {
        struct audit_variant *v = &c->variants[c->n_variants++];
        size_t row = serve.at[i];
        size_t score = find_covering(c, row, &scores);
        v->row = row;
        v->training = find_covering(c, row, &adapt);
        v->metrics = arena_array(c->arena, metrics_count(), sizeof(*v->metrics));
        if (!v->metrics) {
            return err_set(e, EE_NOMEM, "audit: out of memory");
        }
        fill_input(c, row, score,
                   score == AUDIT_NO_ROW ? AUDIT_NO_ROW : find_fp16(c, score, &scores), v);
        int rc = metrics_compute(&v->input, c->arena, v->metrics, e);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

static double value_of(const struct metric_row *rows, const char *id) {
    const struct metric *m = metrics_find(id);
    for (size_t i = 0; i < metrics_count(); i++) {
        if (rows[i].metric == m) {
            return rows[i].value;
        }
    }
    return NAN;
}

double audit_metric(const struct audit_variant *v, const char *id) {
    return value_of(v->metrics, id);
}

double audit_metric_at(struct audit *c, const struct audit_variant *v, const char *id,
                       double factor) {
    struct metrics_input in = v->input;
    in.serve_j.value *= factor;
    struct metric_row *rows = arena_array(c->arena, metrics_count(), sizeof(*rows));
    if (!rows || metrics_compute(&in, c->arena, rows, NULL)) {
        c->out_of_memory = true;
        return NAN;
    }
    return value_of(rows, id);
}

static double request_j(const struct audit_variant *v) {
    return v->input.serve_j.value / v->input.requests_ok.value;
}

/* --- A metric that does not move ------------------------------------------------------------------ */

/* How much of a change in energy a metric follows: 1 in proportion, 0 not at all. */
static double elasticity(struct audit *c, const struct audit_variant *v, const char *id) {
    return fabs(log(audit_metric_at(c, v, id, 2) / audit_metric(v, id))) / log(2);
}

struct spread {
    double metric; /* highest over lowest, less 1 */
    double energy; /* highest over lowest */
    size_t variants;
};

/* The widest spreads of a metric and of energy among variants that differ in precision alone. */
static struct spread spread_over_precisions(struct audit *c, const char *id) {
    struct spread s = {0, 1, 0};
    for (size_t i = 0; i < c->n_variants; i++) {
        for (size_t j = i + 1; j < c->n_variants; j++) {
            const struct audit_variant *v = &c->variants[i];
            const struct audit_variant *w = &c->variants[j];
            double metric = audit_metric(v, id) / audit_metric(w, id);
            double energy = request_j(v) / request_j(w);
            if (!audit_same(c, v->row, w->row, AUDIT_ALL_KEYS & ~AUDIT_KEY(AUDIT_PRECISION)) ||
                c->id[v->row][AUDIT_PRECISION] == c->id[w->row][AUDIT_PRECISION] ||
                !isfinite(metric) || !isfinite(energy)) {
                continue;
            }
            s.variants++;
            s.metric = fmax(s.metric, fmax(metric, 1 / metric) - 1);
            s.energy = fmax(s.energy, fmax(energy, 1 / energy));
        }
    }
    return s;
}

static void look_at_metric(struct audit *c, const char *id) {
    struct audit_rows rows = audit_rows_new(c);
    double highest = 0;
    for (size_t i = 0; rows.at && i < c->n_variants; i++) {
        double value = audit_metric(&c->variants[i], id);
        if (!isfinite(value) || value <= 0) {
            continue;
        }
        double moves = elasticity(c, &c->variants[i], id);
        if (!isfinite(moves) || moves == 0) {
            continue; /* never, or a metric without energy in it */
        }
        rows.at[rows.n++] = c->variants[i].row;
        highest = fmax(highest, moves);
    }
    if (!rows.n || highest >= INSENSITIVE) {
        return;
    }
    struct spread s = spread_over_precisions(c, id);
    struct buf text;
    buf_init(&text);
    buf_addf(&text, "twice the energy of a request moves %s by at most %.2g %% in %zu rows", id,
             100 * (exp2(highest) - 1), rows.n);
    if (s.variants) {
        buf_addf(&text,
                 "; between precisions of one model it differs by at most %.2g %%, their energy a "
                 "request by up to %.3g times",
                 100 * s.metric, s.energy);
    }
    audit_report(c, AUDIT_WARNING, &rows, &text);
    buf_release(&text);
}

void audit_insensitive_metrics(struct audit *c) {
    for (size_t i = 0; i < N_METRICS && !c->out_of_memory; i++) {
        look_at_metric(c, energy_metrics[i]);
    }
}

/* --- A cold-start tax without energy -------------------------------------------------------------- */

void audit_c_tax_ratio(struct audit *c) {
    struct audit_rows rows = audit_rows_new(c);
    size_t n = 0, n_above = 0;
    double lowest = INFINITY, worst = 0;
    for (size_t i = 0; rows.at && i < c->n_variants; i++) {
        const struct audit_row *r = &c->t->rows[c->variants[i].row];
        double tax = audit_metric(&c->variants[i], "c_tax");
        double times = r->x[AUDIT_N_REQUESTS] * r->x[AUDIT_LOAD_S] / r->x[AUDIT_DURATION_S];
        if (!audit_wanted(c, c->variants[i].row) || !isnan(r->x[AUDIT_LOAD_J]) ||
            !isfinite(tax / times)) {
            continue;
        }
        n++;
        double rounding = 0.5 * (r->step[AUDIT_ENERGY_J] / r->x[AUDIT_ENERGY_J] +
                                 r->step[AUDIT_POWER_MEAN_W] / r->x[AUDIT_POWER_MEAN_W] +
                                 r->step[AUDIT_DURATION_S] / r->x[AUDIT_DURATION_S]);
        if (fabs(tax / times - 1) <= rounding + 1e-6) {
            rows.at[rows.n++] = c->variants[i].row;
            worst = fmax(worst, fabs(tax / times - 1));
            lowest = fmin(lowest, tax);
            n_above += r->x[AUDIT_LOAD_S] > r->x[AUDIT_DURATION_S];
        }
    }
    if (!rows.n) {
        return;
    }
    struct buf text;
    buf_init(&text);
    buf_addf(
        &text,
        "%zu of %zu rows: c_tax is n_requests times load_s / duration_s to %.2g %%; the lowest "
        "is %.4g, and it is above n_requests wherever loading outlasts serving (%zu rows), "
        "whatever either draws",
        rows.n, n, 100 * worst, lowest, n_above);
    audit_report(c, AUDIT_WARNING, &rows, &text);
    buf_release(&text);
}

/* --- Trainings counted several times --------------------------------------------------------------- */

/* How many variants each training is behind, by row of the table. */
static size_t *count_uses(struct audit *c, size_t *n_trainings) {
    size_t *uses = arena_array(c->arena, c->t->n + 1, sizeof(*uses));
    *n_trainings = 0;
    for (size_t i = 0; uses && i < c->n_variants; i++) {
        size_t training = c->variants[i].training;
        if (training != AUDIT_NO_ROW) {
            *n_trainings += uses[training]++ == 0;
        }
    }
    c->out_of_memory = c->out_of_memory || !uses;
    return uses;
}

/* Median of n_break over variants, or over trainings by the mean of their variants. */
static double median_n_break(struct audit *c, const size_t *uses, bool over_trainings) {
    double *sums = audit_numbers(c);
    double *values = audit_numbers(c);
    size_t n = 0;
    for (size_t i = 0; sums && values && i < c->n_variants; i++) {
        const struct audit_variant *v = &c->variants[i];
        if (v->training == AUDIT_NO_ROW) {
            continue;
        }
        double value = audit_metric(v, "n_break");
        sums[v->training] += value / (double)uses[v->training];
        if (!over_trainings && !isnan(value)) {
            values[n++] = value;
        }
    }
    for (size_t i = 0; over_trainings && sums && values && i < c->t->n; i++) {
        if (uses[i] && !isnan(sums[i])) {
            values[n++] = sums[i];
        }
    }
    if (!values) {
        return NAN;
    }
    stats_sort(values, n);
    return stats_quantile(values, n, 0.5);
}

void audit_repeated_trainings(struct audit *c) {
    struct audit_rows shared = audit_rows_new(c);
    size_t n_trainings = 0, n_variants = 0, most = 0, least = SIZE_MAX, fewest_shared = SIZE_MAX;
    size_t *uses = count_uses(c, &n_trainings);
    for (size_t i = 0; shared.at && uses && i < c->t->n; i++) {
        if (!uses[i]) {
            continue;
        }
        n_variants += uses[i];
        most = uses[i] > most ? uses[i] : most;
        least = uses[i] < least ? uses[i] : least;
        if (uses[i] > 1) {
            fewest_shared = uses[i] < fewest_shared ? uses[i] : fewest_shared;
            shared.at[shared.n++] = i;
        }
    }
    if (!shared.n) {
        return;
    }
    struct buf text;
    buf_init(&text);
    buf_addf(&text, "%zu trainings stand behind %zu variants: %zu of them count %s%zu times",
             n_trainings, n_variants, shared.n, fewest_shared < most ? "up to " : "", most);
    double by_variant = median_n_break(c, uses, false);
    double by_training = median_n_break(c, uses, true);
    if (isfinite(by_variant) && isfinite(by_training)) {
        buf_addf(&text, "; the median n_break is %.4g over variants and %.4g over trainings",
                 by_variant, by_training);
    }
    audit_report(c, least == most ? AUDIT_NOTE : AUDIT_WARNING, &shared, &text);
    buf_release(&text);
}

/* --- Retention inside its error ---------------------------------------------------------------------- */

/*
 * The variance of the mean score over its square. Told by the row; else p (1 - p) / n, which is
 * exact for right-or-wrong items and the most that any score in 0..1 can have, with every pass
 * counted as an item of its own. NAN where neither can be.
 */
static double relative_variance(const struct audit_row *r) {
    double s = r->x[AUDIT_SCORE_MEAN];
    if (!(s > 0)) {
        return NAN;
    }
    if (!isnan(r->x[AUDIT_SCORE_SE])) {
        return r->x[AUDIT_SCORE_SE] * r->x[AUDIT_SCORE_SE] / (s * s);
    }
    double passes = isnan(r->x[AUDIT_PASSES]) ? 1 : r->x[AUDIT_PASSES];
    bool is_share = score_max(r) == 1 && s <= 1;
    return is_share ? (1 - s) / s / (r->x[AUDIT_ITEMS] * passes) : (double)NAN;
}

struct retention {
    struct audit_rows undetermined;
    size_t n, n_unknown; /* ratios, and those without an error */
    double widest;       /* half-width in points */
    double answers;      /* behind the widest */
};

static void look_at_ratio(const struct audit *c, size_t row, size_t fp16, struct retention *t) {
    const struct audit_row *r = &c->t->rows[row];
    const struct audit_row *base = &c->t->rows[fp16];
    double ratio = r->x[AUDIT_SCORE_MEAN] / base->x[AUDIT_SCORE_MEAN];
    double half = Z_95 * sqrt(relative_variance(r) + relative_variance(base));
    if (!isfinite(ratio) || !(ratio > 0)) {
        return;
    }
    t->n++;
    if (isnan(half)) {
        t->n_unknown++;
        return;
    }
    double low = 100 * ratio * exp(-half);
    double high = 100 * ratio * exp(half);
    double margin = 100 - RETENTION_MARGIN;
    if (low < margin && high >= margin) {
        t->undetermined.at[t->undetermined.n++] = row;
        if ((high - low) / 2 > t->widest) {
            t->widest = (high - low) / 2;
            t->answers = r->x[AUDIT_ITEMS] * (isnan(r->x[AUDIT_PASSES]) ? 1 : r->x[AUDIT_PASSES]);
        }
    }
}

void audit_retention_noise(struct audit *c) {
    struct audit_rows scores = whole_rows(c, AUDIT_SCORE);
    struct retention t = {.undetermined = audit_rows_new(c)};
    for (size_t i = 0; scores.at && t.undetermined.at && i < scores.n; i++) {
        size_t row = scores.at[i];
        size_t fp16 = find_fp16(c, row, &scores);
        if (audit_wanted(c, row) && !is_precision(c, row, "fp16") && fp16 != AUDIT_NO_ROW) {
            look_at_ratio(c, row, fp16, &t);
        }
    }
    if (!t.undetermined.n) {
        return;
    }
    struct buf text;
    buf_init(&text);
    buf_addf(
        &text,
        "%zu of %zu ratios to fp16 are undetermined: their 95 %% intervals, unpaired, hold both "
        "a loss above %.0f point and none; the widest is \xC2\xB1%.1f points",
        t.undetermined.n, t.n, RETENTION_MARGIN, t.widest);
    if (t.answers > 0) {
        double needed = t.answers * (t.widest / RETENTION_MARGIN) * (t.widest / RETENTION_MARGIN);
        buf_addf(&text, " from %.0f answers, and would take about %.0f thousand for \xC2\xB1%.0f",
                 t.answers, ceil(needed / 1000), RETENTION_MARGIN);
    }
    if (t.n_unknown) {
        buf_addf(&text, "; %zu more tell neither their error nor a range of 0 to 1", t.n_unknown);
    }
    audit_report(c, AUDIT_WARNING, &t.undetermined, &text);
    buf_release(&text);
}
